"""Prophet behind our interface. An extra: `pip install 'tidegauge[prophet]'`.

It sees gaps as gaps, and its quantiles are those of its own draws, seeded. Fitting is all it does, anew at every
forecast: fine for a comparison, dear for a loop.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
import pandas as pd

from forecaster.forecast.interface import Past, Refusal
from forecaster.forecast.windows import DAY_SECONDS, WEEK_SECONDS, Array

DRAWS, SEED = 300, 1
LEAST_SEASONS = 2  # whole ones in the history, for a season to be fitted


@dataclass(frozen=True, slots=True)
class ProphetModel:
    """Days and weeks where the history holds two of them; every other setting is Prophet's own."""

    name: str = "prophet"
    notes: tuple[str, ...] = ()

    def train(self, past: Past) -> None:
        """Return nothing: it fits when it forecasts."""

    def fit(self, past: Past, trained: None) -> ProphetModel:  # noqa: ARG002  # the interface's
        """Return itself."""
        return self

    def predict(self, past: Past, horizons: Array, quantiles: Array) -> Array | Refusal:
        """Return (horizons, quantiles); see `interface.Fitted`. What fails gives its reason."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what it asks of its own dependencies is not ours to mend
                draws = _drawn(past, horizons)
        except Exception as error:  # noqa: BLE001  # foreign code, which fails in its own ways: it becomes a reason
            return Refusal(f"{self.name}: {type(error).__name__}: {error}")
        answer = np.sort(np.maximum(np.quantile(draws, quantiles, axis=1).T, 0.0), axis=1)
        return answer if np.isfinite(answer).all() else Refusal(f"{self.name}: answered with numbers that are none")


def prophet_models() -> dict[str, Callable[[], ProphetModel]]:
    """Return Prophet by name; empty when the extra is not installed."""
    return {"prophet": ProphetModel} if find_spec("prophet") is not None else {}


def _drawn(past: Past, horizons: Array) -> Array:
    """Return (horizons, draws)."""
    logging.getLogger("prophet.plot").setLevel(logging.CRITICAL)  # it tells of plots that it misses
    from prophet import Prophet

    logging.getLogger("cmdstanpy").setLevel(logging.WARNING)  # after its import, which sets it
    span = len(past.values) * past.step_seconds
    model: Any = Prophet(
        daily_seasonality=span >= LEAST_SEASONS * DAY_SECONDS,
        weekly_seasonality=span >= LEAST_SEASONS * WEEK_SECONDS,
        yearly_seasonality=False,
        uncertainty_samples=DRAWS,
    )
    model.fit(pd.DataFrame({"ds": _instants(past, np.arange(len(past.values))), "y": past.values}).dropna(), seed=SEED)
    np.random.seed(SEED)  # Prophet draws from the global one
    found = model.predictive_samples(pd.DataFrame({"ds": _instants(past, len(past.values) + horizons)}))
    drawn: Array = np.asarray(found["yhat"], dtype=np.float64)
    return drawn


def _instants(past: Past, index: Array) -> pd.DatetimeIndex:
    return pd.to_datetime(past.start + index * past.step_seconds, unit="s")
