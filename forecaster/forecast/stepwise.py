"""The next hour, one step after another: boosted trees say how demand moves in one step, and go on from what they said.

They see the last values beside the newest one, the same step of a day and a week ago, the height, the hour and the
weekday. One forest is grown on everything and answers; one per fold of the booster's is blind to the fold's weeks, and
what it says of them is an honest error. Beyond an hour steps pile up errors: there it says nothing.

No stride is shorter than about five minutes: what demand does from one minute to the next is mostly noise, and every
stride is a question to every tree. In a finer series a stride is the mean of several steps, counted from the origin,
and its steps lie on the lines between the middles of strides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from forecaster.forecast.baselines import filled
from forecaster.forecast.booster import FOLDS, Booster, forest, one_thread
from forecaster.forecast.interface import Past
from forecaster.forecast.learning import between
from forecaster.forecast.line_inputs import hour_and_weekday
from forecaster.forecast.rows import DECIMALS
from forecaster.forecast.seasonal import DAY_SECONDS, WEEK_SECONDS
from forecaster.forecast.windows import Array

REACH_SECONDS = 3600
FINEST_SECONDS = 300  # of a stride, where the series' own steps are shorter
LAGS = (1, 2, 3, 4, 6, 9, 12)  # strides; a day and a week beside them
MOST_ROWS = 12_000
SETTINGS = {"max_iter": 60, "learning_rate": 0.1, "max_leaf_nodes": 16, "min_samples_leaf": 30}


@dataclass(frozen=True, slots=True)
class Stepwise:
    """whole: the forest that answers; blind: one per fold, which has not seen it. reach, stride: in steps."""

    whole: Any
    blind: tuple[Any, ...]
    offset: float
    reach: int
    stride: int


def fit(booster: Booster, past: Past) -> Stepwise:
    """Grow the forests on `past`; the folds are the booster's."""
    step, count = past.step_seconds, len(past.values)
    stride, day = max(1, round(FINEST_SECONDS / step)), max(1, round(DAY_SECONDS / step))
    at = np.arange(max(1, min(day, count // 4), count - MOST_ROWS * stride), count - stride + 1, stride)
    at = at[np.isfinite(_strides(past.values, at, stride))]
    whole = filled(past.values, step)
    rows, newest = _rows(_lagged(whole, at, step, stride, booster.offset), past.start + at * step, booster.offset)
    target = np.round(np.log(_strides(whole, at, stride) + booster.offset) - newest, DECIMALS)
    fold = booster.fold_of(past.start + at * step)
    with one_thread():
        blind = tuple(forest(rows[fold != k], target[fold != k], **SETTINGS) for k in range(FOLDS))
        grown = forest(rows, target, **SETTINGS)
    return Stepwise(grown, blind, booster.offset, max(1, REACH_SECONDS // step), stride)


def centre(model: Stepwise, past: Past, horizons: Array) -> Array:
    """Return (horizons up to its reach) of log(demand + offset) from the end of `past`."""
    near = horizons[horizons < model.reach]
    answer: Array = _gone_on(model, model.whole, past, np.array([len(past.values)]), near)[0]
    return answer


def unseen(model: Stepwise, past: Past, fold: Array, origins: Array, horizons: Array) -> Array:
    """Return (origins, horizons) of log(demand + offset), each blind to its target's fold; NaN beyond its reach."""
    near = horizons[horizons < model.reach]
    found = np.full((len(origins), len(horizons)), np.nan)
    of_fold = fold[:, : len(near)]
    paths = [_gone_on(model, grown, past, origins, near) for grown in model.blind]
    found[:, : len(near)] = np.where(of_fold == FOLDS, np.mean(paths, axis=0), np.choose(of_fold % FOLDS, paths))
    return found


def _gone_on(model: Stepwise, grown: Any, past: Past, origins: Array, horizons: Array) -> Array:
    """Return (origins, horizons) of log(demand + offset), each stride resting on those before it."""
    step, stride, offset = past.step_seconds, model.stride, model.offset
    whole = filled(past.values, step)
    gone = np.empty((len(origins), int(horizons[-1]) // stride + 1 if len(horizons) else 0))
    before = _lagged(whole, origins, step, stride, offset)[:, :1]
    with one_thread():
        for ahead in range(gone.shape[1]):
            lagged = _lagged(whole, origins, step, stride, offset, gone[:, :ahead])
            rows, newest = _rows(lagged, past.start + (origins + ahead * stride) * step, offset)
            gone[:, ahead] = newest + grown.predict(rows)
    middles = np.concatenate([before, gone], axis=1).T
    position = (horizons + 0.5) / stride + 0.5  # among middles; the first is half a stride before the origin
    return between(middles, np.minimum(position, len(middles) - 1)).T


def _lagged(
    whole: Array, origins: Array, step_seconds: int, stride: int, offset: float, gone: Array | None = None
) -> Array:
    """Return (origins, lags) of logarithms before the stride after `gone` (origins, strides); NaN: no history."""
    ahead = gone.shape[1] if gone is not None else 0
    day, week = (max(1, round(seconds / step_seconds)) for seconds in (DAY_SECONDS, WEEK_SECONDS))
    columns = []
    for lag in sorted({*(stride * back for back in LAGS), day, week}):
        if gone is not None and lag <= ahead * stride:
            columns.append(gone[:, ahead - lag // stride])
        else:
            columns.append(np.log(_strides(whole, origins + ahead * stride - lag, stride) + offset))
    return np.stack(columns, axis=-1)


def _strides(values: Array, starts: Array, stride: int) -> Array:
    """Return the means of the strides that begin at `starts`; NaN where one reaches before the history."""
    mean = values[np.maximum(starts, 0)[:, None] + np.arange(stride)].mean(axis=1)
    return np.where(starts >= 0, mean, np.nan)


def _rows(lagged: Array, instants: Array, offset: float) -> tuple[Array, Array]:
    """Return (rows, inputs), and the newest value's logarithm, which all but the height are beside."""
    newest = lagged[:, 0]
    hour, weekday = hour_and_weekday(instants)
    told = [*(lagged[:, 1:] - newest[:, None]).T, newest - np.log(offset), hour, weekday]
    return np.round(np.stack(told, axis=-1), DECIMALS), newest
