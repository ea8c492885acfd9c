"""Models of Nixtla's statsforecast behind our interface. An extra: `pip install 'tidegauge[statsforecast]'`.

They see gaps filled from what came before, and their quantiles are the ends of their own intervals. Fitting is all they
do, anew at every forecast: fine for a comparison, dear for a loop.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np

from forecaster.forecast.baselines import filled
from forecaster.forecast.interface import Past, Refusal
from forecaster.forecast.windows import DAY_SECONDS, WEEK_SECONDS, Array

LEAST_SEASONS = 2  # whole ones in the history, for a season to be fitted


class StatsforecastMissingError(ImportError):
    """The extra is not installed."""


@dataclass(frozen=True, slots=True)
class Adapted:
    """build: season lengths in steps (none, one or more) -> a statsforecast model."""

    name: str
    build: Callable[[list[int]], Any]
    notes: tuple[str, ...] = ()

    def train(self, past: Past) -> None:  # the interface's
        """Return nothing: it fits when it forecasts."""

    def fit(self, past: Past, trained: None) -> Adapted:  # noqa: ARG002  # the interface's
        """Return itself."""
        return self

    def predict(self, past: Past, horizons: Array, quantiles: Array) -> Array | Refusal:
        """Return (horizons, quantiles); see `interface.Fitted`. A model that cannot answer gives its reason."""
        steps = [round(seconds / past.step_seconds) for seconds in (DAY_SECONDS, WEEK_SECONDS)]
        seasons = [season for season in steps if 1 < season <= len(past.values) / LEAST_SEASONS]
        widths = sorted({round(abs(2 * float(quantile) - 1) * 100, 6) for quantile in quantiles} - {0.0})
        values = filled(past.values, past.step_seconds)
        try:
            found = self.build(seasons).forecast(y=values, h=int(horizons[-1]) + 1, level=widths or None)
        except Exception as error:  # noqa: BLE001  # foreign code, which fails in its own ways: it becomes a reason
            return Refusal(f"{self.name}: {type(error).__name__}: {error}")
        columns = [_end_of(found, float(quantile))[horizons] for quantile in quantiles]
        answer = np.sort(np.maximum(np.stack(columns, axis=1), 0.0), axis=1)
        return answer if np.isfinite(answer).all() else Refusal(f"{self.name}: answered with numbers that are none")


def statsforecast_models() -> dict[str, Callable[[], Adapted]]:
    """Return MSTL, ETS and Theta by name; empty when the extra is not installed."""
    if find_spec("statsforecast") is None:
        return {}
    return {
        "mstl_ets": lambda: Adapted("statsforecast-mstl", _mstl),
        "auto_ets": lambda: Adapted("statsforecast-auto-ets", lambda seasons: _named("AutoETS", seasons)),
        "auto_theta": lambda: Adapted("statsforecast-auto-theta", lambda seasons: _named("AutoTheta", seasons)),
    }


def _mstl(seasons: list[int]) -> Any:
    return _models().MSTL(season_length=seasons) if seasons else _named("AutoETS", [])


def _named(name: str, seasons: list[int]) -> Any:
    return getattr(_models(), name)(season_length=seasons[0] if seasons and seasons[0] <= 24 else 1)


def _models() -> Any:
    try:
        from statsforecast import models
    except ImportError as error:
        raise StatsforecastMissingError("expected the extra: pip install 'tidegauge[statsforecast]'") from error
    return models


def _end_of(found: dict[str, Array], quantile: float) -> Array:
    width = round(abs(2 * quantile - 1) * 100, 6)
    if width == 0:
        return found["mean"]
    side = "hi" if quantile > 0.5 else "lo"
    return next(
        values
        for name, values in found.items()
        if name.startswith(f"{side}-") and abs(float(name.split("-", 1)[1]) - width) < 1e-6
    )
