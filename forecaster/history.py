"""A service's demand as its models may see it: read from the record, at one step, without what is masked.

The live ticks, the commands and the backtests all read through here, so that they see the same series. Masked is what
people have marked so, and what load tests sent: neither tells what users will do. CPU and memory beside requests are
in `resources`. The record's SQL is `collector.record.store`'s; what counts as a gap is decided by
`forecast.demand.clean_series`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pandas as pd

from collector.clickhouse import Client
from collector.record.store import Marker, read_demand, read_demand_extent, read_load_spans, read_markers
from forecaster.store.instants import floored, text_of

# New rows can still change for as long as a late batch or a slow retry may take; older ones change only by an import,
# for which everything is read again now and then.
_STILL_CHANGING = timedelta(hours=2)
_READ_ALL_AGAIN = timedelta(hours=6)

Span = tuple[datetime, datetime]
NOTHING_KNOWN = "no demand has been recorded or imported yet"


@dataclass(frozen=True, slots=True)
class DemandKnown:
    """What the record holds of a service: its span, and the finest step at which all of it can be read."""

    first: datetime
    end: datetime
    step: timedelta

    def why_none(self, until: datetime, *, settle: timedelta) -> str:
        """Say why there is no row before `until`: how much there is, and when the first forecast comes.

        settle: how long after its end a step counts. A step that began before the first row counts when at least half
        of it is known.
        """
        start = floored(self.first, self.step)
        whole_at = start + self.step if (start + self.step - self.first) * 2 >= self.step else start + 2 * self.step
        if whole_at <= until:
            return f"all that is known before {text_of(until)} is masked, by markers or load tests"
        first_at = whole_at + timedelta(seconds=math.ceil(settle.total_seconds()))
        so_far = max(1, round((self.end - self.first).total_seconds() / 60))
        return (
            f"known since {text_of(floored(self.first, timedelta(seconds=1)))}, {so_far} min so far; the first forecast"
            f" comes at {text_of(first_at)}, when the first {self.step.total_seconds() / 60:g} min are whole"
        )


def read_known(client: Client, service: str, *, finest: timedelta) -> DemandKnown | None:
    """Return what the record holds, with a step of at least `finest`; None when it holds nothing."""
    extent = read_demand_extent(client, service)
    return DemandKnown(extent.first, extent.end, max(finest, extent.step)) if extent else None


def read_history(client: Client, service: str, *, since: datetime, until: datetime, step: timedelta) -> pd.DataFrame:
    """Return columns `ds` (aware UTC) and `y` (requests/s) in [since, until), without masked spans."""
    rows = read_demand(client, service, since=since, until=until, step=step).rename(columns={"rps": "y"})
    return without(rows, read_masks(client, service, since=since, until=until), step)


def read_masks(
    client: Client, service: str, *, since: datetime, until: datetime, markers: Sequence[Marker] | None = None
) -> list[Span]:
    """Return the spans of [since, until) that tell nothing of users: markers that say so, and load tests.

    markers: those of the span, or of more, where they have been read already.
    """
    if markers is None:
        markers = read_markers(client, service, since=since, until=until)
    marked = [(marker.starts_at, marker.ends_at) for marker in markers if marker.masks_history]
    tested = read_load_spans(client, service, until=until)
    return [*marked, *((start, end) for start, end in tested if end > since)]


def without(rows: pd.DataFrame, masks: Iterable[Span], step: timedelta) -> pd.DataFrame:
    """Return the rows whose step (`ds`, `ds` + step) touches no masked span."""
    for start, end in masks:
        rows = rows[(rows["ds"] + step <= start) | (rows["ds"] >= end)]
    return rows.reset_index(drop=True)


@dataclass(slots=True)
class HistoryCache:
    """Keeps the settled past of one service in memory, so that a refresh reads the last hours only.

    rows: as recorded, masked spans and all: a mark about last week counts from the next refresh on.
    """

    step: timedelta | None = None
    read_all_at: datetime | None = None
    rows: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=["ds", "y"]))

    def read(
        self,
        client: Client,
        service: str,
        *,
        since: datetime,
        until: datetime,
        step: timedelta,
        markers: Sequence[Marker] | None = None,
    ) -> pd.DataFrame:
        """Return what read_history would return, up to late changes before the last two hours.

        markers: as for `read_masks`.
        """
        settled = since if self._is_stale(until, step) else until - _STILL_CHANGING
        fresh = read_demand(client, service, since=settled, until=until, step=step).rename(columns={"rps": "y"})
        if settled == since:
            self.rows, self.read_all_at, self.step = fresh, until, step
        else:
            # The first fresh step may begin after `settled`: the record's steps lie on whole multiples of the step.
            kept = self.rows[(self.rows["ds"] >= since) & (self.rows["ds"] < settled)]
            self.rows = pd.concat([kept, fresh], ignore_index=True) if len(fresh) else kept
        return without(self.rows, read_masks(client, service, since=since, until=until, markers=markers), step)

    def _is_stale(self, until: datetime, step: timedelta) -> bool:
        if self.read_all_at is None or self.step != step or self.rows.empty:
            return True
        return not timedelta(0) <= until - self.read_all_at < _READ_ALL_AGAIN
