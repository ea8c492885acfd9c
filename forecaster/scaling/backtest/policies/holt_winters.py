"""Holt-Winters one step ahead, the larger of it and the reactive loop: what predictive-horizontal-pod-autoscaler does.

Additive, with a season of a day. That autoscaler leaves the three parameters to its user; here they are those of a grid
that were best one step ahead on everything before the window. It cannot look further than a step, so it has no lead.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from forecaster.scaling.backtest.policies.interface import DAY_SECONDS, Array, Game, with_margin

LEVELS = (0.1, 0.3, 0.6, 0.9)
TRENDS = (0.0, 0.01, 0.05)
SEASONS = (0.05, 0.2, 0.5)


def holt_winters(game: Game, settings: Sequence[float]) -> Array:
    """Return the floors for the next step, with the margin that held."""
    season = min(game.steps(DAY_SECONDS), max(1, int(game.seen[0]) // 2))
    said = one_step_ahead(game.filled, season)
    before = slice(2 * season, int(game.seen[0]))
    error = np.abs(said[before] - game.filled[before, None]).mean(axis=0)
    points = np.maximum(said[:, int(np.argmin(error))], 0.0)
    points[:season] = np.nan
    return with_margin(game, points, settings, ahead_steps=1)


def one_step_ahead(values: Array, season: int) -> Array:
    """Return (steps, parameters): what each parameter set says of step i from the values before it."""
    grid = np.array(list(itertools.product(LEVELS, TRENDS, SEASONS)))
    alpha, beta, gamma = grid.T
    level = np.full(len(grid), values[:season].mean())
    trend = np.zeros(len(grid))
    seasonal = np.tile((values[:season] - values[:season].mean())[:, None], (1, len(grid)))
    said = np.zeros((len(values), len(grid)))
    said[:season] = values[:season].mean()
    for index in range(season, len(values)):
        slot = index % season
        expected = level + trend
        said[index] = expected + seasonal[slot]
        surprise = values[index] - said[index]
        level = expected + alpha * surprise
        trend = trend + alpha * beta * surprise
        seasonal[slot] += gamma * (1 - alpha) * surprise
    return said
