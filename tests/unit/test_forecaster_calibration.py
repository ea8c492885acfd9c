"""Quantiles that hold: conformal, scaled, adapted; and a refusal where the errors known cannot carry the tail."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from forecaster.forecast.calibration import adapted, fit_scale, quantiles_of, residuals_of, scales
from forecaster.forecast.fleet import borrowed, profile_of
from forecaster.forecast.guards import drift_of
from forecaster.forecast.interface import Refusal
from forecaster.forecast.models import forecast_demand
from forecaster.forecast.types import DemandSeries, Forecast, NoForecast

START = datetime(2026, 3, 2, tzinfo=UTC)  # a Monday
HOUR = timedelta(hours=1)


def hourly(values: np.ndarray) -> DemandSeries:
    starts = pd.to_datetime(START.timestamp() + 3600.0 * np.arange(len(values)), unit="s", utc=True)
    return DemandSeries("shop", HOUR, pd.DataFrame({"ds": starts, "y": values.astype(float)}))


def test_a_conformal_quantile_is_the_one_that_leaves_room_for_the_next_error() -> None:
    errors = np.arange(1.0, 100.0)[:, None]  # 1..99
    found = quantiles_of(residuals_of(errors, np.ones_like(errors)), np.array([0.5, 0.9]))
    assert isinstance(found, np.ndarray)
    # of 99 errors the next is above the 90th highest with probability 10 / 100; level .5 + .4 * (1 + 1/99) = .904: the
    # 90th of 99 (.909); the belief counts as 2 of 101: its quantile at .9 is .25 * 1.2816 = .32
    assert found[0, 1] == pytest.approx(90 * 99 / 101 + 0.3204 * 2 / 101, abs=1e-3)


def test_a_tail_is_answered_from_enough_errors_and_refused_from_fewer() -> None:
    random = np.random.default_rng(1)
    many, few = random.normal(size=(1200, 1)), random.normal(size=(300, 1))
    levels = np.array([0.5, 0.99, 0.999])
    found = quantiles_of(residuals_of(many, np.ones_like(many)), levels)
    assert isinstance(found, np.ndarray)
    assert found[0, 2] >= found[0, 1] > found[0, 0]
    assert 2.3 < found[0, 2] < 4.5  # a normal's .999 is 3.09
    refused = quantiles_of(residuals_of(few, np.ones_like(few)), levels)
    assert isinstance(refused, Refusal)
    assert "0.999 needs 1000" in refused.reason
    assert "holds 300" in refused.reason


def test_a_forecast_refuses_the_tail_of_a_short_history_and_says_why() -> None:
    series = hourly(np.random.default_rng(1).lognormal(3, 0.2, 48))
    refused = forecast_demand(series, origin=START + 48 * HOUR, horizon=HOUR, quantiles=[0.5, 0.999])
    assert isinstance(refused, NoForecast)
    assert "0.999 needs 1000 earlier errors" in refused.reason
    assert isinstance(forecast_demand(series, origin=START + 48 * HOUR, horizon=HOUR, quantiles=[0.99]), Forecast)


def test_errors_that_grow_with_a_fact_get_a_scale_that_grows() -> None:
    random = np.random.default_rng(2)
    fact = np.repeat([0.0, 1.0], 500)
    errors = random.normal(size=1000) * np.exp(fact)  # e times as large where the fact holds
    facts = np.stack([np.ones(1000), fact], axis=-1)
    scale = fit_scale(facts, errors, np.ones(1000))
    narrow, wide = scales(scale, np.array([[1.0, 0.0], [1.0, 1.0]]))
    # a learnt scale is believed to the power of .85: e^.85 = 2.34, shrunk by a ridge of 2 %
    assert 2.0 < wide / narrow < 2.5


def test_a_level_that_fails_is_raised_and_one_that_holds_too_often_is_lowered() -> None:
    assert adapted(0.9, [False]) == pytest.approx(0.918)  # 0.9 + 0.02 * 0.9
    assert adapted(0.9, [True]) == pytest.approx(0.898)  # 0.9 - 0.02 * 0.1
    assert adapted(0.9, ([True] * 9 + [False]) * 20) == pytest.approx(0.9, abs=0.02)  # it holds as it should
    assert adapted(0.99, [False] * 100) < 1.0


def test_drift_is_told_when_the_last_day_was_much_worse_and_not_for_one_spike() -> None:
    errors = np.full((240, 2), 0.1)  # an origin per hour for ten days, two horizons
    ago = (240 - np.arange(240)) * 3600
    known = np.ones((240, 2), dtype=bool)
    assert drift_of(errors, known, ago) == ()
    spike = errors.copy()
    spike[-3] = 5.0
    assert drift_of(spike, known, ago) == ()
    worse = errors.copy()
    worse[-24:] = 0.3
    assert "3.0 times" in drift_of(worse, known, ago)[0]
    assert drift_of(worse[-24:], known[-24:], ago[-24:]) == ()  # nothing before to compare with


def test_a_borrowed_day_shapes_the_first_hours_of_a_new_service() -> None:
    shape = np.tile(np.where((np.arange(24) >= 8) & (np.arange(24) < 20), 100.0, 20.0), 14)
    lent = [profile_of(hourly(shape * scale)) for scale in (1.0, 50.0)]
    fleet = borrowed([profile for profile in lent if profile is not None])
    assert fleet is not None
    assert fleet.services == 2
    young = hourly(np.full(5, 3.0))  # five hours of night, at 3
    found = forecast_demand(young, origin=START + 5 * HOUR, horizon=12 * HOUR, quantiles=[0.1, 0.5, 0.9], fleet=fleet)
    assert isinstance(found, Forecast)
    day = found.frame["q0.5"].iloc[7]  # noon: five times the night
    assert day == pytest.approx(15.0, rel=0.05)
    assert found.frame["q0.5"].iloc[0] == pytest.approx(3.0, rel=0.05)
    assert "borrowed from 2 services" in found.notes[1]
    alone = forecast_demand(young, origin=START + 5 * HOUR, horizon=12 * HOUR, quantiles=[0.5])
    assert isinstance(alone, Forecast)
    assert alone.frame["q0.5"].iloc[7] == pytest.approx(3.0, rel=0.05)


def test_on_the_second_day_the_borrowed_shape_and_the_first_day_have_an_equal_say() -> None:
    shape = np.where((np.arange(24) >= 8) & (np.arange(24) < 20), 100.0, 20.0)
    fleet = profile_of(hourly(np.tile(shape, 14)))
    assert fleet is not None
    for hours, by_half in ((30, True), (50, False)):
        young = hourly(np.full(hours, 3.0))  # its own days have no shape
        asked = {"origin": START + hours * HOUR, "horizon": 12 * HOUR, "quantiles": [0.5]}
        found, alone = forecast_demand(young, **asked, fleet=fleet), forecast_demand(young, **asked)
        assert isinstance(found, Forecast)
        assert isinstance(alone, Forecast)
        assert ("borrowed from 1 services" in " ".join(found.notes)) == by_half
        # Ten hours on it is day, five times the night in which it was asked: between 3 and 15 lies 3 x 5 ** 0.5.
        assert alone.frame["q0.5"].iloc[10] == pytest.approx(3.0, rel=0.05)
        assert found.frame["q0.5"].iloc[10] == pytest.approx(3 * 5**0.5 if by_half else 3.0, rel=0.05)


def test_a_service_that_has_not_seen_a_week_lends_no_shape() -> None:
    assert profile_of(hourly(np.ones(100))) is None
    assert profile_of(hourly(np.zeros(400))) is None
    assert borrowed([]) is None
