"""Gradient boosting over all horizons at once: what does demand become beside its usual, so far after such an origin?

A row is an origin and a horizon; the target is the logarithm of demand over its usual of the hour (`deviations`). Three
forests are grown, each without a third of the weeks: their mean is the forecast, and what each says of the weeks it has
not seen is an honest error, from which `ensemble` learns how far to trust it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from forecaster.forecast.deviations import inputs
from forecaster.forecast.interface import Past
from forecaster.forecast.learning import offset_of
from forecaster.forecast.rows import SEED, rows_of
from forecaster.forecast.windows import DAY_SECONDS, WEEK_SECONDS, Array, Windows

FOLDS = 3
LEAST_SECONDS = 3 * DAY_SECONDS  # of known demand: with less there is no other day to learn a day from
LEAST_ROWS = 300
MOST_ROWS = 12_000
SETTINGS = {
    "loss": "absolute_error",  # the median is what is asked for, and no spike bends it
    "max_iter": 60,
    "learning_rate": 0.08,
    "max_leaf_nodes": 16,
    "min_samples_leaf": 40,
    "l2_regularization": 1.0,
    "max_features": 0.5,
}


@dataclass(frozen=True, slots=True)
class Booster:
    """Three forests, each blind to the weeks of its fold; horizons it knows are under `reach` steps."""

    forests: tuple[Any, ...]
    offset: float
    block_seconds: int
    trained_until: int  # epoch
    reach: int

    def fold_of(self, instants: Array) -> Array:
        """Return the fold that each target instant (epoch) belongs to; FOLDS where no forest has seen it."""
        return _folds(instants, self.trained_until, self.block_seconds)


def train(past: Past) -> Booster | None:
    """Grow the forests on `past`; None where it is too short. Deterministic."""
    known = int(np.isfinite(past.values).sum()) * past.step_seconds
    day = max(1, round(DAY_SECONDS / past.step_seconds))
    if known < LEAST_SECONDS or day < 2:
        return None
    offset = offset_of(past.windows())
    rows = rows_of(past, offset, inputs, most=MOST_ROWS)
    span = len(past.values) * past.step_seconds
    block = int(np.clip(span // (2 * FOLDS), DAY_SECONDS, WEEK_SECONDS))
    fold = _folds(rows.instants, past.end, block)
    if min((fold != blind).sum() for blind in range(FOLDS)) < LEAST_ROWS:
        return None
    with one_thread():
        forests = tuple(forest(rows.inputs[fold != k], rows.target[fold != k], **SETTINGS) for k in range(FOLDS))
    return Booster(forests, offset, block, past.end, day)


def centre(booster: Booster, windows: Windows, start: int, horizons: Array) -> Array:
    """Return (horizons up to its reach) of log(demand + offset) from the end of `windows`: the mean of the forests."""
    near = horizons[horizons < booster.reach]
    rows, usual = inputs(windows, start, np.array([windows.length]), near, booster.offset)
    with one_thread():
        found = [grown.predict(rows[0]) for grown in booster.forests] if len(near) else [np.zeros(0)]
    middle: Array = np.mean(found, axis=0) + usual[0]
    return middle


def unseen(booster: Booster, windows: Windows, start: int, origins: Array, horizons: Array) -> Array:
    """Return (origins, horizons) of log(demand + offset), each by a forest that has not seen the target's week."""
    rows, usual = inputs(windows, start, origins, horizons, booster.offset)
    fold = booster.fold_of(start + (origins[:, None] + horizons[None, :]) * windows.step_seconds)
    found = np.zeros(fold.shape)
    with one_thread():
        for which, grown in enumerate(booster.forests):
            mine = (fold == which) | (fold == FOLDS)
            if mine.any():
                found[mine] += grown.predict(rows[mine]) / np.where(fold[mine] == FOLDS, FOLDS, 1)
    return usual + found


def _folds(instants: Array, until: int, block_seconds: int) -> Array:
    """Return the fold of each target instant, counted back from the end, so that it moves with the history."""
    fold: Array = np.where(instants < until, (until - 1 - instants) // block_seconds % FOLDS, FOLDS)
    return fold


def forest(rows: Array, target: Array, **settings: Any) -> Any:
    """Return trees grown on rows (rows, inputs), by settings of scikit-learn's HistGradientBoostingRegressor."""
    from sklearn.ensemble import HistGradientBoostingRegressor  # a second and 100 MB: only where one is grown

    blank = ~np.isfinite(rows).any(axis=0)  # a column that is never known would be refused
    grown = HistGradientBoostingRegressor(early_stopping=False, random_state=SEED, **settings)
    return grown.fit(np.where(blank, 0.0, rows), target)


@cache
def _threads() -> Any:
    import sklearn.ensemble  # noqa: F401  # first: only libraries that are loaded by then are limited
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def one_thread() -> Any:
    """Return a context in which one thread does the sums: the same bits everywhere, and no fight over cores."""
    return _threads().limit(limits=1)
