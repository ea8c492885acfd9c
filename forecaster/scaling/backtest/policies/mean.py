"""The mean forecast: our model's middle and one margin for all hours, without its idea of what is uncertain when."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from forecaster.scaling.backtest.policies.interface import Array, Game, with_margin
from forecaster.scaling.backtest.rolling import RollingForecasts


def mean(game: Game, settings: Sequence[float], forecasts: RollingForecasts) -> Array:
    """Return the floors of the highest median until the next decision's raise is ready, with the margin that held."""
    points = np.full(len(game.values), np.nan)
    highest = forecasts.quantile(0.5)[:, : game.ahead_steps].max(axis=1)
    index = (forecasts.origins - game.start) // game.step_seconds
    inside = (index >= 0) & (index < len(points))
    points[index[inside]] = highest[inside]
    return with_margin(game, points, settings, ahead_steps=game.ahead_steps)
