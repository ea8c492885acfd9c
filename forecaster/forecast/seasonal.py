"""What other days say about today: yesterday, last week, and the days most like today, as copies beside levels.

Everything is in logarithms and relative to the level of the last quarter of an hour: so a forecast scales with its
demand. How far each copy is to be believed is left to `learning`.
"""

from __future__ import annotations

import numpy as np

from forecaster.forecast.windows import DAY_SECONDS, WEEK_SECONDS, Array, Windows

LEVEL_SECONDS = 900  # the level of an instant is the mean of so long before it; a copy is smoothed as much
COPIED_DAYS = 14  # days that may be like today
COPIED_WEEKS = 4
SHAPE_HOURS = 6  # how much of today is compared with other days
SIMILARITY_LOG_WIDTH = 0.15  # difference in shape (logarithms) at which a day counts 1/e as much
REACH_SECONDS = 600  # a recurring ramp may come so much earlier or later
LEVEL_SHARE = 0.5  # how much of the difference in level is believed to last until then


def features(windows: Windows, origins: Array, horizons: Array, offset: float) -> tuple[Array, Array]:
    """Return (origins, horizons, features) relative to the level at each origin, and that level's logarithm.

    A feature that the history does not reach is 0: as if that day had had the level of now.
    """
    now = origins[:, None]
    level = level_at(windows, origins, offset)
    hour = windows.log_mean(origins - windows.steps(3600), origins, offset)
    day_copy, day_level = copies(windows, origins, horizons, offset, DAY_SECONDS, COPIED_DAYS)
    week_copy, week_level = copies(windows, origins, horizons, offset, WEEK_SECONDS, COPIED_WEEKS)
    weights = likeness(windows, origins, horizons, offset)
    like = weighted_mean(day_copy, weights)
    like_level = weighted_mean(day_level, weights)
    recent = [
        windows.log_mean(now - windows.steps(300), now, offset),
        hour[:, None],
        windows.log_mean(now - windows.steps(6 * 3600), now, offset),
        windows.log_mean(now - 2 * windows.steps(LEVEL_SECONDS), now - windows.steps(LEVEL_SECONDS), offset),
    ]
    columns = [
        day_copy[..., 0],
        mean_of(day_copy[..., :7]),
        highest_of(day_copy[..., :7]),
        like,
        week_copy[..., 0],
        mean_of(week_copy),
        day_level[..., 0],
        mean_of(day_level[..., :7]),
        highest_of(day_level[..., :7]),
        like_level,
        week_level[..., 0],
        mean_of(week_level),
        *(np.broadcast_to(column, like.shape) for column in recent),
    ]
    stacked = np.stack(columns, axis=-1) - level[:, None, None]
    ones = np.ones((*like.shape, 1))
    return np.concatenate([np.where(np.isfinite(stacked), stacked, 0.0), ones], axis=-1), level


def level_at(windows: Windows, origins: Array, offset: float) -> Array:
    """Return the level's logarithm at each origin; through a gap, the level before it; NaN after a week of gaps."""
    level = windows.log_mean(origins - windows.steps(LEVEL_SECONDS), origins, offset)
    for seconds in (3600, 6 * 3600, DAY_SECONDS, WEEK_SECONDS):
        level = np.where(np.isfinite(level), level, windows.log_mean(origins - windows.steps(seconds), origins, offset))
    return level


def copies(
    windows: Windows, origins: Array, horizons: Array, offset: float, period_seconds: int, count: int
) -> tuple[Array, Array]:
    """Return what was at the same time in earlier periods, and the level at the origin's time in them."""
    period = windows.steps(period_seconds)
    half = round(LEVEL_SECONDS / 2 / windows.step_seconds)  # a quarter of an hour around the instant
    whole = (horizons + half) // period + 1  # periods back, so that nothing after the origin is needed
    lags = (whole[:, None] + np.arange(count)[None, :]) * period
    at = origins[:, None, None] + horizons[None, :, None] - lags[None, :, :]
    copy = windows.log_mean(at - half, at + half + 1, offset)
    if windows.counts[-1] < windows.length:  # a gap that recurs is bridged by the hour before it
        wider = windows.log_mean(at - windows.steps(3600), at + half + 1, offset)
        copy = np.where(np.isfinite(copy), copy, wider)
    distinct, which = np.unique(whole, return_inverse=True)
    before = origins[:, None, None] - (distinct[:, None] + np.arange(count)[None, :]) * period
    return copy, windows.log_mean(before - windows.steps(LEVEL_SECONDS), before, offset)[:, which]


