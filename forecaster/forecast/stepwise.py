"""The next hour, one step after another: boosted trees say how demand moves in one step, and go on from what they said.

They see the last values beside the newest one, the same step of a day and a week ago, the height, the hour and the
weekday. One forest is grown on everything and answers; one per fold of the booster's is blind to the fold's weeks, and
what it says of them is an honest error. Beyond an hour steps pile up errors: there it says nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from forecaster.forecast.baselines import filled
from forecaster.forecast.booster import FOLDS, Booster, forest, one_thread
from forecaster.forecast.interface import Past
from forecaster.forecast.line_inputs import hour_and_weekday
from forecaster.forecast.rows import DECIMALS
from forecaster.forecast.seasonal import DAY_SECONDS, WEEK_SECONDS
from forecaster.forecast.windows import Array

REACH_SECONDS = 3600
LAGS = (1, 2, 3, 4, 6, 9, 12)  # steps; a day and a week beside them
MOST_ROWS = 12_000
SETTINGS = {"max_iter": 60, "learning_rate": 0.1, "max_leaf_nodes": 16, "min_samples_leaf": 30}


@dataclass(frozen=True, slots=True)
class Stepwise:
    """whole: the forest that answers; blind: one per fold, which has not seen it. reach: in steps."""

    whole: Any
    blind: tuple[Any, ...]
    offset: float
    reach: int


def fit(booster: Booster, past: Past) -> Stepwise:
    """Grow the forests on `past`; the folds are the booster's."""
    step, count = past.step_seconds, len(past.values)
    day = max(1, round(DAY_SECONDS / step))
    at = np.arange(max(1, min(day, count // 4), count - MOST_ROWS), count)
    at = at[np.isfinite(past.values[at])]
    logs = np.log(filled(past.values, step) + booster.offset)
    rows, newest = _rows(_lagged(logs, at, step), past.start + at * step, booster.offset)
    target = np.round(logs[at] - newest, DECIMALS)
    fold = booster.fold_of(past.start + at * step)
    with one_thread():
        blind = tuple(forest(rows[fold != k], target[fold != k], **SETTINGS) for k in range(FOLDS))
        whole = forest(rows, target, **SETTINGS)
    return Stepwise(whole, blind, booster.offset, max(1, REACH_SECONDS // step))


def centre(model: Stepwise, past: Past, horizons: Array) -> Array:
    """Return (horizons up to its reach) of log(demand + offset) from the end of `past`."""
    near = horizons[horizons < model.reach]
    steps = int(near[-1]) + 1 if len(near) else 0
    answer: Array = _gone_on(model.whole, past, np.array([len(past.values)]), steps, model.offset)[0, near]
    return answer


def unseen(model: Stepwise, past: Past, fold: Array, origins: Array, horizons: Array) -> Array:
    """Return (origins, horizons) of log(demand + offset), each blind to its target's fold; NaN beyond its reach."""
    near = horizons[horizons < model.reach]
    found = np.full((len(origins), len(horizons)), np.nan)
    of_fold = fold[:, : len(near)]
    paths = [_gone_on(grown, past, origins, int(near[-1]) + 1, model.offset)[:, near] for grown in model.blind]
    found[:, : len(near)] = np.where(of_fold == FOLDS, np.mean(paths, axis=0), np.choose(of_fold % FOLDS, paths))
    return found


def _gone_on(grown: Any, past: Past, origins: Array, steps: int, offset: float) -> Array:
    """Return (origins, steps) of log(demand + offset), each step resting on those before it."""
    logs = np.log(filled(past.values, past.step_seconds) + offset)
    gone = np.empty((len(origins), steps))
    with one_thread():
        for ahead in range(steps):
            lagged = _lagged(logs, origins, past.step_seconds, gone[:, :ahead])
            rows, newest = _rows(lagged, past.start + (origins + ahead) * past.step_seconds, offset)
            gone[:, ahead] = newest + grown.predict(rows)
    return gone


def _lagged(logs: Array, origins: Array, step_seconds: int, gone: Array | None = None) -> Array:
    """Return (origins, lags) of what was before the step after `gone` (origins, steps); NaN before the history."""
    ahead = gone.shape[1] if gone is not None else 0
    day, week = (max(1, round(seconds / step_seconds)) for seconds in (DAY_SECONDS, WEEK_SECONDS))
    columns = []
    for lag in sorted({*LAGS, day, week}):
        at = origins + ahead - lag
        known = np.where(at >= 0, logs[np.clip(at, 0, len(logs) - 1)], np.nan)
        columns.append(gone[:, ahead - lag] if gone is not None and lag <= ahead else known)
    return np.stack(columns, axis=-1)


def _rows(lagged: Array, instants: Array, offset: float) -> tuple[Array, Array]:
    """Return (rows, inputs), and the newest value's logarithm, which all but the height are beside."""
    newest = lagged[:, 0]
    hour, weekday = hour_and_weekday(instants)
    told = [*(lagged[:, 1:] - newest[:, None]).T, newest - np.log(offset), hour, weekday]
    return np.round(np.stack(told, axis=-1), DECIMALS), newest
