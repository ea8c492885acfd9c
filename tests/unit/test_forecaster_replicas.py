"""How many replicas a risk asks for, by hand: costs, error budget, uncertain capacity, callers, windows, the lead."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.catalog import BoundsWindow, Risk
from forecaster.forecast.types import NoForecast
from forecaster.scaling.demand_ahead import DemandCurve, demand_ahead
from forecaster.scaling.lead import measured_lead
from forecaster.scaling.plan import decide
from forecaster.scaling.replicas import chance_of_too_few, replicas_needed, risk_in_use
from forecaster.scaling.types import Caller, Capacity
from forecaster.scaling.windows import bounds_between
from tests.unit.scaling_fakes import NOW, SCALING, forecast_of, minutes, said, situation

# Exponential with a mean of 50 rps, told by three quantiles: P(D > x) = exp(-x / 50)
EXPONENTIAL = DemandCurve(np.array([0.0, 1.0, 2.0, 3.0]), np.array([0.0, 50.0, 100.0, 150.0]))


def test_demand_is_above_a_rate_with_the_probability_that_the_quantiles_say() -> None:
    chances = EXPONENTIAL.above(np.array([0.0, 25.0, 100.0, 200.0]))  # the last lies beyond the highest quantile
    assert chances == pytest.approx([1.0, math.exp(-0.5), math.exp(-2), math.exp(-4)])
    assert EXPONENTIAL.at_risk(math.exp(-2.5)) == pytest.approx(125)
    assert EXPONENTIAL.at_risk(math.exp(-4)) == pytest.approx(200)


def test_a_known_demand_is_above_nothing_but_less() -> None:
    known = DemandCurve(np.array([0.0, 1.0, 2.0]), np.array([0.0, 30.0, 30.0]))
    # below the lowest quantile the probability falls from 1 at nothing to e^-1 at 30: at 15 it is e^-0.5
    assert known.above(np.array([15.0, 30.0, 30.1])).tolist() == [pytest.approx(math.exp(-0.5)), 0.0, 0.0]
    nothing = DemandCurve(np.array([0.0, 1.0]), np.array([0.0, 0.0]))
    assert replicas_needed(nothing, Capacity(10, 10, "x"), 0.05) == 0


def test_an_uncertain_capacity_is_averaged_over() -> None:
    # One replica carries c, anywhere in 40 .. 60: the mean of exp(-c / 50) is 50 / 20 (e^-0.8 - e^-1.2) = 0.37034
    exact = 50 / 20 * (math.exp(-0.8) - math.exp(-1.2))
    assert chance_of_too_few(EXPONENTIAL, Capacity(40, 60, "x"), np.array([1.0]))[0] == pytest.approx(exact, rel=1e-6)


def test_the_fewest_replicas_are_taken_whose_risk_is_not_too_high() -> None:
    # Sure of 50 rps each, n replicas are passed with e^-n: e^-3 = 0.0498 <= 0.05. With 40 .. 60, three are passed with
    # 50 / 60 (e^-2.4 - e^-3.6) = 0.0528 > 0.05, so four; at the low end alone it would be ceil(149.8 / 40) = 4 as well,
    # and at a risk of 0.053 the low end asks for ceil(146.9 / 40) = 4 while three are enough.
    assert replicas_needed(EXPONENTIAL, Capacity(50, 50, "x"), 0.05) == 3
    assert replicas_needed(EXPONENTIAL, Capacity(40, 60, "x"), 0.05) == 4
    assert replicas_needed(EXPONENTIAL, Capacity(40, 60, "x"), 0.053) == 3


@given(
    st.lists(st.floats(0.1, 1000), min_size=3, max_size=3), st.floats(0.5, 50), st.floats(1, 2), st.floats(0.001, 0.5)
)
def test_one_replica_fewer_would_be_too_risky(rps: list[float], low: float, width: float, risk: float) -> None:
    curve = DemandCurve(np.array([0.0, 0.69, 3.0, 4.6]), np.array([0.0, *np.cumsum(rps)]))
    capacity = Capacity(low, low * width, "x")
    needed = replicas_needed(curve, capacity, risk)
    chances = chance_of_too_few(curve, capacity, np.array([needed - 1.0, float(needed)]))
    assert chances[1] <= risk * (1 + 1e-6)
    assert needed == 0 or chances[0] > risk * (1 - 1e-6)


def test_costs_and_the_error_budget_make_the_risk() -> None:
    priced = replace(SCALING, risk=Risk(replica_hour=0.1, violation_cost=2.0))
    assert risk_in_use(SCALING, 0.2)[0] == pytest.approx(0.05)  # fixed: 1 - 0.95
    # 0.1 / 2 = 0.05, doubled with all of the budget left, as it is with half, halved without any, a quarter in debt
    for left, expected in [(1.0, 0.1), (0.5, 0.05), (0.0, 0.025), (-0.5, 0.0125), (-9.0, 0.0125), (None, 0.05)]:
        assert risk_in_use(priced, left)[0] == pytest.approx(expected)
    unpaced = replace(SCALING, risk=Risk(0.1, 2.0, budget_pacing=False))
    assert risk_in_use(unpaced, 0.0)[0] == pytest.approx(0.05)
    assert risk_in_use(replace(SCALING, risk=Risk(0.1, 0.12)), 1.0)[0] == 0.5  # never likelier too low than not


@given(st.floats(-2, 1), st.floats(-2, 1))
def test_less_of_the_budget_left_never_means_more_risk(one: float, other: float) -> None:
    priced = replace(SCALING, risk=Risk(0.1, 2.0))
    assert risk_in_use(priced, min(one, other))[0] <= risk_in_use(priced, max(one, other))[0]


def test_what_callers_will_send_raises_the_floor_of_the_called() -> None:
    # Itself 24 rps (2 replicas); one caller expects 10 rps at 3 calls each, another 15 at 2: 60 rps, 5 replicas
    web, app = forecast_of([10.0] * 36), forecast_of([15.0] * 36)
    decision = decide(situation([24.0] * 36, callers=(Caller("web", web, 3.0), Caller("app", app, 2.0))))
    assert decision.floor_after == 5
    quiet = decide(situation([24.0] * 36, callers=(Caller("web", forecast_of([1.0] * 36), 3.0),)))
    assert quiet.floor_after == 2  # their calls are in its own demand already


def test_a_callers_forecast_counts_at_its_own_steps_and_levels() -> None:
    # At steps of 5 minutes from 09:00; the caller's from 08:50 on: its third is our first. It knows 0.5 and 0.99 alone.
    caller = forecast_of([1.0, 1.0, 7.0, 8.0], origin=NOW - minutes(10), levels=(0.5, 0.99))
    ahead = demand_ahead(forecast_of([2.0] * 3), (Caller("web", caller, 2.0),))
    assert ahead.rps[:, 2].tolist() == [14.0, 16.0, 2.0]


def test_a_caller_without_a_forecast_is_named() -> None:
    decision = decide(situation([24.0] * 36, callers=(Caller("web", NoForecast("web", NOW, "none"), 3.0),)))
    assert decision.floor_after == 2
    assert "without the demand of web: no forecast" in said(decision)


def test_windows_open_at_local_times_also_after_the_clocks_change() -> None:
    # 08:00 in Berlin is 07:00 UTC in winter and 06:00 UTC in summer (from 2026-03-29 on); the length is 1 h
    office = BoundsWindow("0 8 * * 1-5", timedelta(hours=1), "Europe/Berlin", 4, 9, "office")
    scaling = replace(SCALING, bounds=(office,))

    def at(day: int, hour: int, minute: int = 0) -> tuple[int, int | None, str]:
        start = datetime(2026, 3, day, hour, minute, tzinfo=UTC)
        return bounds_between(scaling, start, start + timedelta(minutes=1))

    assert at(27, 7) == at(27, 7, 59) == at(30, 6) == (4, 9, "office")  # a Friday and the Monday after
    assert at(27, 6, 58) == at(27, 8) == at(30, 7) == at(28, 7) == (0, None, "")  # before, after, on a Saturday
    assert at(27, 6, 59) == (0, None, "")  # it opens where this minute ends


def test_of_windows_that_overlap_the_highest_minimum_goes_before_the_lowest_maximum() -> None:
    windows = tuple(
        BoundsWindow("0 8 * * *", timedelta(hours=4), "UTC", low, high) for low, high in [(3, 20), (7, 9), (None, 5)]
    )
    found = bounds_between(replace(SCALING, bounds=windows), NOW, NOW + minutes(1))
    assert found[:2] == (7, 7)


def test_the_lead_is_what_most_of_the_newest_raises_kept_once_twenty_are_known() -> None:
    assert measured_lead([minutes(2)] * 19) is None
    assert measured_lead([minutes(2)] * 19 + [minutes(9)]) == minutes(2)  # 19 of 20 are 95 %
    assert measured_lead([minutes(2)] * 18 + [minutes(9)] * 2) == minutes(9)
    assert measured_lead([minutes(60)] * 50 + [minutes(3)] * 100) == minutes(3)  # older ones are forgotten


def test_a_measured_lead_is_planned_with_instead_of_the_configured_one() -> None:
    # 24 rps, and 120 from 09:10 on: the configured 15 + 5 minutes see it, measured 2 + 5 do not, but begin the ramp:
    # by the next decision 10 - 4 = 6 must stand
    rps = [24.0] * 2 + [120.0] * 34
    assert decide(situation(rps)).floor_after == 10
    measured = decide(situation(rps, lead=minutes(2)))
    assert (measured.floor_after, measured.lead) == (6, minutes(2))