def likeness(windows: Windows, origins: Array, horizons: Array, offset: float) -> Array:
    """Return (origins, horizons, days): how like today's last hours each copied day's were; 0 where unknown."""
    hour, day = windows.steps(3600), windows.steps(DAY_SECONDS)
    ends = origins[:, None] - hour * np.arange(SHAPE_HOURS)[None, :]
    today = windows.log_mean(ends - hour, ends, offset)[:, None, :]
    others = ends[:, None, :] - (day * (1 + np.arange(COPIED_DAYS)))[None, :, None]
    distance = np.abs(windows.log_mean(others - hour, others, offset) - today)
    known = np.isfinite(distance)
    mean = np.where(known, distance, 0.0).sum(axis=-1) / np.maximum(known.sum(axis=-1), 1)
    alike = np.where(known.any(axis=-1), np.exp(-mean / SIMILARITY_LOG_WIDTH) + 1e-9, 0.0)
    days_ahead = (horizons + round(LEVEL_SECONDS / 2 / windows.step_seconds)) // day
    copied = np.minimum(days_ahead[:, None] + np.arange(COPIED_DAYS)[None, :], COPIED_DAYS - 1)
    found: Array = alike[:, copied]
    return found


def weighted_mean(values: Array, weights: Array) -> Array:
    """Return the weighted mean of what is known along the last axis; NaN where nothing is."""
    known = np.isfinite(values)
    weight = np.where(known, weights, 0.0)
    total = weight.sum(axis=-1)
    weighted = (np.where(known, values, 0.0) * weight).sum(axis=-1)
    means: Array = np.divide(weighted, total, out=np.full_like(total, np.nan), where=total > 0)
    return means


def mean_of(values: Array) -> Array:
    """Return the mean of what is known along the last axis; NaN where nothing is."""
    return weighted_mean(values, np.ones_like(values))


def median_of(values: Array) -> Array:
    """Return the median of what is known along the last axis; NaN where nothing is."""
    ordered = np.sort(values, axis=-1)  # NaN sorts to the end
    count = np.isfinite(values).sum(axis=-1)
    low, high = np.maximum(count - 1, 0) // 2, count // 2
    picked = [
        np.take_along_axis(ordered, np.minimum(at, values.shape[-1] - 1)[..., None], axis=-1) for at in (low, high)
    ]
    middle: Array = (picked[0][..., 0] + picked[1][..., 0]) / 2
    return middle


def deviation_of(values: Array) -> Array:
    """Return the standard deviation of what is known along the last axis; NaN where nothing is."""
    mean = mean_of(values)
    deviation: Array = np.sqrt(mean_of((values - mean[..., None]) ** 2))
    return deviation


def highest_of(values: Array) -> Array:
    """Return the highest of what is known along the last axis; NaN where nothing is."""
    highest = np.where(np.isfinite(values), values, -np.inf).max(axis=-1)
    return np.where(np.isfinite(highest), highest, np.nan)


def recurring(windows: Windows, horizons: Array, quantiles: Array, offset: float) -> Array:
    """Return (horizons, quantiles) of what the days like today reached around the same time; -inf where none is known.

    A ramp that comes at its hour on most days belongs into the upper quantiles before the model has learnt it.
    """
    origin = np.array([windows.length])
    level = windows.log_mean(origin - windows.steps(LEVEL_SECONDS), origin, offset)[0]
    reach = round(REACH_SECONDS / windows.step_seconds)
    reached = []
    for moved in {-reach, 0, reach}:
        copy, before = copies(windows, origin, np.maximum(horizons + moved, 0), offset, DAY_SECONDS, COPIED_DAYS)
        change = np.clip(level - before[0], -1.0, 1.0)
        reached.append(copy[0] + LEVEL_SHARE * np.where(np.isfinite(change), change, 0.0))
    stacked = np.stack(reached)
    highest = np.where(np.isfinite(stacked), stacked, -np.inf).max(axis=0)
    weights = likeness(windows, origin, horizons, offset)[0] * np.isfinite(highest)
    return _weighted_quantiles(highest, weights, quantiles)


def _weighted_quantiles(values: Array, weights: Array, quantiles: Array) -> Array:
    """Return (rows, quantiles) of values (rows, samples); -inf in a row without weight."""
    order = np.argsort(values, axis=1)
    ordered = np.take_along_axis(values, order, axis=1)
    cumulative = np.cumsum(np.take_along_axis(weights, order, axis=1), axis=1)
    total = cumulative[:, -1]
    found = np.full((len(values), len(quantiles)), -np.inf)
    for column, quantile in enumerate(quantiles):
        below = (cumulative < (quantile - 1e-12) * total[:, None]).sum(axis=1)
        at = np.minimum(below, values.shape[1] - 1)
        found[:, column] = np.where(total > 0, ordered[np.arange(len(values)), at], -np.inf)
    return found
