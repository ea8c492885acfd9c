"""The guard against too many different words: routes fold into templates, and each service has a cap per dimension.

What is over a cap is recorded all the same, under `other`: requests are never lost to it, only told apart no further.
Which values are admitted is kept in a log, so that a restart admits no second set; a value not seen for a few days
gives its place back. Memory is bounded by the caps.
"""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OTHER, OTHER_ROUTES, OTHER_SERVICES = "other", "/*", "(other services)"
CAPS: Mapping[str, int] = {
    "route": 300,
    "method": 20,
    "region": 100,
    "instance": 2000,
    "version": 200,
    "cache_level": 20,
    "database_target": 50,
    "user_agent_family": 50,
    "country": 300,
}
SERIES_CAP, SERIES_IN_ALL, MOST_SERVICES = 20_000, 200_000, 500
DAYS_KEPT = 3  # a value not seen for so long gives its place to another
_ID = re.compile(
    r"\d+|[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}|(?=[^/]*\d)[0-9a-fA-F]{8,}|(?=[^/]*\d)[A-Za-z0-9_=-]{20,}"
)


@dataclass(frozen=True, slots=True)
class Known:
    """How many values of a dimension a service has, how many it may have, and how often one was over it."""

    values: int
    cap: int
    folded: int


def folded_route(route: str) -> str:
    """Return a route without what tells single requests apart: query, numbers, UUIDs, hex and long tokens are {id}."""
    path = route.split("?", 1)[0]
    if not any(character.isdigit() for character in path):
        return path
    return "/".join("{id}" if _ID.fullmatch(segment) else segment for segment in path.split("/"))


class CardinalityGuard:
    """Remembers the values of every service's dimensions. Safe to share between threads.

    day: the present day as a number (of the clock in use). caps: by dimension.
    """

    def __init__(
        self,
        path: Path,
        *,
        day: Callable[[], int],
        caps: Mapping[str, int] = CAPS,
        series_cap: int = SERIES_CAP,
    ) -> None:
        self._path, self._day = path, day
        self._caps: dict[str, int] = {**caps, "series": series_cap}
        self._known: dict[tuple[str, str], dict[Any, int]] = {}
        self._services: set[str] = set()
        self._folded: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._read()
        self._rewrite()

    def fold(self, service: str, columns: Mapping[str, list[Any]]) -> dict[str, list[Any]] | None:
        """Return a batch's columns with what is over a cap replaced; None when nothing had to be."""
        changed: dict[str, list[Any]] = {}
        with self._lock:
            for dimension in self._caps.keys() & columns.keys():
                into = {value: self._admitted(service, dimension, value) for value in set(columns[dimension])}
                if any(value != folded for value, folded in into.items()):
                    changed[dimension] = [into[value] for value in columns[dimension]]
            self._log.flush()
        return {**columns, **changed} if changed else None

    def admits_service(self, service: str) -> bool:
        """Say whether a service is known, or there is room for one more."""
        with self._lock:
            return self._has_room(service)

    def admits_series(self, service: str, identity: int) -> bool:
        """Say whether a series may be stored."""
        with self._lock:
            admitted = self._admit(service, "series", identity)
            self._log.flush()
        return admitted

    def report(self) -> dict[str, dict[str, Known]]:
        """Return what is known, by service and dimension."""
        with self._lock:
            told: dict[str, dict[str, Known]] = {}
            for service, dimension in sorted({*self._known, *self._folded}):
                values, folded = self._known.get((service, dimension), {}), self._folded[service, dimension]
                told.setdefault(service, {})[dimension] = Known(len(values), self._caps[dimension], folded)
            return told

    def close(self) -> None:
        """Close the log."""
        self._log.close()

    def _admitted(self, service: str, dimension: str, value: str) -> str:
        wanted = folded_route(value) if dimension == "route" else value
        if wanted == "" or self._admit(service, dimension, wanted):
            return wanted
        return OTHER_ROUTES if dimension == "route" else OTHER

    def _has_room(self, service: str) -> bool:
        return service in self._services or len(self._services) < MOST_SERVICES

    def _admit(self, service: str, dimension: str, value: Any) -> bool:
        if not self._has_room(service):
            self._folded[OTHER_SERVICES, dimension] += 1
            return False
        self._services.add(service)
        values, today = self._known.setdefault((service, dimension), {}), self._day()
        if value not in values and self._is_full(values, dimension, today):
            self._folded[service, dimension] += 1
            return False
        if values.get(value) != today:
            values[value] = today
            self._log.write(json.dumps([service, dimension, value, today]) + "\n")
        return True

    def _is_full(self, values: dict[Any, int], dimension: str, today: int) -> bool:
        if len(values) < self._caps[dimension]:
            if dimension != "series":
                return False
            in_all = sum(len(found) for (_, name), found in self._known.items() if name == "series")
            return in_all >= SERIES_IN_ALL
        for value in [value for value, day in values.items() if day + DAYS_KEPT < today]:
            del values[value]
        return len(values) >= self._caps[dimension]

    def _read(self) -> None:
        if not self._path.exists():
            return
        oldest = self._day() - DAYS_KEPT
        for line in self._path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                service, dimension, value, day = json.loads(line)
            except (ValueError, TypeError):
                continue  # torn by a kill: one value, told again by its next batch
            if dimension in self._caps and day >= oldest:
                self._known.setdefault((service, dimension), {})[value] = day
                self._services.add(service)

    def _rewrite(self) -> None:
        """Start a log with what is known, one line each: the old one has a line for every day."""
        temporary = self._path.with_name(self._path.name + ".tmp")
        with temporary.open("w", encoding="utf-8") as file:
            for (service, dimension), values in self._known.items():
                file.writelines(json.dumps([service, dimension, value, day]) + "\n" for value, day in values.items())
        temporary.replace(self._path)
        self._log = self._path.open("a", encoding="utf-8")
