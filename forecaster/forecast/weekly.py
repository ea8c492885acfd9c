"""What the last weeks say of an hour by its height alone: members that no odd last hour can mislead.

Everything else in the ensemble is relative to the level of the last quarter of an hour; at night, or in hourly demand,
that level is one small noisy number. These look at the same hour of the last four weeks and at the level of the whole
last day beside those days'. How far the copies of days and of weeks lie apart is told as well: `width` rests on it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forecaster.forecast.seasonal import COPIED_WEEKS, copies, deviation_of, mean_of, median_of
from forecaster.forecast.windows import DAY_SECONDS, WEEK_SECONDS, Array, Windows

COMPARED_DAYS = 7
LARGEST_CHANGE = 1.0  # of the level (logarithms) since the weeks before
LEVEL_SHARES = (0.0, 0.5, 1.0)  # of that change, believed to last: beside the weeks' median, again, and their mean
MEMBERS = len(LEVEL_SHARES)


@dataclass(frozen=True, slots=True)
class Weeks:
    """heights: (origins, horizons, MEMBERS) of log(demand + offset), NaN where no week is known; apart: (..., 2)."""

    heights: Array
    apart: Array  # how far the growth of other days, and of other weeks, lies apart; NaN where unknown


def seen(windows: Windows, origins: Array, horizons: Array, offset: float) -> Weeks:
    """Return what the last weeks say from each origin."""
    days, day_levels = copies(windows, origins, horizons, offset, DAY_SECONDS, COMPARED_DAYS)
    weeks, week_levels = copies(windows, origins, horizons, offset, WEEK_SECONDS, COPIED_WEEKS)
    change = believed(levels_of_days(windows, origins, offset))
    middles = (median_of(weeks), median_of(weeks), mean_of(weeks))
    heights = [middle + share * change for middle, share in zip(middles, LEVEL_SHARES, strict=True)]
    apart = [deviation_of(days - day_levels), deviation_of(weeks - week_levels)]
    return Weeks(np.stack(heights, axis=-1), np.stack(apart, axis=-1))


def levels_of_days(windows: Windows, origins: Array, offset: float) -> Array:
    """Return (origins, 1 + COPIED_WEEKS): the level of the last day, and of that day in each of the weeks before."""
    until = origins[:, None] - windows.steps(WEEK_SECONDS) * np.arange(1 + COPIED_WEEKS)[None, :]
    return windows.log_mean(until - windows.steps(DAY_SECONDS), until, offset)


def moved_since(levels: Array) -> Array:
    """Return (origins, 1): how far the level of the last day has moved from those of the weeks before; NaN: unknown."""
    moved: Array = levels[:, :1] - mean_of(levels[:, 1:])[:, None]
    return moved


def believed(levels: Array) -> Array:
    """Return `moved_since`, bounded; 0 where it is not known."""
    moved = moved_since(levels)
    return np.clip(np.where(np.isfinite(moved), moved, 0.0), -LARGEST_CHANGE, LARGEST_CHANGE)
