"""From demand ahead to replicas, floors and money. Pure; rates in requests/s of the clock in use.

A day's demand by the hour is its busiest hour, as the outlook has it, times the hour's share of the busiest one as past
weeks had it. Replicas are counted at the low end of the capacity: one may carry more, it must not carry less.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd

from forecaster.outlook.outlook import Outlook
from forecaster.report.measures import Hours, hour_shares

Array = npt.NDArray[np.float64]
MONTH_HOURS = 365.25 * 24 / 12  # of a mean month
LEAST_REPLICAS = 2  # one alone has no spare when it fails
NOBODY_LOOKED_AFTER = timedelta(minutes=10)
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Observed:
    """What ran. replica_hours: over the time that was looked at; seen: that time; highest: replicas at once."""

    replica_hours: float
    seen: timedelta
    window: timedelta
    highest: int

    @property
    def mean(self) -> float:
        """The mean of the replicas that ran while somebody looked."""
        return self.replica_hours / (self.seen / timedelta(hours=1))

    @property
    def coverage(self) -> float:
        """The share of the window that was looked at."""
        return self.seen / self.window


@dataclass(frozen=True, slots=True)
class Recommended:
    """floors: (7, 24) replicas by weekday and local hour. least, most: for the autoscaler.

    peak_rps, peak_day: what `most` is to carry, and when.
    """

    least: int
    most: int
    floors: npt.NDArray[np.int64]
    peak_rps: float
    peak_day: date


def replicas_for(rps: Array, per_replica: float) -> Array:
    """Return how many replicas carry each rate, whole."""
    found: Array = np.ceil(np.maximum(rps, 0.0) / per_replica - _ROUNDING)
    return found


def column_of(found: Outlook, level: float) -> int:
    """Return the index of the least level that is `level` or above, of the highest when there is none."""
    enough = [index for index, one in enumerate(found.quantiles) if one >= level - 1e-9]
    return enough[0] if enough else len(found.quantiles) - 1


def observed_replicas(states: pd.DataFrame, *, since: datetime, until: datetime) -> Observed | None:
    """Return what ran in [since, until), of states `ts, current` ascending; None when nobody looked.

    A state holds until the next one, but for ten minutes at most: then nobody looked.
    """
    inside = states[(states["ts"] >= since) & (states["ts"] < until)]
    if inside.empty:
        return None
    ends = [*inside["ts"].iloc[1:].dt.to_pydatetime(), until]
    spans = [
        min(end - start, NOBODY_LOOKED_AFTER) for start, end in zip(inside["ts"].dt.to_pydatetime(), ends, strict=True)
    ]
    current = inside["current"].tolist()
    hours = math.fsum(n * (span / timedelta(hours=1)) for n, span in zip(current, spans, strict=True))
    seen = sum(spans, timedelta())
    return Observed(hours, seen, until - since, int(max(current))) if seen > timedelta() else None


def recommended(
    found: Outlook, hours: Hours, *, per_replica: float, level: float, factors: dict[date, float]
) -> Recommended:
    """Return the floors that carry the highest of the weeks ahead at `level`, and the ends for the autoscaler.

    most: carries the busiest hour ahead at the outlook's highest level, times the declared factor of that day's events,
    where they have one. least: the lowest floor of the week, never under two.
    """
    shares = hour_shares(hours, level)
    peaks = found.peak[:, column_of(found, level)]
    highest = np.zeros((7, 24))
    for index, peak in enumerate(peaks):
        weekday = (found.first + timedelta(days=index)).weekday()
        highest[weekday] = np.maximum(highest[weekday], np.nan_to_num(shares[weekday], nan=1.0) * peak)
    for weekday in range(7):  # not among the days ahead: as the highest of those that are
        if not highest[weekday].any():
            highest[weekday] = highest.max(axis=0)
    floors = np.maximum(replicas_for(highest, per_replica), LEAST_REPLICAS).astype(np.int64)
    top = [
        float(value) * max(1.0, factors.get(found.first + timedelta(days=index), 1.0))
        for index, value in enumerate(found.peak[:, -1])
    ]
    most = max(int(replicas_for(np.array([max(top)]), per_replica)[0]), int(floors.max()))
    busiest = found.first + timedelta(days=int(np.argmax(top)))
    return Recommended(int(floors.min()), most, floors, max(top), busiest)


def replica_hours_ahead(
    found: Outlook, hours: Hours, *, level: float, per_replica: float, least: int
) -> dict[date, float]:
    """Return by day ahead the replica-hours that the autoscaler would run for the demand of a level.

    per_replica: what it aims at per replica. Nothing bounds it above: a bill that `max` hides is still needed.
    """
    shares = np.nan_to_num(hour_shares(hours, 0.5), nan=1.0)
    peaks = found.peak[:, column_of(found, level)]
    days = [found.first + timedelta(days=index) for index in range(len(peaks))]
    return {
        one: float(np.maximum(replicas_for(shares[one.weekday()] * peak, per_replica), least).sum())
        for one, peak in zip(days, peaks.tolist(), strict=True)
    }


def budget_passed(by_day: dict[date, float], monthly: float, *, spent: float) -> date | None:
    """Return the first day on which a calendar month's cost is above the budget; None: not within the days given.

    by_day: cost of each day ahead, in order. spent: since the first of the month of the first day.
    """
    month: tuple[int, int] | None = None
    total = spent
    for one, cost in by_day.items():
        if month is not None and (one.year, one.month) != month:
            total = 0.0
        month = (one.year, one.month)
        total += cost
        if total > monthly:
            return one
    return None
