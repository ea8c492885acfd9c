"""From a series to one figure per local day: its mean demand, and its busiest hour's. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pandas as pd

from forecaster.forecast.types import DemandSeries

Array = npt.NDArray[np.float64]
KNOWN_SHARE = 0.75  # of a day's, or an hour's, steps that must be known for it to count


@dataclass(frozen=True, slots=True)
class Days:
    """first: the first local day. mean, peak: demand by day, of all of it and of its busiest hour; NaN = gap."""

    name: str
    first: date
    mean: Array
    peak: Array

    def day(self, index: int) -> date:
        """Return the local day of an index."""
        return self.first + timedelta(days=index)


def days_of(series: DemandSeries, zone: ZoneInfo, *, until: datetime) -> Days:
    """Return the whole local days that end at or before `until`, of rows before it; an empty result has no days.

    A day has 23, 24 or 25 hours; a step longer than an hour stands for each hour of its own.
    """
    frame = series.frame[series.frame["ds"] < until]
    local = frame["ds"].dt.tz_convert(zone)
    hourly = frame["y"].groupby(frame["ds"].dt.floor("h")).agg(["mean", "count"])
    per_hour = max(1.0, 3600 / series.step.total_seconds())
    hours = hourly[hourly["count"] >= KNOWN_SHARE * per_hour]["mean"]
    by_day = hours.groupby(pd.Series(hours.index, index=hours.index).dt.tz_convert(zone).dt.date)
    peak, mean = by_day.max(), by_day.mean()
    known = by_day.count() * max(1.0, series.step.total_seconds() / 3600)
    good = known[known >= KNOWN_SHARE * 24].index
    if len(local) == 0:
        return Days(series.name, until.astimezone(zone).date(), np.zeros(0), np.zeros(0))
    first, end = local.iloc[0].date(), until.astimezone(zone).date()
    whole = [first + timedelta(days=index) for index in range((end - first).days)]
    pick = {day: (float(mean[day]), float(peak[day])) for day in good}
    rows = np.array([pick.get(day, (np.nan, np.nan)) for day in whole], dtype=np.float64).reshape(-1, 2)
    return Days(series.name, first, rows[:, 0], rows[:, 1])
