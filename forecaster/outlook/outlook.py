"""Demand by the day, a week to a year ahead: its mean and its busiest hour, and the day it passes a capacity. Pure.

A day in three months is not forecast hour by hour: what is asked is how high it goes and when that is too high. What
the ways ahead are made of is in `paths`; reading a history is left to the callers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from forecaster.forecast.types import DemandSeries
from forecaster.outlook.daily import Array, days_of
from forecaster.outlook.paths import EVERY, LEAST_COURSES, LEAST_DAYS, LEVEL_DAYS, Paths, paths_of

LONGEST_DAYS = 366
AROUND_DAYS = 3
PASSING_LEVELS = (0.1, 0.5, 0.9)


class OutlookError(ValueError):
    """An outlook was asked for in a way that has no answer: says what was expected and what came."""


@dataclass(frozen=True, slots=True)
class Passing:
    """When the busiest hour of a day is first above `capacity` (in the series' unit).

    by_day: the probability that it has happened by the end of each day ahead. dates: by level, the first day by which
    it has happened with that probability; None: not within the horizon.
    """

    capacity: float
    probability: float
    dates: dict[float, date | None]
    by_day: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Outlook:
    """mean, peak: (days, quantiles), of each local day from `first` on. notes: what it rests on."""

    name: str
    first: date
    quantiles: tuple[float, ...]
    mean: Array
    peak: Array
    passing: Passing | None
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NoOutlook:
    """Looked, and could not say, because."""

    name: str
    reason: str


def outlook_of(
    series: DemandSeries,
    *,
    zone: ZoneInfo,
    origin: datetime,
    horizon: timedelta,
    quantiles: Sequence[float],
    capacity: float | None = None,
) -> Outlook | NoOutlook:
    """Return the days from the local day of `origin` on (it is not over: of it nothing is taken as known).

    Rows from that day on are not seen. Raises OutlookError on a horizon outside 1 to 366 days or a capacity of 0.
    """
    days = horizon // timedelta(days=1)
    if not 1 <= days <= LONGEST_DAYS or (capacity is not None and not capacity > 0):
        raise OutlookError(f"expected 1 to {LONGEST_DAYS} days and a capacity above 0, got {horizon} and {capacity}")
    seen = days_of(series, zone, until=origin)
    means, peaks = paths_of(seen.mean, days), paths_of(seen.peak, days)
    known = int(np.isfinite(seen.mean).sum())
    if means is None or peaks is None:
        return NoOutlook(
            series.name, f"expected two weeks of days with demand up to the last four weeks, got {known} days"
        )
    first = seen.day(len(seen.mean))
    return Outlook(
        name=series.name,
        first=first,
        quantiles=tuple(quantiles),
        mean=quantiles_of(means, quantiles),
        peak=quantiles_of(peaks, quantiles),
        passing=passing_of(peaks, capacity, first) if capacity is not None else None,
        notes=(_ground(known, peaks, days),),
    )


def quantiles_of(paths: Paths, quantiles: Sequence[float]) -> Array:
    """Return (days, quantiles) of the courses, ascending; the median is the central course where that keeps order.

    A day's quantiles are those of how far the courses are off the central one in the week around it: some fifty courses
    are few for a single day.
    """
    off = paths.courses / paths.centre
    around = [off[:, max(0, day - AROUND_DAYS) : day + AROUND_DAYS + 1] for day in range(off.shape[1])]
    found: Array = np.stack([np.quantile(week, quantiles) for week in around]) * paths.centre[:, None]
    for index, level in enumerate(quantiles):
        if np.isclose(level, 0.5):
            low = found[:, index - 1] if index else paths.centre
            high = found[:, index + 1] if index + 1 < len(quantiles) else paths.centre
            found[:, index] = np.clip(paths.centre, low, high)
    return found


def passing_of(paths: Paths, capacity: float, first: date) -> Passing:
    """Return when the courses are first above a capacity: the share of them that have been, by day."""
    share = np.maximum.accumulate(paths.courses > capacity, axis=1).mean(axis=0)
    dates = {
        level: first + timedelta(days=int(np.argmax(share >= level))) if share[-1] >= level else None
        for level in PASSING_LEVELS
    }
    return Passing(capacity, float(share[-1]), dates, tuple(float(value) for value in share))


def _ground(known: int, paths: Paths, days: int) -> str:
    if paths.measured:
        return f"rests on {known} days; the spread is that of {paths.measured} outlooks of {days} days from past days"
    needed = LEAST_DAYS + LEVEL_DAYS + days + (LEAST_COURSES - 1) * EVERY
    return f"rests on {known} days; the spread is supposed: it can be measured from {needed} days on"
