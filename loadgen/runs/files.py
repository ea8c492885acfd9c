"""The files of a run: `seconds.jsonl` (one settled second per line, durable, never rewritten) and `load.json` (totals).

`seconds.jsonl` is the truth: totals are made from it again when the generator was restarted, and the collector's
reports are read from it, so that a collector that is away costs no memory. `load.json` is replaced as a whole.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loadgen.results import Second, Totals

log = logging.getLogger(__name__)


class RunFilesError(ValueError):
    """The directory holds something else than this run: says what was expected and what came."""


@dataclass(frozen=True, slots=True)
class Resumed:
    """What the files say of the run so far. `settled`: the real seconds on file; `status`: as last written."""

    totals: Totals = field(default_factory=Totals)
    settled: frozenset[int] = frozenset()
    run_id: str | None = None
    status: str | None = None
    started_at: float | None = None


@dataclass(frozen=True, slots=True)
class RunFiles:
    """A run's directory."""

    folder: Path

    @property
    def seconds_path(self) -> Path:
        """Return where the settled seconds are."""
        return self.folder / "seconds.jsonl"

    @property
    def summary_path(self) -> Path:
        """Return where the totals are."""
        return self.folder / "load.json"

    def resume(self) -> Resumed:
        """Return what is on file, having cut off a last line that a crash left unfinished.

        Creates the directory. Raises RunFilesError when a whole line is no settled second.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self._cut_torn_line()
        totals, settled = Totals(), set()
        for number, line in enumerate(self._lines(), start=1):
            try:
                second = Second.from_json(json.loads(line))
            except (KeyError, ValueError, TypeError) as error:
                raise RunFilesError(
                    f"{self.seconds_path}:{number}: expected a settled second, got {line[:80]!r}"
                ) from error
            totals.add(second)
            settled.add(second.real_second)
        summary = self._read_summary()
        started_at = summary.get("started_at_seconds")
        return Resumed(totals, frozenset(settled), summary.get("run_id"), summary.get("status"), started_at)

    def append(self, seconds: Iterable[Second]) -> None:
        """Add settled seconds; on disk when this returns."""
        with self.seconds_path.open("ab") as file:
            file.writelines(json.dumps(second.to_json(), separators=(",", ":")).encode() + b"\n" for second in seconds)
            file.flush()
            os.fsync(file.fileno())

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Replace the totals: a reader sees the old ones or the new ones, never half of them."""
        write_json(self.summary_path, summary)

    def read_from(self, offset: int, *, most_lines: int, end: int | None = None) -> tuple[list[dict[str, Any]], int]:
        """Return up to so many seconds between two byte offsets (starts of lines), and the offset after them."""
        if not self.seconds_path.exists():
            return [], offset
        found: list[dict[str, Any]] = []
        with self.seconds_path.open("rb") as file:
            file.seek(offset)
            for line in file:
                if not line.endswith(b"\n") or len(found) == most_lines or offset == end:
                    break
                found.append(json.loads(line))
                offset += len(line)
        return found, offset

    def _lines(self) -> Iterable[str]:
        if not self.seconds_path.exists():
            return
        with self.seconds_path.open(encoding="utf-8") as file:
            yield from file

    def _cut_torn_line(self) -> None:
        if not self.seconds_path.exists():
            return
        with self.seconds_path.open("rb+") as file:
            content_end = file.seek(0, os.SEEK_END)
            keep = 0
            file.seek(0)
            for line in file:
                keep += len(line) if line.endswith(b"\n") else 0
            if keep < content_end:
                log.warning("cut off %d bytes that a crash left unfinished", content_end - keep)
                file.truncate(keep)

    def _read_summary(self) -> dict[str, Any]:
        if not self.summary_path.exists():
            return {}
        try:
            summary: dict[str, Any] = json.loads(self.summary_path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise RunFilesError(f"{self.summary_path}: expected JSON: {error}") from error
        return summary


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a whole JSON file in one step; on disk when this returns."""
    draft = path.with_suffix(".tmp")
    with draft.open("w", encoding="utf-8") as file:
        file.write(json.dumps(value, indent=1) + "\n")
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
