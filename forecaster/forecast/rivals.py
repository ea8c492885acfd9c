"""What others ship, to be beaten in the same run: Fourier's waves, a line through the last values, boosted lags.

As `baselines`, and as plain: points only, their quantiles are those of their own errors at earlier daily origins. They
are for comparisons, so they stand apart from what every backtest shows.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from forecaster.forecast.baselines import Points
from forecaster.forecast.booster import one_thread
from forecaster.forecast.windows import DAY_SECONDS, WEEK_SECONDS, Array

WAVES = 50  # the strongest that are kept
WAVE_WEEKS = 4
LINE_SECONDS, LEAST_LINE = 3600, 6
LAGS = (1, 2, 3, 4, 6, 9, 12)  # steps; a day and a week beside them
MOST_ROWS = 12_000


def fourier(values: Array, ends: Array, horizons: Array, step_seconds: int) -> Array:
    """Return the strongest waves of the last weeks, gone on with."""
    season = WEEK_SECONDS if ends.min() * step_seconds >= WEEK_SECONDS else DAY_SECONDS
    period = max(1, round(season / step_seconds))
    answers = []
    for end in ends:
        span = min(WAVE_WEEKS, int(end) // period) * period or int(end)
        spectrum = np.fft.rfft(values[end - span : end])
        size = np.abs(spectrum)
        least = np.sort(size)[-min(WAVES, len(size))]
        smooth = np.fft.irfft(np.where(size >= least, spectrum, 0), n=span)
        answers.append(np.maximum(smooth[horizons % span], 0.0))
    return np.stack(answers)


def line(values: Array, ends: Array, horizons: Array, step_seconds: int) -> Array:
    """Return the straight line through the last hour (or six values), gone on with."""
    count = max(LEAST_LINE, round(LINE_SECONDS / step_seconds))
    answers = []
    for end in ends:
        last = values[max(0, end - count) : end]
        at = np.arange(len(last)) - (len(last) - 1)
        slope = float((at - at.mean()) @ last / max(((at - at.mean()) ** 2).sum(), 1e-12))
        answers.append(np.maximum(last.mean() + slope * (1 + horizons - at.mean()), 0.0))
    return np.stack(answers)


def recursive(values: Array, ends: Array, horizons: Array, step_seconds: int) -> Array:
    """Return one step after another of boosted trees on lags, hour and weekday, each resting on those before.

    The newest end is answered by trees grown on everything before it, the others by trees grown before the oldest.
    """
    day, week = (max(1, round(seconds / step_seconds)) for seconds in (DAY_SECONDS, WEEK_SECONDS))
    lags = np.array(sorted({*LAGS, day, week}))
    oldest, newest = int(ends.min()), int(ends.max())
    answers = np.zeros((len(ends), len(horizons)))
    for until, mine in ((newest, ends == newest), (oldest, ends != newest)):
        rows = np.arange(max(int(lags[-1]), until - MOST_ROWS), until)
        if not mine.any():
            continue
        if len(rows) < day:
            answers[mine] = values[np.maximum(ends[mine] - 1, 0)][:, None]
            continue
        trees = _grown(_told(values[rows[:, None] - lags], rows, day, week), values[rows])
        answers[mine] = _gone_on(trees, values, ends[mine], lags, int(horizons[-1]) + 1, day, week)[:, horizons]
    return answers


def _told(lagged: Array, at: Array, day: int, week: int) -> Array:
    return np.column_stack([lagged, at % day, at % week // day])


def _grown(rows: Array, target: Array) -> Any:
    from sklearn.ensemble import HistGradientBoostingRegressor  # a second and 100 MB: only where one is grown

    with one_thread():
        return HistGradientBoostingRegressor(max_iter=100, early_stopping=False, random_state=1).fit(rows, target)


def _gone_on(trees: Any, values: Array, ends: Array, lags: Array, steps: int, day: int, week: int) -> Array:
    known = np.stack([values[end - lags[-1] : end] for end in ends])
    with one_thread():
        for step in range(steps):
            lagged = known[:, known.shape[1] - lags]
            next_one = trees.predict(_told(lagged, ends + step, day, week))
            known = np.concatenate([known, np.maximum(next_one, 0.0)[:, None]], axis=1)
    gone: Array = known[:, int(lags[-1]) :]
    return gone


RIVALS: dict[str, Points] = {"fourier": fourier, "line": line, "recursive": recursive}
