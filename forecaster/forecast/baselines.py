"""What anyone can do without a model, to be beaten: yesterday, last week, a corrected profile, Holt-Winters.

Each answers with points; their quantiles are those of their own errors at earlier daily origins, by horizon. They see
gaps filled from what came before, never from after.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from forecaster.forecast.windows import DAY_SECONDS, WEEK_SECONDS, Array, windows_of

ERROR_ORIGINS = 8  # earlier daily origins that the quantiles are taken from
BUCKET_ENDS_SECONDS = (3600, 6 * 3600)  # and everything after
PROFILE_WEEKS = 4
SMOOTHED_SECONDS = 3600
LEVEL_GAIN, SEASON_GAIN, TREND_GAIN = 0.2, 0.1, 0.01

Points = Callable[[Array, Array, Array, int], Array]
"""(values without gaps, ends, horizons, step seconds) -> (ends, horizons); for each end only rows before it count."""


def filled(values: Array, step_seconds: int) -> Array:
    """Return values with each gap filled by the day before, else by the last known value; 0 before the first one."""
    day = max(1, round(DAY_SECONDS / step_seconds))
    known = np.isfinite(values)
    whole = np.where(known, values, 0.0)
    first = known[:day]
    newest = np.maximum.accumulate(np.where(first, np.arange(len(first)), -1))
    whole[: len(first)] = np.where(newest >= 0, whole[np.maximum(newest, 0)], 0.0)
    for start in range(day, len(values), day):
        of_day = slice(start, min(start + day, len(values)))
        whole[of_day] = np.where(known[of_day], whole[of_day], whole[of_day.start - day : of_day.stop - day])
    return whole


def naive(season_seconds: int) -> Points:
    """Return the model `as one season ago`; as the last value where the history is shorter than a season."""

    def points(values: Array, ends: Array, horizons: Array, step_seconds: int) -> Array:
        season = max(1, round(season_seconds / step_seconds))
        at = ends[:, None] + horizons[None, :] - season * (1 + horizons // season)[None, :]
        found: Array = np.where(at >= 0, values[np.maximum(at, 0)], values[np.maximum(ends - 1, 0)][:, None])
        return found

    return points


def profile(values: Array, ends: Array, horizons: Array, step_seconds: int) -> Array:
    """Return the mean of the last weeks at the same hour of the week, times the level of the last hour over its own."""
    windows = windows_of(values, step_seconds)
    week = max(1, round(WEEK_SECONDS / step_seconds))
    half = max(0, round(SMOOTHED_SECONDS / 2 / step_seconds))
    hour = windows.steps(SMOOTHED_SECONDS)

    def mean_of(start: Array, end: Array, until: Array) -> Array:
        low, high = np.maximum(start, 0), np.minimum(end, until)
        count = np.maximum(high - low, 0)
        total = windows.sums[np.clip(high, 0, windows.length)] - windows.sums[np.clip(low, 0, windows.length)]
        mean: Array = np.where(count > 0, total / np.maximum(count, 1), np.nan)
        return mean

    def over_weeks(start: Array, end: Array, until: Array, first: Array) -> Array:
        weeks = [mean_of(start - (first + k) * week, end - (first + k) * week, until) for k in range(PROFILE_WEEKS)]
        known = np.isfinite(weeks)
        mean: Array = np.where(known, weeks, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
        return mean

    at, until = ends[:, None] + horizons[None, :], ends[:, None]
    first = 1 + (horizons + half)[None, :] // week
    ahead = over_weeks(at - half, at + half + 1, until, first)
    usual = over_weeks(until - hour, until, until, np.ones((1, 1), dtype=int))
    level = mean_of(until - hour, until, until)
    ratio = np.clip(np.where(usual > 0, level / np.where(usual > 0, usual, 1.0), 1.0), 0.2, 5.0)
    last = values[np.maximum(ends - 1, 0)][:, None]
    found: Array = np.where(ahead > 0, ahead * ratio, last)
    return found


def holt_winters(values: Array, ends: Array, horizons: Array, step_seconds: int) -> Array:
    """Return additive Holt-Winters with a daily season and a damped trend, as open autoscalers ship it."""
    day = max(1, round(DAY_SECONDS / step_seconds))
    start = min(day, len(values))
    level, trend = float(values[:start].mean()), 0.0
    season = np.resize(values[:start] - level, day)
    answers = np.full((len(ends), len(horizons)), level)
    wanted = {int(end): index for index, end in enumerate(ends)}
    damped = 1 - 0.98 ** np.arange(1, int(horizons[-1]) + 2)  # its sum is 0.98 / 0.02 of it
    for index in range(start, int(ends.max()) + 1):
        if index in wanted:
            steady = level + trend * 49.0 * damped[horizons]
            answers[wanted[index]] = np.maximum(steady + season[(index + horizons) % day], 0.0)
        if index < len(values):
            value, of_day = float(values[index]), index % day
            before = level
            level = LEVEL_GAIN * (value - season[of_day]) + (1 - LEVEL_GAIN) * (level + 0.98 * trend)
            trend = TREND_GAIN * (level - before) + (1 - TREND_GAIN) * 0.98 * trend
            season[of_day] += SEASON_GAIN * (value - level - season[of_day])
    return answers


def with_quantiles(points: Points, values: Array, horizons: Array, step_seconds: int, quantiles: Array) -> Array:
    """Return (horizons, quantiles) from the end of `values`: points plus quantiles of earlier errors, never below 0.

    The median is the point itself.
    """
    day = max(1, round(DAY_SECONDS / step_seconds))
    whole = filled(values, step_seconds)
    end = len(whole)
    ends = end - day * np.arange(ERROR_ORIGINS + 1)
    ends = ends[ends > min(day, end - 1)]
    centre = points(whole, ends[:1], horizons, step_seconds)[0]
    scored = np.arange(day)  # of a day always, so that a longer horizon changes no nearer quantile
    answers = points(whole, ends[1:], scored, step_seconds) if len(ends) > 1 else np.zeros((0, day))
    at = ends[1:, None] + scored[None, :]
    known = (at < end) & np.isfinite(values[np.minimum(at, end - 1)])
    errors = np.where(known, whole[np.minimum(at, end - 1)] - answers, np.nan)
    bucket_ends = np.array(BUCKET_ENDS_SECONDS) / step_seconds
    bucket, scored_bucket = (np.searchsorted(bucket_ends, of, side="right") for of in (horizons, scored))
    spread = np.zeros((len(horizons), len(quantiles)))
    for which in np.unique(bucket):
        found = errors[:, scored_bucket == which]
        found = found[np.isfinite(found)]
        if len(found):
            spread[bucket == which] = np.quantile(found, quantiles)
    spread[:, np.isclose(quantiles, 0.5)] = 0.0
    found_all: Array = np.maximum(np.sort(centre[:, None] + spread, axis=1), 0.0)
    return found_all


BASELINES: dict[str, Points] = {
    "naive_day": naive(DAY_SECONDS),
    "naive_week": naive(WEEK_SECONDS),
    "profile": profile,
    "holt_winters": holt_winters,
}
