"""The values a forecast is made of. Units are the input's: requests/s for a service, the file's own for a CSV."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pandas as pd


@dataclass(frozen=True, slots=True)
class DemandSeries:
    """A clean series. frame: columns `ds` (aware UTC, start of step, regular, ascending) and `y` (float, NaN = gap).

    zone: by whose wall clock its days go; None: by UTC.
    """

    name: str
    step: timedelta
    frame: pd.DataFrame
    zone: ZoneInfo | None = None


@dataclass(frozen=True, slots=True)
class Forecast:
    """frame: `ds` (start of step, first one = origin) and a column `q<level>` per quantile, e.g. `q0.5`, ascending."""

    name: str
    origin: datetime
    model: str
    step: timedelta
    quantiles: tuple[float, ...]
    frame: pd.DataFrame
    history_from: datetime
    watermark: datetime  # end of the newest step that the forecast rests on
    # How much history it rests on, what a guard replaced, what has drifted: words for people, not stored with it.
    notes: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class NoForecast:
    """Looked, and could not say, because."""

    name: str
    origin: datetime
    reason: str
