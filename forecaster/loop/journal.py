"""Audit rows that are on disk before a floor is changed, so that a kill between the change and the store loses none.

One small file per service in the data directory, written and synced before the patch and removed when the store has
the rows. What is found at a start is from a life that ended in between: its rows are written then, and say that nobody
knows whether the cluster took the floor. The rows carry the tokens under which the store keeps a row once.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from collector.clickhouse import Client

FOLDER = "changes-under-way"  # of the data directory
UNKNOWN = "the forecaster ended before it knew whether the cluster took the floor"


@dataclass(frozen=True, slots=True)
class Row:
    """A row as the store takes it."""

    table: str
    values: dict[str, Any]
    token: str

    def insert(self, client: Client) -> None:
        """Store it; the same row again is stored once. Raises StoreError."""
        client.insert_columns(self.table, {name: [value] for name, value in self.values.items()}, token=self.token)


class Journal:
    """The files in `folder`; a service has one at most."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def begin(self, service: str, rows: Sequence[Row]) -> None:
        """Put rows on disk before what they tell of is done. Raises OSError: then it must not be done."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._path(service)
        beside = path.with_suffix(".new")
        with beside.open("w", encoding="utf-8") as file:
            json.dump([[row.table, row.values, row.token] for row in rows], file)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)

    def settle(self, client: Client, service: str) -> None:
        """Let the store have the rows that are left, and forget them. Raises StoreError: they stay."""
        for row in self.left(service):
            row.insert(client)
        self.end(service)

    def end(self, service: str) -> None:
        """Forget the rows: the store has them."""
        self._path(service).unlink(missing_ok=True)

    def left(self, service: str) -> list[Row]:
        """Return the rows of a life that ended in between; a file that cannot be read is set aside, and holds none."""
        path = self._path(service)
        try:
            return [Row(str(table), dict(values), str(token)) for table, values, token in json.loads(path.read_text())]
        except FileNotFoundError:
            return []
        except (ValueError, TypeError, OSError):
            path.replace(path.with_suffix(".unreadable"))
            return []

    def _path(self, service: str) -> Path:
        return self._folder / f"{quote(service, safe='')}.json"
