"""What a model is: the one interface that ours, the naive ones and a plugged-in one answer through.

Three calls, by how often they are worth making: `train` (seconds, once per half day), `fit` (a tenth of a second, once
per hour), `predict` (milliseconds, per forecast). A model without a slow part returns None from `train`. How to plug a
model in is told in docs/forecast-models.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from forecaster.forecast.windows import Array, Windows, windows_of


@dataclass(frozen=True, slots=True)
class Past:
    """All that a model may see. values: one per step, NaN = gap; start: epoch of the first one's beginning."""

    values: Array
    step_seconds: int
    start: int

    @property
    def end(self) -> int:
        """Return the epoch of the first instant not seen: the origin."""
        return self.start + len(self.values) * self.step_seconds

    @property
    def known_seconds(self) -> int:
        """Return how long ago the first known step began; at least one is expected."""
        return (len(self.values) - int(np.flatnonzero(np.isfinite(self.values))[0])) * self.step_seconds

    def windows(self) -> Windows:
        """Return the running sums of the values."""
        return windows_of(self.values, self.step_seconds)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A quantile that the history cannot carry, and why."""

    reason: str


class Fitted(Protocol):
    """What a model has learnt of one series; serves the origins of the hour after it."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Return what a reader of the forecast should know: what was replaced, what has drifted."""

    def predict(self, past: Past, horizons: Array, quantiles: Array) -> Array | Refusal:
        """Return (horizons, quantiles), finite, ascending along quantiles, >= 0, in the unit of the history.

        past: everything before the origin, which may be later than what was fitted on. horizons: steps from the
        origin, 0 is the first one not seen; ascending. quantiles: ascending, inside (0, 1).
        """


class Model(Protocol):
    """A way to forecast. Holds no state of a series: one instance serves all of them."""

    @property
    def name(self) -> str:
        """Return the name that is stored with every forecast; it changes when the answers do."""

    def train(self, past: Past) -> Any:
        """Return what is slow to learn and holds for half a day; None where there is nothing or too little."""

    def fit(self, past: Past, trained: Any) -> Fitted:
        """Learn from `past` (at least one value is known), with what `train` returned some hours before."""
