"""The models by name: ours, its parts, naive ones, others'; statsforecast's and Prophet where installed.

`seasonal` is the ensemble's part for short histories, alone; `booster` its slow part, with the seasonal band around it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from forecaster.forecast import baselines, booster, learning
from forecaster.forecast.booster import Booster
from forecaster.forecast.ensemble import CopiesFit, Ensemble
from forecaster.forecast.interface import Model, Past, Refusal
from forecaster.forecast.prophet_adapter import prophet_models
from forecaster.forecast.rivals import RIVALS
from forecaster.forecast.statsforecast_adapter import statsforecast_models
from forecaster.forecast.windows import Array

Points = baselines.Points


@dataclass(frozen=True, slots=True)
class Pointwise:
    """A model that only says points; its quantiles are those of its own earlier errors. Learns nothing."""

    name: str
    points: Points
    notes: tuple[str, ...] = ()

    def train(self, past: Past) -> None:
        """Return nothing: there is nothing to learn."""

    def fit(self, past: Past, trained: None) -> Pointwise:  # noqa: ARG002  # the interface's
        """Return itself."""
        return self

    def predict(self, past: Past, horizons: Array, quantiles: Array) -> Array | Refusal:
        """Return (horizons, quantiles); see `interface.Fitted`."""
        levels = np.unique(np.append(quantiles, 0.5))  # the points are the median's
        found = baselines.with_quantiles(self.points, past.values, horizons, past.step_seconds, levels)
        answer: Array = found[:, np.searchsorted(levels, quantiles)]
        return answer


@dataclass(frozen=True, slots=True)
class BoosterFit:
    """The booster's middle, in the band of the copies of other days."""

    seasonal: learning.Fit
    booster: Booster
    notes: tuple[str, ...] = ()

    def predict(self, past: Past, horizons: Array, quantiles: Array) -> Array | Refusal:
        """Return (horizons, quantiles); see `interface.Fitted`."""
        windows = past.windows()
        answer = learning.predict(self.seasonal, windows, horizons, quantiles)
        if isinstance(answer, Refusal):
            return answer
        copied = learning.centre(self.seasonal, windows, horizons)[0]
        moved = np.zeros(len(horizons))  # beyond its reach
        grown = booster.centre(self.booster, windows, past.start, horizons)
        moved[: len(grown)] = grown - copied[: len(grown)]
        return learning.finished(self.seasonal, np.log(answer + self.seasonal.offset) + moved[:, None])


@dataclass(frozen=True, slots=True)
class Seasonal:
    """Copies of other days, corrected by the level of the last minutes; or, boosted, the booster in their band."""

    name: str
    boosted: bool = False

    def train(self, past: Past) -> Booster | None:
        """Grow the booster where one is wanted."""
        return booster.train(past) if self.boosted else None

    def fit(self, past: Past, trained: Booster | None) -> CopiesFit | BoosterFit:
        """Learn how far each copy is to be believed."""
        windows = past.windows()
        offset = trained.offset if trained is not None else learning.offset_of(windows)
        copies = learning.fit(past.values, learning.lessons(windows, offset))
        return CopiesFit(copies) if trained is None else BoosterFit(copies, trained)


def _named(name: str, points: Points) -> Callable[[], Model]:
    return lambda: Pointwise(name, points)


MODELS: dict[str, Callable[[], Model]] = {
    "ensemble": Ensemble,
    "seasonal": lambda: Seasonal("seasonal-1"),
    "booster": lambda: Seasonal("booster-1", boosted=True),
    **{name: _named(name, points) for name, points in {**baselines.BASELINES, **RIVALS}.items()},
    **statsforecast_models(),
    **prophet_models(),
}
