"""A service's demand as its models may see it: read from the record, at one step, without what people have masked.

The live ticks, the commands and the backtests all read through here, so that they see the same series. The record's
SQL is `collector.record.store`'s; what counts as a gap is decided by `forecast.demand.clean_series`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pandas as pd

from collector.clickhouse import Client
from collector.record.store import read_demand, read_demand_span, read_demand_step, read_markers

# New rows can still change for as long as a late batch or a slow retry may take; older ones change only by an import
# or a new marker, for which everything is read again now and then.
_STILL_CHANGING = timedelta(hours=2)
_READ_ALL_AGAIN = timedelta(hours=6)


@dataclass(frozen=True, slots=True)
class DemandKnown:
    """What the record holds of a service: its span, and the finest step at which all of it can be read."""

    first: datetime
    end: datetime
    step: timedelta


def read_known(client: Client, service: str, *, finest: timedelta) -> DemandKnown | None:
    """Return what the record holds, with a step of at least `finest`; None when it holds nothing."""
    span = read_demand_span(client, service)
    step = read_demand_step(client, service)
    return DemandKnown(span[0], span[1], max(finest, step)) if span and step else None


def read_history(client: Client, service: str, *, since: datetime, until: datetime, step: timedelta) -> pd.DataFrame:
    """Return columns `ds` (aware UTC) and `y` (requests/s) in [since, until), without spans that a marker masks."""
    rows = read_demand(client, service, since=since, until=until, step=step).rename(columns={"rps": "y"})
    for marker in read_markers(client, service, since=since, until=until):
        if marker.masks_history:
            rows = rows[(rows["ds"] + step <= marker.starts_at) | (rows["ds"] >= marker.ends_at)]
    return rows.reset_index(drop=True)


@dataclass(slots=True)
class HistoryCache:
    """Keeps the settled past of one service in memory, so that a refresh reads the last hours only."""

    step: timedelta | None = None
    read_all_at: datetime | None = None
    rows: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=["ds", "y"]))

    def read(self, client: Client, service: str, *, since: datetime, until: datetime, step: timedelta) -> pd.DataFrame:
        """Return what read_history would return, up to late changes before the last two hours."""
        if self._is_stale(until, step):
            self.rows = read_history(client, service, since=since, until=until, step=step)
            self.read_all_at, self.step = until, step
            return self.rows
        settled = until - _STILL_CHANGING
        fresh = read_history(client, service, since=settled, until=until, step=step)
        # The first fresh step may begin after `settled`: the record's steps lie on whole multiples of the step.
        kept = self.rows[(self.rows["ds"] >= since) & (self.rows["ds"] < settled)]
        self.rows = pd.concat([kept, fresh], ignore_index=True) if len(fresh) else kept
        return self.rows

    def _is_stale(self, until: datetime, step: timedelta) -> bool:
        if self.read_all_at is None or self.step != step or self.rows.empty:
            return True
        return not timedelta(0) <= until - self.read_all_at < _READ_ALL_AGAIN
