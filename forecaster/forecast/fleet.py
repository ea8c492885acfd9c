"""A day's shape borrowed from other services, for one that has not seen two days yet.

Pure: whose profiles are taken is the caller's choice (services of one team, one country, one time zone).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from forecaster.forecast.calibration import PRIOR_LOG_DEVIATION
from forecaster.forecast.interface import Past
from forecaster.forecast.types import DemandSeries
from forecaster.forecast.windows import DAY_SECONDS, WEEK_SECONDS, Array

HOURS_OF_WEEK = 168
LEAST_DAYS = 7  # a shape is lent by services that have seen a week
BORROWS_UNDER_SECONDS = 2 * DAY_SECONDS  # one day alone may have been an odd one
LEVEL_SECONDS = 3600
LEAST_SHARE = 0.01  # of the mean: a lent hour is never nothing at all
OUT_AFTER_SECONDS = DAY_SECONDS  # a borrowed hour's doubt grows up to so far ahead
LARGEST_DOUBT = 2.0
HIGHEST_GROWTH = 10.0  # no borrowed shape lifts demand more than so many times


@dataclass(frozen=True, slots=True)
class FleetProfile:
    """Demand by hour of the week (UTC, from Monday) over its mean; `services`: how many it was taken from."""

    by_hour: tuple[float, ...]
    services: int


def profile_of(series: DemandSeries) -> FleetProfile | None:
    """Return a service's own shape, or None when it has not seen a whole week, or nothing but zeros."""
    values = series.frame["y"].to_numpy(dtype=np.float64)
    known = np.isfinite(values)
    if known.sum() * series.step.total_seconds() < LEAST_DAYS * DAY_SECONDS or not np.nansum(values) > 0:
        return None
    start = int(series.frame["ds"].iloc[0].timestamp())
    hours = _hour_of_week(start + np.arange(len(values)) * int(series.step.total_seconds()))[known]
    count = np.bincount(hours, minlength=HOURS_OF_WEEK)
    total = np.bincount(hours, weights=values[known], minlength=HOURS_OF_WEEK)
    mean = total.sum() / count.sum()
    by_hour = np.where(count > 0, total / np.maximum(count, 1), mean) / mean
    return FleetProfile(tuple(np.maximum(by_hour, LEAST_SHARE)), 1)


def borrowed(profiles: Sequence[FleetProfile]) -> FleetProfile | None:
    """Return the median shape of services, or None of none: one odd service does not bend it."""
    if not profiles:
        return None
    middle = np.median(np.array([profile.by_hour for profile in profiles]), axis=0)
    return FleetProfile(tuple(middle / middle.mean()), sum(profile.services for profile in profiles))


def borrowed_by(past: Past, profile: FleetProfile, horizons: Array, quantiles: Array) -> Array | None:
    """Return (horizons, quantiles) by the borrowed shape, None for a history that is long enough to go without."""
    if past.known_seconds >= BORROWS_UNDER_SECONDS:
        return None
    return predict_borrowed(profile, past, horizons, quantiles)


def halfway(own: Array, lent: Array, offset: float) -> Array:
    """Return the geometric mean of two answers, each raised by `offset`, so that a zero of one does not decide."""
    middle: Array = np.exp((np.log(own + offset) + np.log(lent + offset)) / 2) - offset
    return np.maximum(middle, 0.0)


def predict_borrowed(profile: FleetProfile, past: Past, horizons: Array, quantiles: Array) -> Array:
    """Return (horizons, quantiles): the last hour's level, moved by the borrowed shape; a wide band, wider later.

    past: at least one value known. The band is a belief, not a measurement: there is nothing to measure it on yet.
    """
    step = past.step_seconds
    newest = int(np.flatnonzero(np.isfinite(past.values))[-1]) + 1
    first = max(0, newest - max(1, round(LEVEL_SECONDS / step)))
    shape = np.log(np.array(profile.by_hour))
    seen = past.start + np.arange(first, newest) * step
    level = float(np.nanmean(past.values[first:newest]))
    usual = float(np.mean(_at(shape, seen)))
    growth = np.clip(_at(shape, past.end + horizons * step) - usual, None, np.log(HIGHEST_GROWTH))
    doubt = np.minimum(1 + (horizons + 1) * step / OUT_AFTER_SECONDS, LARGEST_DOUBT)
    band = np.array([NormalDist(0.0, PRIOR_LOG_DEVIATION).inv_cdf(quantile) for quantile in quantiles])
    answer: Array = level * np.exp(growth[:, None] + doubt[:, None] * band)
    return answer


def _hour_of_week(instants: Array) -> Array:
    hour: Array = ((instants + 3 * DAY_SECONDS) % WEEK_SECONDS) // 3600  # 1970-01-01 was a Thursday
    return hour


def _at(shape: Array, instants: Array) -> Array:
    """Return the shape between the middles of hours, so that it has no steps."""
    position = ((instants + 3 * DAY_SECONDS) % WEEK_SECONDS) / 3600 - 0.5
    answer: Array = np.interp(
        position, np.arange(-1, HOURS_OF_WEEK + 1), np.concatenate([shape[-1:], shape, shape[:1]])
    )
    return answer
