"""A file `timestamp,value` that a command is asked about in place of a service."""

from __future__ import annotations

from pathlib import Path

from collector.sources.files import ImportedSeries, ImportRefusedError, parse_csv


class AskedAmissError(ValueError):
    """The question has no answer as it was asked: says what was expected and what came."""


def read_csv(path: Path) -> ImportedSeries:
    """Parse a file `timestamp,value`. Raises AskedAmissError naming file, line, what was expected and what came."""
    try:
        return parse_csv(path)
    except ImportRefusedError as error:
        where = "" if str(error).startswith(str(path)) else f"{path}: "
        raise AskedAmissError(f"{where}{error}") from error
