"""The strongest frequencies repeated, with a margin: what Crane's effective HPA does.

The period is a day or a week, by autocorrelation. Three ways to say the next period (the few strongest frequencies,
many of them, the highest of the past periods) are tried on the last one, and the best by an error that punishes too
little speaks, as the highest value until the next decision's raise is ready. Renewed each hour from two weeks.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from forecaster.scaling.backtest.policies.interface import (
    DAY_SECONDS,
    WEEK_SECONDS,
    Array,
    Game,
    highest_ahead,
    with_margin,
)

HISTORY_DAYS = 14
RENEWED_SECONDS = 3600
FEW, MANY = (3, 0.3), (50, 0.02)  # at least so many frequencies, and those of this share of the strongest
_UNDER_LOG_BASE = np.log(1.25)


def fft(game: Game, settings: Sequence[float]) -> Array:
    """Return the floors, with the margin that held."""
    filled, day = game.filled, game.steps(DAY_SECONDS)
    points = np.full(len(filled), np.nan)
    every = game.steps(RENEWED_SECONDS)
    first = min(2 * day, int(game.seen[0]))
    for start in range(first, len(filled), every):
        seen = filled[max(0, start - HISTORY_DAYS * day) : start]
        ahead = next_period(seen, day, game.steps(WEEK_SECONDS))[: every + game.ahead_steps]
        steps = np.arange(min(every, len(filled) - start))
        points[start : start + len(steps)] = highest_ahead(ahead, steps, game.ahead_steps)
    return with_margin(game, points, settings, ahead_steps=game.ahead_steps)


def next_period(seen: Array, day: int, week: int) -> Array:
    """Return what is said of the period after `seen`, at least a day's worth of values."""
    period = _period(seen, day, week)
    past, last = seen[:-period], seen[-period:]
    if len(past) < period:
        return np.concatenate([last, last])
    ways = (_few, _many, _highest)
    errors = [_error(way(past, period), last) for way in ways]
    return ways[int(np.argmin(errors))](seen, period)


def _period(seen: Array, day: int, week: int) -> int:
    if len(seen) < 2 * day:
        return max(1, min(day, len(seen) // 2))
    if len(seen) < 2 * week:
        return day
    centred = seen - seen.mean()

    def alike(lag: int) -> float:
        return float(centred[lag:] @ centred[:-lag] / max(len(centred) - lag, 1))

    return week if alike(week) > alike(day) else day


def _few(past: Array, period: int) -> Array:
    return _strongest(past, period, *FEW)


def _many(past: Array, period: int) -> Array:
    return _strongest(past, period, *MANY)


def _strongest(past: Array, period: int, count: int, share: float) -> Array:
    whole = past[len(past) % period :]
    spectrum = np.fft.rfft(whole)
    size = np.abs(spectrum)
    size[0] = np.inf
    rest = np.sort(size[1:])[::-1]
    least = min(share * rest[0], rest[min(count, len(rest)) - 1])
    smooth = np.fft.irfft(np.where(size >= least, spectrum, 0), n=len(whole))
    found: Array = np.maximum(smooth[:period], 0.0)
    return found


def _highest(past: Array, period: int) -> Array:
    found: Array = past[len(past) % period :].reshape(-1, period).max(axis=0)
    return found


def _error(said: Array, came: Array) -> float:
    """Return the mean absolute share of error, in which too little weighs more the more it is."""
    share = (said[: len(came)] - came) / np.maximum(came, 1e-9)
    under = np.clip(-share, 0.0, 0.999)
    return float(np.where(share < 0, -np.log(1 - under) / _UNDER_LOG_BASE, np.minimum(share, 10.0)).mean())
