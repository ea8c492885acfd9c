"""What plans said of their floors, beside what came: worked by hand on two forecasts of two steps."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecaster.scaling.backtest.rolling import RollingForecasts
from forecaster.scaling.backtest.stated import PlansSaid
from forecaster.scaling.demand_ahead import DemandCurve, chances_above
from forecaster.scaling.simulator.simulate import DemandSteps
from forecaster.scaling.types import Decision

START = datetime(2026, 3, 2, 9, tzinfo=UTC)
FIVE = timedelta(minutes=5)
# The median is 10 and half of the rest is above 20; so 15 is passed with a chance of 0.5 x 0.5^(1/2).
STEP_AHEAD = [10.0, 20.0]
AT_15 = 0.5 * math.sqrt(0.5)
MISSING = [math.nan, math.nan]


def decision(minutes: float, planned: int | None) -> Decision:
    at = START + timedelta(minutes=minutes)
    return Decision(at, "shop", "act", "keep", 1, 1, 1, apply=False, reasons=(), needed_at=None, plan=(),
                    planned_floor=planned)  # fmt: skip


def said(rps: list[float], *rows: list[list[float]], delay: timedelta = timedelta(0)) -> PlansSaid:
    """Forecasts at 9:00, 9:05, ... of two steps each; demand by five minutes from 9:00; one replica carries 7.5."""
    first, count = START.timestamp(), len(rows)
    values = np.array(rows)
    forecasts = RollingForecasts("shop", "any", (0.5, 0.75), FIVE, first + 300.0 * np.arange(count), values)
    demand = DemandSteps(first + 300.0 * np.arange(len(rps)), np.array(rps), 300.0)
    return PlansSaid(forecasts, demand, capacity_rps=7.5, data_delay=delay)


def test_the_chance_that_was_stated_stands_beside_how_often_the_floor_was_passed() -> None:
    plans = said([16, 14], [STEP_AHEAD, STEP_AHEAD], [STEP_AHEAD, STEP_AHEAD])
    found = plans.of([decision(0, 2), decision(5, 2)])  # two replicas carry 15: 16 passes it, 14 does not
    assert found is not None
    assert (found.chance, found.passed, found.of_time) == (pytest.approx(AT_15), 0.5, 1.0)


def test_a_floor_that_is_likelier_passed_than_not_is_no_plan_and_only_its_time_is_told() -> None:
    plans = said([16, 14], [STEP_AHEAD, STEP_AHEAD], [STEP_AHEAD, STEP_AHEAD])
    found = plans.of([decision(0, 2), decision(5, 1)])  # one carries 7.5, under the median
    assert found is not None
    assert (found.chance, found.passed, found.of_time) == (pytest.approx(AT_15), 1.0, 0.5)
    assert plans.of([decision(0, 1)]) is None


def test_a_floor_stands_until_the_next_decision_and_is_judged_by_the_forecast_it_stood_on() -> None:
    # Decided at 9:01 on the forecast of 9:00, whose second step's median is 30: from 9:05 until 9:06 the two replicas
    # are no plan. From 9:06 on a forecast of 9:05 is known, by which they carry 15 of a step with the median 10.
    plans = said([14, 14], [STEP_AHEAD, [30.0, 40.0]], [STEP_AHEAD, STEP_AHEAD], delay=timedelta(minutes=1))
    found = plans.of([decision(1, 2), decision(6, 2)])
    assert found is not None
    assert (found.chance, found.passed, found.of_time) == (pytest.approx(AT_15), 0.0, pytest.approx(8 / 9))


def test_time_without_a_forecast_a_plan_or_demand_counts_for_nothing() -> None:
    known = [STEP_AHEAD, STEP_AHEAD]
    plans = said([16, 14, math.nan, 16], known, known, known, [MISSING, MISSING])
    # 9:00 passed for five minutes, 9:05 not, until a decision of 9:08 made no plan; 9:10 no demand, 9:15 no forecast.
    found = plans.of([decision(0, 2), decision(5, 2), decision(8, None), decision(10, 2), decision(15, 2)])
    assert found is not None
    assert (found.passed, found.of_time) == (pytest.approx(5 / (5 + 3)), 1.0)
    assert plans.of([decision(0, None)]) is None
    assert plans.of([]) is None


@given(
    st.lists(st.integers(0, 50).map(float), min_size=1, max_size=4).map(sorted),
    st.integers(0, 120).map(float),
)
def test_many_chances_at_once_are_those_of_each_curve(quantiles: list[float], rate: float) -> None:
    depths = -np.log1p(-np.array([0.0, 0.5, 0.8, 0.9, 0.99])[: len(quantiles) + 1])
    rps = np.array([0.0, *quantiles])
    one = DemandCurve(depths, rps).above(np.array([rate]))
    assert chances_above(depths, np.array([rps, rps]), np.array([rate, rate])) == pytest.approx([*one, *one])
