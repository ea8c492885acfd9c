"""What the lines are shown of an origin and a horizon: time, the last hours, copies of other days, and levels.

All demand is in logarithms, relative to the level at the origin, so that what is learnt holds at any scale; NaN where
the history does not reach.
"""

from __future__ import annotations

import numpy as np

from forecaster.forecast.rows import DECIMALS
from forecaster.forecast.seasonal import (
    COPIED_DAYS,
    COPIED_WEEKS,
    copies,
    deviation_of,
    highest_of,
    level_at,
    likeness,
    mean_of,
    median_of,
    weighted_mean,
)
from forecaster.forecast.windows import DAY_SECONDS, WEEK_SECONDS, Array, Windows

SIX_HOURS = 6 * 3600
LAST_DAYS = 7
WEEKDAY_OF_EPOCH = 3  # 1970-01-01 was a Thursday; Monday is 0


def inputs(windows: Windows, start: int, origins: Array, horizons: Array, offset: float) -> tuple[Array, Array]:
    """Return (origins, horizons, inputs), and the level's logarithm at each origin. start: epoch of row 0."""
    level = level_at(windows, origins, offset)
    shape = (len(origins), len(horizons))
    copied, of_day, of_week = _copied(windows, origins, horizons, offset, level)
    recent, usual = _recent(windows, origins, offset, level)
    six_day, six_week, _, day_week, day_day = usual
    corrected = [of_day + day_day, of_week + day_week, of_week + six_week, of_day + six_day]
    columns = [*time_columns(windows, start, origins, horizons), *recent, *copied, *usual, *corrected]
    return np.round(np.stack([np.broadcast_to(column, shape) for column in columns], axis=-1), DECIMALS), level


def time_columns(windows: Windows, start: int, origins: Array, horizons: Array) -> list[Array]:
    """Return how far ahead the target is, and its hour and weekday."""
    step = windows.step_seconds
    instants = start + (origins[:, None] + horizons[None, :]) * step
    return [np.log1p(horizons * step / 300.0)[None, :], *hour_and_weekday(instants)]


def hour_and_weekday(instants: Array) -> tuple[Array, Array]:
    """Return the hour of the day (with its fraction) and the weekday (Monday is 0) of instants (epoch)."""
    return instants % DAY_SECONDS / 3600, (instants // DAY_SECONDS + WEEKDAY_OF_EPOCH) % 7


def _recent(windows: Windows, origins: Array, offset: float, level: Array) -> tuple[list[Array], list[Array]]:
    """Return means of the last hours over the level, and their ratios to those of a day and a week before."""
    now = origins[:, None]
    day, week, six, hour = (windows.steps(seconds) for seconds in (DAY_SECONDS, WEEK_SECONDS, SIX_HOURS, 3600))

    def mean(length: int, until: Array) -> Array:
        return windows.log_mean(until - length, until, offset)

    last = [mean(1, now - back) for back in range(3)]
    last.append(mean(windows.steps(900), now - windows.steps(900)))
    last += [mean(length, now) for length in (hour, windows.steps(3 * 3600), six, day, week)]
    usual = [
        mean(six, now) - mean(six, now - day),
        mean(six, now) - mean(six, now - week),
        mean(hour, now) - mean(hour, now - day),
        mean(day, now) - mean(day, now - week),
        mean(day, now) - mean(day, now - day),
    ]
    return [column - level[:, None] for column in last], usual


def _copied(
    windows: Windows, origins: Array, horizons: Array, offset: float, level: Array
) -> tuple[list[Array], Array, Array]:
    """Return what other days and weeks say, by growth since the origin's time and by height; the newest heights."""
    now = level[:, None]
    days, day_levels = copies(windows, origins, horizons, offset, DAY_SECONDS, COPIED_DAYS)
    weeks, week_levels = copies(windows, origins, horizons, offset, WEEK_SECONDS, COPIED_WEEKS)
    like = likeness(windows, origins, horizons, offset)
    pairs = [
        (days[..., 0], day_levels[..., 0]),
        (days[..., 1], day_levels[..., 1]),
        (weeks[..., 0], week_levels[..., 0]),
        (weeks[..., 1], week_levels[..., 1]),
        (weighted_mean(days, like), weighted_mean(day_levels, like)),
        (mean_of(days[..., :LAST_DAYS]), mean_of(day_levels[..., :LAST_DAYS])),
        (mean_of(weeks), mean_of(week_levels)),
    ]
    columns = [column for copy, before in pairs for column in (copy - before, copy - now)]
    growth = days[..., :LAST_DAYS] - day_levels[..., :LAST_DAYS]
    middle, spread = median_of(growth), deviation_of(growth)
    columns += [weeks[..., 2] - week_levels[..., 2], middle, median_of(weeks - week_levels), spread]
    columns.append(highest_of(days[..., :LAST_DAYS]) - now)
    return columns, days[..., 0] - now, weeks[..., 0] - now
