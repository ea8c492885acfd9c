"""Every model by name answers through the one interface; one's own plugs in; foreign failures are reasons."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec

import numpy as np
import pandas as pd
import pytest

from forecaster.forecast.interface import Past, Refusal
from forecaster.forecast.members import MODELS
from forecaster.forecast.models import forecast_demand
from forecaster.forecast.skill import backtest_forecast
from forecaster.forecast.statsforecast_adapter import Adapted
from forecaster.forecast.types import DemandSeries, Forecast, NoForecast

START = datetime(2026, 3, 2, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAYS = 16


def waves() -> DemandSeries:
    index = np.arange(DAYS * 24)
    noise = np.random.default_rng(1).lognormal(0, 0.05, len(index))
    starts = pd.to_datetime(START.timestamp() + 3600.0 * index, unit="s", utc=True)
    return DemandSeries(
        "shop", HOUR, pd.DataFrame({"ds": starts, "y": (100 + 60 * np.sin(index / 24 * 2 * np.pi)) * noise})
    )


@pytest.mark.parametrize("name", list(MODELS))
def test_every_model_answers_through_the_interface_and_sees_nothing_after_the_origin(name: str) -> None:
    series, origin = waves(), START + 14 * 24 * HOUR
    poisoned = series.frame.copy()
    poisoned.loc[poisoned["ds"] >= origin, "y"] = np.inf
    frames = []
    for frame in (series.frame, poisoned):
        found = forecast_demand(
            DemandSeries("shop", HOUR, frame),
            origin=origin,
            horizon=30 * HOUR,
            quantiles=(0.1, 0.5, 0.9),
            model=MODELS[name](),
        )
        assert isinstance(found, Forecast)
        frames.append(found.frame)
    pd.testing.assert_frame_equal(*frames, check_exact=True)
    numbers = frames[0].drop(columns="ds").to_numpy()
    assert np.isfinite(numbers).all()
    assert (np.diff(numbers, axis=1) >= 0).all()
    # the wave is 100 +- 60: who knows its hour is nearer than half of it; who knows of no season is only in order
    if name not in {"auto_ets", "auto_theta", "line"}:
        truth = 100 + 60 * np.sin(np.arange(30) / 24 * 2 * np.pi)
        assert np.abs(numbers[:, 1] - truth).mean() < 30


@dataclass(frozen=True)
class Constant:
    """A model of one's own."""

    name: str = "constant-1"
    notes: tuple[str, ...] = ("always the same",)

    def train(self, past: Past) -> None:
        return None

    def fit(self, past: Past, trained: None) -> Constant:
        return self

    def predict(self, past: Past, horizons: np.ndarray, quantiles: np.ndarray) -> np.ndarray | Refusal:
        if quantiles[-1] > 0.95:
            return Refusal("no tail here")
        return np.tile(quantiles, (len(horizons), 1))


def test_a_model_of_ones_own_plugs_in_and_its_refusal_is_a_reason() -> None:
    series, origin = waves(), START + 10 * 24 * HOUR
    found = forecast_demand(series, origin=origin, horizon=HOUR, quantiles=(0.2, 0.5), model=Constant())
    assert isinstance(found, Forecast)
    assert found.model == "constant-1"
    assert found.notes[-1] == "always the same"
    assert found.frame["q0.2"].tolist() == [0.2]
    refused = forecast_demand(series, origin=origin, horizon=HOUR, quantiles=(0.99,), model=Constant())
    assert isinstance(refused, NoForecast)
    assert refused.reason == "no tail here"
    report = backtest_forecast(series, origins=1, quantiles=(0.5, 0.9), models={"mine": Constant()})
    assert [skill.model for skill in report.models][-1] == "mine"


def test_a_foreign_model_that_fails_gives_its_reason() -> None:
    def broken(seasons: list[int]) -> object:
        raise RuntimeError(f"no model for {seasons}")

    past = Past(np.ones(60), 3600, 0)
    refused = Adapted("broken", broken).predict(past, np.arange(3), np.array([0.5]))
    assert isinstance(refused, Refusal)
    assert refused.reason == "broken: RuntimeError: no model for [24]"  # two days and a half: no week twice


def test_statsforecast_models_are_offered_where_the_extra_is_installed_and_only_there() -> None:
    assert ("mstl_ets" in MODELS) == (find_spec("statsforecast") is not None)
