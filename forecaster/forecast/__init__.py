"""Demand ahead, with quantiles. Never imports scaling."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import pandas as pd

from forecaster.calendar.types import Calendar
from forecaster.forecast.demand import clean_series
from forecaster.forecast.models import ForecastError
from forecaster.forecast.types import NoForecast
from forecaster.forecast.wall_clock import zone_for

__all__ = ["predict"]


def predict(
    history: pd.DataFrame,
    *,
    origin: datetime,
    horizon: timedelta,
    quantiles: Sequence[float],
    calendar: Calendar | None = None,
    timezone: str = "UTC",
) -> pd.DataFrame:
    """Return columns `ds` (aware UTC start of step, the first one holds the origin) and `q<level>` per quantile.

    history: columns `ds` (aware) and `y`, any order, gaps allowed; values in, values out in one unit. calendar: events
    of the past and ahead, and what is supposed. timezone: by whose wall clock people live (Europe/London): a peak at
    08:00 stays there when clocks change. Raises DemandError, ForecastError or CalendarError (each a ValueError),
    saying why, when there is no answer.
    """
    from forecaster.calendar.demand import forecast_with_calendar  # it rests on this package
    from forecaster.calendar.sources import zone_of

    zone = zone_for(zone_of(timezone).key)
    series = clean_series("history", history, zone=zone)
    forecast = forecast_with_calendar(series, origin=origin, horizon=horizon, quantiles=quantiles, calendar=calendar)
    if isinstance(forecast, NoForecast):
        raise ForecastError(f"no forecast from {origin.isoformat()}: {forecast.reason}")
    return forecast.frame
