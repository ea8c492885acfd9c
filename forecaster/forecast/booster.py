"""Gradient boosting over all horizons at once: what does demand become, so far after an origin that looks like this?

A row is an origin and a horizon; the target is the logarithm of demand over the level at the origin. Three forests are
grown, each without a third of the weeks: their mean is the forecast, and what each says of the weeks it has not seen is
an honest error, from which `ensemble` learns how far to trust it. What the rows are made of is in `booster_inputs`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from forecaster.forecast.booster_inputs import DECIMALS, Rows, inputs
from forecaster.forecast.interface import Past
from forecaster.forecast.learning import offset_of
from forecaster.forecast.seasonal import DAY_SECONDS, WEEK_SECONDS
from forecaster.forecast.windows import Array, Windows

FOLDS = 3
LEAST_SECONDS = 3 * DAY_SECONDS  # of known demand: with less there is no other day to learn a day from
LEAST_ROWS = 300
MOST_ROWS = 20_000
ORIGIN_EVERY_SECONDS = 1200
GROUPS, PER_ORIGIN = 12, 8  # horizons drawn for an origin; origins of one group share them
SEED = 1


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


def rows_of(past: Past) -> tuple[Rows, float] | None:
    """Return what is to be learnt from `past`, and the offset of its logarithms; None where it is too short."""
    known = int(np.isfinite(past.values).sum()) * past.step_seconds
    day = max(1, round(DAY_SECONDS / past.step_seconds))
    if known < LEAST_SECONDS or day < 2:
        return None
    windows = past.windows()
    offset = offset_of(windows)
    return _rows(windows, past.start, offset, day), offset


def train(past: Past, learnt_from: tuple[Rows, float] | None = None) -> Booster | None:
    """Grow the forests on `past`; None where it is too short. Deterministic. learnt_from: its rows, where known."""
    learnt_from = learnt_from or rows_of(past)
    if learnt_from is None:
        return None
    rows, offset = learnt_from
    span = len(past.values) * past.step_seconds
    block = int(np.clip(span // (2 * FOLDS), DAY_SECONDS, WEEK_SECONDS))
    fold = _folds(rows.instants, past.end, block)
    if min((fold != blind).sum() for blind in range(FOLDS)) < LEAST_ROWS:
        return None
    with one_thread():
        forests = tuple(_forest(rows.inputs[fold != blind], rows.target[fold != blind]) for blind in range(FOLDS))
    return Booster(forests, offset, block, past.end, max(1, round(DAY_SECONDS / past.step_seconds)))


def centre(booster: Booster, windows: Windows, start: int, horizons: Array) -> Array:
    """Return (horizons up to its reach) of log(demand + offset) from the end of `windows`: the mean of the forests."""
    near = horizons[horizons < booster.reach]
    rows, level = inputs(windows, start, np.array([windows.length]), near, booster.offset)
    middle: Array = answers(booster, rows[0]) + level[0]
    return middle


def answers(booster: Booster, rows: Array) -> Array:
    """Return (rows), relative to the level: the mean of the forests."""
    with one_thread():
        found = [forest.predict(rows) for forest in booster.forests] if len(rows) else [np.zeros(0)]
    mean: Array = np.mean(found, axis=0)
    return mean


def unseen(booster: Booster, rows: Array, fold: Array) -> Array:
    """Return (origins, horizons) relative to the level, each by a forest that has not seen the target's week.

    rows: (origins, horizons, inputs); fold: (origins, horizons) of the targets.
    """
    found = np.zeros(fold.shape)
    with one_thread():
        for which, forest in enumerate(booster.forests):
            mine = (fold == which) | (fold == FOLDS)
            if mine.any():
                found[mine] += forest.predict(rows[mine]) / np.where(fold[mine] == FOLDS, FOLDS, 1)
    return found


def _folds(instants: Array, until: int, block_seconds: int) -> Array:
    """Return the fold of each target instant, counted back from the end, so that it moves with the history."""
    fold: Array = np.where(instants < until, (until - 1 - instants) // block_seconds % FOLDS, FOLDS)
    return fold


def _rows(windows: Windows, start: int, offset: float, day: int) -> Rows:
    """Return rows, targets and the targets' instants: short horizons are drawn as often as long ones."""
    newest, oldest = windows.length - 1, max(1, min(day, windows.length // 4))
    origins = np.arange(newest, oldest, -max(1, ORIGIN_EVERY_SECONDS // windows.step_seconds))
    if len(origins) * PER_ORIGIN > MOST_ROWS:
        origins = origins[np.unique(np.linspace(0, len(origins) - 1, MOST_ROWS // PER_ORIGIN).astype(int))]
    random = np.random.default_rng(SEED)
    parts = []
    for group in range(GROUPS):
        drawn = (np.arange(PER_ORIGIN) + random.random(PER_ORIGIN)) / PER_ORIGIN
        spaced = np.where(np.arange(PER_ORIGIN) % 2 == 0, np.exp(drawn * np.log(day + 1)) - 1, drawn * day)
        horizons = np.unique(np.clip(spaced.astype(int), 0, day - 1))
        chosen = origins[group::GROUPS]
        if len(chosen):
            rows, level = inputs(windows, start, chosen, horizons, offset)
            at = chosen[:, None] + horizons[None, :]
            target = windows.log_mean(at, at + 1, offset) - level[:, None]
            known = np.isfinite(target) & (at < windows.length)
            parts.append((rows[known], np.round(target[known], DECIMALS), (start + at * windows.step_seconds)[known]))
    rows, target, instants = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Rows(rows, target, instants)


def _forest(rows: Array, target: Array) -> Any:
    from sklearn.ensemble import HistGradientBoostingRegressor  # a second and 100 MB: only where one is grown

    forest = HistGradientBoostingRegressor(
        max_iter=100,
        learning_rate=0.07,
        max_leaf_nodes=24,
        min_samples_leaf=40,
        l2_regularization=1.0,
        max_features=0.5,
        early_stopping=False,
        random_state=SEED,
    )
    blank = ~np.isfinite(rows).any(axis=0)  # a column that is never known would be refused
    return forest.fit(np.where(blank, 0.0, rows), target)


@cache
def _threads() -> Any:
    import sklearn.ensemble  # noqa: F401  # first: only libraries that are loaded by then are limited
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def one_thread() -> Any:
    """Return a context in which one thread does the sums: the same bits everywhere, and no fight over cores."""
    return _threads().limit(limits=1)
