"""The forecast of a service with its calendar: the one call of the live tick, the commands and `predict`. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from forecaster.calendar.types import Calendar
from forecaster.calendar.wrapper import Remembered, with_calendar
from forecaster.forecast.fleet import FleetProfile
from forecaster.forecast.models import LearntHours, forecast_demand
from forecaster.forecast.types import DemandSeries, Forecast, NoForecast
from forecaster.scores.adapting import Asked, answered


def forecast_with_calendar(
    series: DemandSeries,
    *,
    origin: datetime,
    horizon: timedelta,
    quantiles: Sequence[float],
    calendar: Calendar | None,
    learnt: LearntHours | None = None,
    remembered: Remembered | None = None,
    asked: Asked | None = None,
    fleet: FleetProfile | None = None,
) -> Forecast | NoForecast:
    """Return `forecast_demand` with the calendar in it; its notes say what was done about each kind of event ahead.

    asked: what to answer quantiles by that have not held. fleet: see `forecast_demand`. Raises ForecastError, and
    CalendarError when something is supposed of which nobody knows an effect.
    """
    asked = asked or Asked()
    plain = forecast_demand(
        series, origin=origin, horizon=horizon, quantiles=asked.levels(quantiles), learnt=learnt, fleet=fleet
    )
    if isinstance(plain, Forecast) and asked.instead:
        plain = answered(plain, asked, quantiles)
    if isinstance(plain, NoForecast) or calendar is None:
        return plain
    earlier = LearntHours()  # of its own: what the live forecast has learnt is not pushed out

    def base(at: datetime, over: timedelta) -> Forecast | NoForecast:
        return forecast_demand(series, origin=at, horizon=over, quantiles=quantiles, learnt=earlier)

    return with_calendar(plain, series, calendar, base=base, remembered=remembered)
