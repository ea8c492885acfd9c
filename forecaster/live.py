"""What the running forecaster's forecast rests on beside history and calendar, for whoever makes the same one.

The levels it is made at, what stored scores ask for instead of some, and a shape lent in a service's first days. The
loop keeps these between its forecasts (`loop.tick`); here they are read for one. A lender's shape that the loop has in
memory may be up to an hour older than the one read here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from collector.catalog import Catalog, Service
from collector.clickhouse import Client
from forecaster.forecast.demand import clean_series
from forecaster.forecast.fleet import FleetProfile
from forecaster.forecast.models import column_of, history_to_read
from forecaster.forecast.types import DemandSeries, Forecast
from forecaster.forecast.wall_clock import zone_for
from forecaster.history import read_history, read_known
from forecaster.lenders import LENDS_FROM, Lenders, borrows
from forecaster.scores.adapting import Asked
from forecaster.scores.levels import quantiles_for, read_asked
from forecaster.settings import Settings
from forecaster.store.instants import floored


def at_levels(forecast: Forecast, levels: Sequence[float]) -> Forecast:
    """Return a forecast at some of its levels only."""
    frame = forecast.frame[["ds", *(column_of(level) for level in levels)]]
    return replace(forecast, quantiles=tuple(levels), frame=frame)


@dataclass(frozen=True, slots=True)
class Live:
    """Of a service, whose lenders are the others of a catalog; None: it has none."""

    client: Client
    service: Service
    settings: Settings
    catalog: Catalog | None

    def levels(self) -> tuple[float, ...]:
        """Return the levels that are stored."""
        return quantiles_for(self.settings, self.service.scaling)

    def asked(self, origin: datetime) -> Asked:
        """Return what a forecast from `origin` answers levels by that have not held. Raises StoreError."""
        return read_asked(self.client, self.service.name, origin=origin, levels=self.levels(), settings=self.settings)

    def fleet(self, series: DemandSeries, origin: datetime) -> FleetProfile | None:
        """Return what the others lend at `origin`, None to a service that has seen days of its own."""
        if self.catalog is None or not borrows(series):
            return None
        lenders = Lenders()
        for other in self.catalog.services.values():
            known = read_known(self.client, other.name, finest=self.settings.step)
            if other.name == self.service.name or known is None or origin - known.first < LENDS_FROM:
                continue
            at = floored(origin, known.step)
            since = at - max(self.settings.history, history_to_read(known.step))
            rows = read_history(self.client, other.name, since=since, until=at, step=known.step)
            if not rows.empty:
                zone = zone_for(other.timezone)
                lenders.for_(clean_series(other.name, rows, step=known.step, until=at, zone=zone), origin=at)
        return lenders.for_(series, origin=origin)
