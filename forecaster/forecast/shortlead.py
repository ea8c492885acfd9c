"""The next hour: how the last minutes go on, per horizon, by weighted least squares over every origin of the history.

What other days did after this time, the last values one by one, and how the last hour went beside how it goes on other
days (so a deviation may fade or grow). Beyond an hour it says nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forecaster.forecast.booster import FOLDS, Booster
from forecaster.forecast.seasonal import LEVEL_SECONDS, copies, level_at, likeness, mean_of, weighted_mean
from forecaster.forecast.windows import DAY_SECONDS, WEEK_SECONDS, Array, Windows

REACH_SECONDS = 3600
LAGS = (1, 2, 3, 4, 6, 9, 12)  # steps
BACK_SECONDS = (900, 1800, 3600)
MOST_ORIGINS = 4000
RECENT_DAYS = 14  # an origin counts half as much after so long
PRIOR_SAMPLES = 20.0


@dataclass(frozen=True, slots=True)
class ShortLead:
    """weights: (FOLDS + 1, horizons, inputs); [k] is blind to fold k, the last one to nothing."""

    weights: Array

    @property
    def reach(self) -> int:
        """Return how many steps it answers for."""
        return int(self.weights.shape[1])


def fit(booster: Booster, windows: Windows, start: int) -> ShortLead:
    """Learn from all origins of the history; the folds are the booster's."""
    step = windows.step_seconds
    horizons = np.arange(max(1, REACH_SECONDS // step))
    oldest = max(1, min(windows.steps(DAY_SECONDS), windows.length // 4))
    origins = np.arange(windows.length - 1, oldest, -2)[:MOST_ORIGINS]
    rows, level = inputs(windows, origins, horizons, booster.offset)
    at = origins[:, None] + horizons[None, :]
    target = windows.log_mean(at, at + 1, booster.offset) - level[:, None]
    known = np.isfinite(target) & (at < windows.length)
    age_days = (windows.length - origins) * step / DAY_SECONDS
    weight = known * (0.5 ** (age_days / RECENT_DAYS))[:, None]
    fold = booster.fold_of(start + at * step)
    target = np.where(known, target, 0.0)
    sums = [_moments(rows, target, weight * (fold == which)) for which in range(FOLDS + 1)]
    whole = tuple(np.sum([part[index] for part in sums], axis=0) for index in range(3))
    blind = [tuple(whole[index] - sums[which][index] for index in range(3)) for which in range(FOLDS)]
    return ShortLead(np.stack([_solved(*moments) for moments in (*blind, whole)]))


def centre(model: ShortLead, windows: Windows, horizons: Array, offset: float) -> Array:
    """Return (horizons up to its reach) of log(demand + offset) from the end of `windows`."""
    near = horizons[horizons < model.reach]
    rows, level = inputs(windows, np.array([windows.length]), near, offset)
    answer: Array = level[0] + (rows[0] * model.weights[-1][near]).sum(axis=-1)
    return answer


def unseen(model: ShortLead, windows: Windows, fold: Array, origins: Array, horizons: Array, offset: float) -> Array:
    """Return (origins, horizons) of log(demand + offset), each blind to its target's fold; NaN beyond its reach."""
    near = horizons[horizons < model.reach]
    found = np.full((len(origins), len(horizons)), np.nan)
    rows, level = inputs(windows, origins, near, offset)
    for which in range(FOLDS + 1):
        answer = level[:, None] + np.einsum("ohf,hf->oh", rows, model.weights[which][near])
        found[:, : len(near)] = np.where(fold[:, : len(near)] == which, answer, found[:, : len(near)])
    return found


def inputs(windows: Windows, origins: Array, horizons: Array, offset: float) -> tuple[Array, Array]:
    """Return (origins, horizons, inputs), relative to the level at each origin, and that level; unknown is 0."""
    level = level_at(windows, origins, offset)
    now = origins[:, None]
    length = windows.steps(LEVEL_SECONDS)
    days, day_levels = copies(windows, origins, horizons, offset, DAY_SECONDS, 7)
    weeks, week_levels = copies(windows, origins, horizons, offset, WEEK_SECONDS, 4)
    like = likeness(windows, origins, horizons, offset)[..., :7]
    day_growth, week_growth = days - day_levels, weeks - week_levels
    columns = [day_growth[..., 0], mean_of(day_growth), weighted_mean(day_growth, like)]
    columns += [week_growth[..., 0], mean_of(week_growth)]
    columns += [windows.log_mean(now - lag, now - lag + 1, offset) - level[:, None] for lag in LAGS]
    columns += [
        windows.log_mean(now - windows.steps(seconds), now, offset) - level[:, None] for seconds in (3600, 3 * 3600)
    ]
    backs = np.array([windows.steps(seconds) for seconds in BACK_SECONDS])
    for period, count in ((DAY_SECONDS, 7), (WEEK_SECONDS, 4)):
        until = now - (1 + np.arange(count))[None, :] * windows.steps(period)
        usual = mean_of(windows.log_mean(until - length, until, offset))
        for back in backs:
            before = mean_of(windows.log_mean(until - back - length, until - back, offset))
            columns.append((before - usual)[:, None])
    columns += [windows.log_mean(now - back - length, now - back, offset) - level[:, None] for back in backs]
    shape = (len(origins), len(horizons))
    stacked = np.stack([np.broadcast_to(column, shape) for column in columns], axis=-1)
    return np.concatenate([np.where(np.isfinite(stacked), stacked, 0.0), np.ones((*shape, 1))], axis=-1), level


def _moments(rows: Array, target: Array, weight: Array) -> tuple[Array, Array, Array]:
    weighted = (rows * weight[..., None]).transpose(1, 2, 0)
    return weighted @ rows.transpose(1, 0, 2), (weighted @ target.T[..., None])[..., 0], weight.sum(axis=0)


def _solved(gram: Array, moment: Array, total: Array) -> Array:
    scale = np.einsum("hff->hf", gram) / np.maximum(total, 1e-12)[:, None] + 1e-4
    penalty = PRIOR_SAMPLES * scale
    solved: Array = np.linalg.solve(gram + penalty[:, :, None] * np.eye(gram.shape[-1]), moment[..., None])[..., 0]
    return solved
