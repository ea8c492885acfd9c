"""What the booster is shown of an origin and a horizon: how demand has gone beside its usual of the hour.

The usual of an instant is the median of the same time in the last four weeks, moved by half of what the level of a day
has changed since; without a week, that of the last days. All is in logarithms and beside that usual, which no odd last
hour can move; NaN where the history does not reach. Nothing here is after the origin.
"""

from __future__ import annotations

import numpy as np

from forecaster.forecast.line_inputs import time_columns
from forecaster.forecast.rows import DECIMALS
from forecaster.forecast.seasonal import COPIED_WEEKS, LEVEL_SECONDS, deviation_of, level_at, median_of
from forecaster.forecast.weekly import believed, levels_of_days, moved_since
from forecaster.forecast.windows import DAY_SECONDS, WEEK_SECONDS, Array, Windows

COMPARED_DAYS, USUAL_DAYS = 7, 3
CHANGE_SHARE = 0.5  # of the level's change, believed to last
# Windows before the origin: how long, and how long ago they end (s); 0: one step.
LAST = ((0, 0), (0, 1), (900, 0), (900, 900), (3600, 0), (3600, 3600), (3 * 3600, 0), (6 * 3600, 0), (DAY_SECONDS, 0))


def inputs(windows: Windows, start: int, origins: Array, horizons: Array, offset: float) -> tuple[Array, Array]:
    """Return (origins, horizons, inputs), and the usual's logarithm (origins, horizons). start: epoch of row 0."""
    day, week = windows.steps(DAY_SECONDS), windows.steps(WEEK_SECONDS)
    now, at = origins[:, None], origins[:, None] + horizons[None, :]
    half = round(LEVEL_SECONDS / 2 / windows.step_seconds)

    def around(back: Array) -> Array:
        """Return means around the target's time so many steps back, (origins, horizons, len(back))."""
        there = at[..., None] - back
        found = windows.log_mean(there - half, there + half + 1, offset)
        return np.where(there + half + 1 <= now[..., None], found, np.nan)

    weeks_back = week * (1 + np.arange(COPIED_WEEKS))
    weeks, days = around(weeks_back), around(day * (1 + np.arange(COMPARED_DAYS)))
    levels = levels_of_days(windows, origins, offset)
    of_weeks, of_days = median_of(weeks), median_of(days)
    usual = np.where(np.isfinite(of_weeks), of_weeks + CHANGE_SHARE * believed(levels), of_days)
    usual = np.where(np.isfinite(usual), usual, level_at(windows, origins, offset)[:, None])
    newest = [windows.log_mean(now - windows.steps(span), now, offset) for span in (LEVEL_SECONDS, 3600, DAY_SECONDS)]
    columns = [
        *time_columns(windows, start, origins, horizons),
        *_recent(windows, now, offset),
        *(level - usual for level in newest),
        *(copy - usual for copy in (weeks[..., 0], weeks[..., 1], days[..., 0], days[..., 1], of_days, of_weeks)),
        deviation_of(weeks),
        deviation_of(days),
        days[..., 0] - median_of(around(day + weeks_back)),  # how the hour went yesterday beside its usual
        moved_since(levels),
        levels[:, :1] - levels[:, 1:2],
    ]
    shape = (len(origins), len(horizons))
    return np.round(np.stack([np.broadcast_to(column, shape) for column in columns], axis=-1), DECIMALS), usual


def _recent(windows: Windows, now: Array, offset: float) -> list[Array]:
    """Return how windows before the origin went beside the same ones of the last weeks, and of the last days."""
    weeks = windows.steps(WEEK_SECONDS) * (1 + np.arange(COPIED_WEEKS))
    days = windows.steps(DAY_SECONDS) * (1 + np.arange(USUAL_DAYS))

    def beside(seconds: int, ago: int, back: Array) -> Array:
        length = windows.steps(seconds)
        until = now - (windows.steps(ago) if ago else 0)
        usual = median_of(windows.log_mean(until - back - length, until - back, offset))
        return windows.log_mean(until - length, until, offset) - usual[:, None]

    return [beside(seconds, ago, back) for seconds, ago in LAST for back in (weeks, days)]
