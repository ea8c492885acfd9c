"""The next hour, one step after another: boosted trees say how demand moves in one step, and go on from what they said.

They see the last values beside the newest one, the same step of a day and a week ago, how demand moved into that step
on other days and weeks, the height, the hour and the weekday. One forest is grown on everything and answers; one per
fold of the booster's is blind to the fold's weeks, and what it says of them is an honest error. Beyond an hour steps
pile up errors: there it says nothing.

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
from forecaster.forecast.seasonal import median_of
from forecaster.forecast.windows import DAY_SECONDS, WEEK_SECONDS, Array

REACH_SECONDS = 3600
FINEST_SECONDS = 300  # of a stride, where the series' own steps are shorter
LAGS = (1, 2, 3, 4, 6, 9, 12)  # strides; a day and a week beside them
MOVED_DAYS, MOVED_WEEKS = 7, 4  # whose moves into the same step are seen
MOST_ROWS = 12_000
SETTINGS = {
    "loss": "absolute_error",
    "max_iter": 60,
    "learning_rate": 0.1,
    "max_leaf_nodes": 16,
    "min_samples_leaf": 30,
}


@dataclass(frozen=True, slots=True)
class Stepwise:
    """whole: the forest that answers; blind: one per fold, which has not seen it. reach, stride: in steps."""

    whole: Any
    blind: tuple[Any, ...]
    offset: float
    reach: int
    stride: int


@dataclass(frozen=True, slots=True)
class Strides:
    """A history without gaps as it is shown: in logarithms of the means of `stride` steps."""

    whole: Array
    step_seconds: int
    start: int  # epoch
    stride: int
    offset: float

    def logs(self, starts: Array) -> Array:
        """Return log(demand + offset) of the strides that begin at `starts`; NaN where one is before the history."""
        return np.log(_means(self.whole, starts, self.stride) + self.offset)

    def shown(self, origins: Array, gone: Array) -> tuple[Array, Array]:
        """Return what is known of the stride after `gone` (origins, strides), and the newest one's logarithm.

        All but the height is beside that newest one; NaN before the history.
        """
        ahead = gone.shape[1]
        at = origins + ahead * self.stride
        day, week = (max(1, round(seconds / self.step_seconds)) for seconds in (DAY_SECONDS, WEEK_SECONDS))
        lagged = [
            gone[:, ahead - lag // self.stride] if lag <= ahead * self.stride else self.logs(at - lag)
            for lag in sorted({*(self.stride * back for back in LAGS), day, week})
        ]
        newest = lagged[0]
        days, weeks = (
            self.logs(there) - self.logs(there - self.stride)
            for there in (
                at[:, None] - day * np.arange(1, 1 + MOVED_DAYS),
                at[:, None] - week * np.arange(1, 1 + MOVED_WEEKS),
            )
        )
        moved = [days[:, 0], weeks[:, 0], median_of(weeks), median_of(days)]
        hour, weekday = hour_and_weekday(self.start + at * self.step_seconds)
        told = [*(lag - newest for lag in lagged[1:]), newest - np.log(self.offset), hour, weekday, *moved]
        return np.round(np.stack(told, axis=-1), DECIMALS), newest


def fit(booster: Booster, past: Past) -> Stepwise:
    """Grow the forests on `past`; the folds are the booster's."""
    step, count = past.step_seconds, len(past.values)
    stride, day = max(1, round(FINEST_SECONDS / step)), max(1, round(DAY_SECONDS / step))
    at = np.arange(max(1, min(day, count // 4), count - MOST_ROWS * stride), count - stride + 1, stride)
    at = at[np.isfinite(_means(past.values, at, stride))]
    seen = _seen(past, stride, booster.offset)
    rows, newest = seen.shown(at, np.empty((len(at), 0)))
    target = np.round(seen.logs(at) - newest, DECIMALS)
    fold = booster.fold_of(past.start + at * step)
    with one_thread():
        blind = tuple(forest(rows[fold != k], target[fold != k], **SETTINGS) for k in range(FOLDS))
        grown = forest(rows, target, **SETTINGS)
    return Stepwise(grown, blind, booster.offset, max(1, REACH_SECONDS // step), stride)


def centre(model: Stepwise, past: Past, horizons: Array) -> Array:
    """Return (horizons up to its reach) of log(demand + offset) from the end of `past`."""
    near = horizons[horizons < model.reach]
    seen, end = _seen(past, model.stride, model.offset), np.array([len(past.values)])
    answer: Array = _gone_on(model.whole, seen, end, near)[0]
    return answer


def unseen(model: Stepwise, past: Past, fold: Array, origins: Array, horizons: Array) -> Array:
    """Return (origins, horizons) of log(demand + offset), each blind to its target's fold; NaN beyond its reach."""
    near = horizons[horizons < model.reach]
    found = np.full((len(origins), len(horizons)), np.nan)
    of_fold = fold[:, : len(near)]
    seen = _seen(past, model.stride, model.offset)
    paths = [_gone_on(grown, seen, origins, near) for grown in model.blind]
    found[:, : len(near)] = np.where(of_fold == FOLDS, np.mean(paths, axis=0), np.choose(of_fold % FOLDS, paths))
    return found


def _seen(past: Past, stride: int, offset: float) -> Strides:
    return Strides(filled(past.values, past.step_seconds), past.step_seconds, past.start, stride, offset)


def _gone_on(grown: Any, seen: Strides, origins: Array, horizons: Array) -> Array:
    """Return (origins, horizons) of log(demand + offset), each stride resting on those before it."""
    gone = np.empty((len(origins), int(horizons[-1]) // seen.stride + 1 if len(horizons) else 0))
    with one_thread():
        for ahead in range(gone.shape[1]):
            rows, newest = seen.shown(origins, gone[:, :ahead])
            gone[:, ahead] = newest + grown.predict(rows)
    middles = np.concatenate([seen.logs(origins - seen.stride)[:, None], gone], axis=1).T
    position = (horizons + 0.5) / seen.stride + 0.5  # among the middles; the first is half a stride before the origin
    return between(middles, np.minimum(position, len(middles) - 1)).T


def _means(values: Array, starts: Array, stride: int) -> Array:
    """Return the means of the strides that begin at `starts`; NaN where one is before the history."""
    mean = values[np.maximum(starts, 0)[..., None] + np.arange(stride)].mean(axis=-1)
    return np.where(starts >= 0, mean, np.nan)
