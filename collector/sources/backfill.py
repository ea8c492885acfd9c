"""Back-fill of a service's history from Prometheus: whole parts of six hours, oldest first, each stored once.

Nothing is counted twice, whatever else writes: minutes that the record has are left alone, an hour is one insert whose
token names its minutes, and a part that is done is noted in a file. So it may be killed and started again at any time.
It may run beside the live pull too: from `live_from` on, where both may have a minute in hand at once, a minute is one
insert with the token that the pull gives it, and the store takes the first of the two. (A collector that was away for
longer should be let catch up first.)
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from collector.clickhouse import Client
from collector.sources.cardinality import CardinalityGuard
from collector.sources.prometheus import PrometheusSettings, pull_once
from collector.sources.spool import write_durably

PART_SECONDS = 6 * 3600
HOUR = 3600
LONGEST_DAYS = 94  # the per-minute table keeps 95
_KNOWN_MINUTES = """SELECT DISTINCT toInt64(toUnixTimestamp(minute)) FROM red_1m WHERE service = {service:String}
  AND minute >= fromUnixTimestamp({since:Int64}) AND minute < fromUnixTimestamp({until:Int64})"""


@dataclass(frozen=True, slots=True)
class Filled:
    """What a back-fill did. parts: read now; skipped: done earlier; minutes, requests: written now."""

    parts: int = 0
    skipped: int = 0
    minutes: int = 0
    requests: int = 0
    gap_minutes: int = 0

    def __add__(self, other: Filled) -> Filled:
        """Return both together."""
        return Filled(
            self.parts + other.parts,
            self.skipped + other.skipped,
            self.minutes + other.minutes,
            self.requests + other.requests,
            self.gap_minutes + other.gap_minutes,
        )


def parts_of(since: datetime, until: datetime) -> list[tuple[int, int]]:
    """Return [begin, end) of the parts that cover the whole minutes of [since, until), cut at whole six hours."""
    begin, end = -(-int(since.timestamp()) // 60) * 60, int(until.timestamp()) // 60 * 60
    edges = [begin, *range((begin // PART_SECONDS + 1) * PART_SECONDS, end, PART_SECONDS), end]
    return [(first, last) for first, last in pairwise(edges) if first < last]


class Progress:
    """Which whole parts are done, kept in a file. A different query (`identity`) begins anew."""

    def __init__(self, path: Path, identity: str) -> None:
        self._path, self._identity = path, identity
        self._done: list[int] = []
        if path.exists():
            try:
                known = json.loads(path.read_bytes())
                self._done = [int(each) for each in known["done"]] if known["identity"] == identity else []
            except (ValueError, KeyError, TypeError):
                self._done = []  # the record itself says what is there: only time is lost

    def is_done(self, begin: int) -> bool:
        """Say whether the part that begins here is done."""
        return begin in self._done

    def note(self, begin: int) -> None:
        """Remember a part for good."""
        self._done.append(begin)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_durably(self._path, json.dumps({"identity": self._identity, "done": self._done}).encode())


def backfill(
    client: Client,
    settings: PrometheusSettings,
    *,
    since: datetime,
    until: datetime,
    live_from: datetime,
    progress: Progress,
    guard: CardinalityGuard,
    on_progress: Callable[[int, int], None],
) -> Filled:
    """Bring [since, until) into the record. live_from: the oldest minute that the live pull may be writing meanwhile.

    Raises PrometheusError, StoreError.
    """
    filled, parts = Filled(), parts_of(since, until)
    for number, (begin, end) in enumerate(parts, start=1):
        whole = end - begin == PART_SECONDS
        if whole and progress.is_done(begin):
            filled += Filled(skipped=1)
        else:
            filled += _fill(client, settings, guard, begin, end, live_from=int(live_from.timestamp()))
            if whole:
                progress.note(begin)
        on_progress(number, len(parts))
    return filled


def _fill(
    client: Client, settings: PrometheusSettings, guard: CardinalityGuard, begin: int, end: int, *, live_from: int
) -> Filled:
    span = {"service": settings.service, "since": begin, "until": end}
    known = {row[0] for row in client.query_rows(_KNOWN_MINUTES, span)}
    found: dict[int, dict[str, list[Any]]] = {}
    live: dict[int, str] = {}

    def keep(columns: dict[str, list[Any]], token: str) -> None:
        minute = columns["minute"][0]
        if begin <= minute < end and minute not in known:
            found[minute] = guard.fold(settings.service, columns) or columns
            if minute >= live_from:
                live[minute] = token

    # The pull leaves out what may still be on its way at `until`: asked for past the end, it gives the end too.
    pulled = pull_once(
        settings,
        since=datetime.fromtimestamp(begin, UTC),
        until=datetime.fromtimestamp(end + 2 * settings.step_seconds, UTC),
        write=keep,
    )
    for columns, token in _inserts(settings.service, found, live):
        client.insert_columns("red_1m", columns, token=token)
    requests = sum(sum(columns["requests"]) for columns in found.values())
    return Filled(parts=1, minutes=len(found), requests=requests, gap_minutes=pulled.gap_minutes)


def _inserts(
    service: str, found: dict[int, dict[str, list[Any]]], live: Mapping[int, str]
) -> Iterator[tuple[dict[str, list[Any]], str]]:
    """Yield (columns, token) by the hour: the same minutes have the same token, other minutes another.

    live: by minute, the token of those that are inserted one by one.
    """
    hours: dict[int, list[int]] = defaultdict(list)
    for minute in sorted(found):
        if minute in live:
            yield found[minute], live[minute]
        else:
            hours[minute // HOUR * HOUR].append(minute)
    for hour, minutes in hours.items():
        joined = {name: [value for minute in minutes for value in found[minute][name]] for name in found[minutes[0]]}
        digest = hashlib.sha256(repr(minutes).encode()).hexdigest()[:16]
        yield joined, f"backfill:{service}:{hour}:{digest}"
