"""What an SLA report rests on: a calendar month of a service, read.

Counts come from `collector.slo`, as everywhere; a month is one of the service's own time zone. Composing the report is
`sla_report`'s job.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from collector.catalog import Service, Slo
from collector.clickhouse import Client
from collector.record.store import Marker, read_markers, read_red_totals
from collector.slo.counts import read_counts_between, read_recorded_minutes
from collector.slo.objectives import Counts
from collector.slo.store import read_exclusions
from collector.slo.windows import MINUTE
from forecaster.calendar.sources import local_day, zone_of
from forecaster.report.document import instant


class MonthError(ValueError):
    """The month cannot be reported on: says what was expected and what came."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One objective over the month, of the service (route None: as the SLO says) or of one route; by local day, too."""

    slo: Slo
    counts: Counts
    days: tuple[Counts, ...]


@dataclass(frozen=True, slots=True)
class SlaInputs:
    """first: of the month. [since, until): what is counted, epoch seconds of whole minutes; whole_end: of the month."""

    service: Service
    as_of: datetime
    first: date
    since: int
    until: int
    whole_end: int
    days: tuple[date, ...]
    promises: tuple[Judged, ...]
    routes: tuple[Judged, ...]
    exclusions: tuple[tuple[int, int], ...]
    markers: tuple[Marker, ...]
    recorded_minutes: int

    def hashed(self) -> Mapping[str, Any]:
        """Return the inputs by name, as they enter the hash. Of a month that is over, `as_of` is none of them."""
        over = self.until == self.whole_end
        return {
            "question": {"service": self.service.name, "month": self.first, "as_of": None if over else self.as_of},
            "configuration": {"slos": self.service.slos, "timezone": self.service.timezone},
            "counts by SLO and day": self.promises,
            "counts by route and day": self.routes,
            "maintenance": self.markers,
            "recorded minutes": self.recorded_minutes,
        }


def parse_month(text: str) -> date:
    """Return the first of the month that `2026-10` names. Raises MonthError."""
    match = re.fullmatch(r"(\d{4})-(\d{2})", text.strip())
    if match is None or not 1 <= int(match[2]) <= 12:
        raise MonthError(f"expected a month such as 2026-10, got {text!r}")
    return date(int(match[1]), int(match[2]), 1)


def read_sla_inputs(client: Client, service: Service, month: date, *, as_of: datetime) -> SlaInputs:
    """Read a month of a service. Raises MonthError for one that has not begun, StoreError."""
    zone = zone_of(service.timezone)
    after = date(month.year + month.month // 12, month.month % 12 + 1, 1)
    days = [month + timedelta(days=index) for index in range((after - month).days)]
    edges = [int(local_day(one, zone)[0].timestamp()) for one in (*days, after)]
    until = min(edges[-1], int(as_of.timestamp()) // MINUTE * MINUTE)
    if until <= edges[0]:
        raise MonthError(f"expected a month that has begun by {instant(as_of).text}, got {month:%Y-%m}")
    begun = [(start, min(end, until)) for start, end in itertools.pairwise(edges) if start < until]
    since_at, until_at = datetime.fromtimestamp(edges[0], UTC), datetime.fromtimestamp(until, UTC)
    exclusions = read_exclusions(client, service.name, since=since_at, until=until_at)
    seen = read_red_totals(client, service.name, since=since_at, until=until_at, by="route")
    routes = _of_routes(service.slos, sorted(str(name) for name in seen["route"])) if len(seen) else []
    judged = _judged(client, service.name, [*service.slos, *routes], begun, exclusions=exclusions)
    markers = read_markers(client, service.name, since=since_at, until=until_at)
    return SlaInputs(
        service=service,
        as_of=as_of,
        first=month,
        since=edges[0],
        until=until,
        whole_end=edges[-1],
        days=tuple(days[: len(begun)]),
        promises=judged[: len(service.slos)],
        routes=judged[len(service.slos) :],
        exclusions=tuple(exclusions),
        markers=tuple(mark for mark in markers if mark.excludes_slo),
        recorded_minutes=read_recorded_minutes(client, service.name, [(edges[0], until)], exclusions=exclusions)[0],
    )


def _of_routes(slos: Sequence[Slo], routes: Sequence[str]) -> list[Slo]:
    """Return the promises that a route is judged by, route by route: those for everybody, and its own."""
    return [
        dataclasses.replace(slo, route=route)
        for route in routes
        for slo in slos
        if slo.region is None and slo.version is None and slo.route in (None, route)
    ]


def _judged(
    client: Client, service: str, slos: Sequence[Slo], days: Sequence[tuple[int, int]], *, exclusions: Any
) -> tuple[Judged, ...]:
    counts = read_counts_between(client, service, slos, [days for _ in slos], exclusions=exclusions)
    return tuple(
        Judged(slo, Counts(sum(one.valid for one in own), sum(one.good for one in own)), tuple(own))
        for slo, own in zip(slos, counts, strict=True)
    )
