"""Demand ahead, with quantiles. Never imports scaling."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import pandas as pd

from forecaster.forecast.demand import clean_series
from forecaster.forecast.models import ForecastError, forecast_demand
from forecaster.forecast.types import NoForecast

__all__ = ["predict"]


def predict(
    history: pd.DataFrame,
    *,
    origin: datetime,
    horizon: timedelta,
    quantiles: Sequence[float],
    calendar: None = None,
) -> pd.DataFrame:
    """Return columns `ds` (aware UTC start of step, the first one holds the origin) and `q<level>` per quantile.

    history: columns `ds` (aware) and `y`, any order, gaps allowed; values in, values out in one unit. No calendar is
    understood yet. Raises DemandError or ForecastError (both ValueError), saying why, when there is no answer.
    """
    if calendar is not None:
        raise ForecastError(f"expected no calendar (none is understood yet), got {calendar!r}")
    forecast = forecast_demand(clean_series("history", history), origin=origin, horizon=horizon, quantiles=quantiles)
    if isinstance(forecast, NoForecast):
        raise ForecastError(f"no forecast from {origin.isoformat()}: {forecast.reason}")
    return forecast.frame
