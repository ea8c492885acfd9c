"""Who lends a day's shape to a service that has not seen one: the others of this forecaster with two weeks of history.

Shapes are by the hour of a wall clock's week, so services of different time zones lend to each other. The arithmetic
is `forecast.fleet`'s. What is kept here is a saving: it is made again from the services' own series within an hour.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np

from forecaster.forecast.fleet import FleetProfile, borrowed, profile_of
from forecaster.forecast.types import DemandSeries
from forecaster.forecast.wall_clock import on_the_wall

LENDS_FROM = timedelta(weeks=2)
BORROWS_UNDER = timedelta(days=2)
SHAPES_HOLD = timedelta(hours=1)


@dataclass(slots=True)
class Lenders:
    """The shapes of services by name, each made at most once an hour (of the clock in use); and what they lend."""

    shapes: dict[str, tuple[datetime, FleetProfile | None]] = field(default_factory=dict)
    lent: tuple[datetime, FleetProfile | None] | None = None

    def for_(self, series: DemandSeries, *, origin: datetime) -> FleetProfile | None:
        """Return what a service may borrow: None when it has days of its own, or nobody lends.

        A service with two weeks of history is noted as a lender instead. series: rows before `origin`.
        """
        if _known_for(series) >= LENDS_FROM:
            self._note(series, origin)
        if not borrows(series):
            return None
        if self.lent is None or not timedelta(0) <= origin - self.lent[0] < SHAPES_HOLD:
            self.lent = origin, borrowed([shape for _, shape in self.shapes.values() if shape is not None])
        return self.lent[1]

    def _note(self, series: DemandSeries, origin: datetime) -> None:
        noted = self.shapes.get(series.name)
        if noted is None or not timedelta(0) <= origin - noted[0] < SHAPES_HOLD:
            seen = series if series.zone is None else on_the_wall(series, origin).series
            self.shapes[series.name] = origin, profile_of(seen)
            if noted is None:
                self.lent = None  # who has just begun to lend is heard at once


def borrows(series: DemandSeries) -> bool:
    """Say whether a service has seen too few days to do without the others' shape."""
    return _known_for(series) < BORROWS_UNDER


def _known_for(series: DemandSeries) -> timedelta:
    known = np.flatnonzero(np.isfinite(series.frame["y"].to_numpy(dtype=np.float64)))
    return (len(series.frame) - int(known[0])) * series.step if len(known) else timedelta(0)
