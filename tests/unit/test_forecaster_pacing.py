"""The pace: a plan's risk follows what came, by the formula, within its bounds, in the replay as in the live loop."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecaster.forecast.types import DemandSeries
from forecaster.judging.check import scaling_for_peak
from forecaster.pace import short_of
from forecaster.scaling.backtest.contest import hold
from forecaster.scaling.backtest.field import Field, Net
from forecaster.scaling.backtest.policies.lane_record import LaneRecord
from forecaster.scaling.backtest.rolling import RollingForecasts, origins_of
from forecaster.scaling.grounds import NoGrounds, grounds_of
from forecaster.scaling.hpa import HpaSpec
from forecaster.scaling.pacing import Pace, at_half_the_odds, overload_at, paced_risk
from forecaster.scaling.plan import decide
from forecaster.scaling.simulator.simulate import DemandSteps
from forecaster.scaling.types import Capacity
from tests.unit.scaling_fakes import FIVE, NOW, SCALING, forecast_of, minutes, situation

HOUR = timedelta(hours=1)
START = datetime(2026, 3, 2, tzinfo=UTC)
risks = st.floats(0.001, 0.3)


def test_before_any_decision_the_odds_are_five_times_those_asked_for() -> None:
    assert paced_risk(0.05, None) == pytest.approx(5 / 24)  # odds 1/19, times 5: 5/19, a risk of 5/24


def test_an_hour_without_shortness_moves_the_odds_by_the_formula() -> None:
    # odds 1 times exp(1.2 * 1 * (0.05 - 0)) = e^0.06
    assert paced_risk(0.05, Pace(0.5, 0.0, HOUR)) == pytest.approx(math.exp(0.06) / (1 + math.exp(0.06)))
    assert paced_risk(0.05, Pace(0.5, 0.05, HOUR)) == pytest.approx(0.5)  # what was asked came: nothing moves
    assert paced_risk(0.05, Pace(0.5, 1.0, HOUR)) < 0.5
    assert paced_risk(0.05, Pace(0.5, 1.0, timedelta(0))) == pytest.approx(0.5)  # nobody knows what came


@given(asked=risks, before=st.floats(0.001, 0.98), short=st.floats(0, 1), hours=st.floats(0, 1000))
def test_the_risk_stays_within_its_bounds(asked: float, before: float, short: float, hours: float) -> None:
    found = paced_risk(asked, Pace(before, short, hours * HOUR))
    lowest = asked / (1 - asked) / 5
    assert lowest / (1 + lowest) - 1e-12 <= found <= 0.983  # odds e^4 are a risk of 0.982


@given(asked=risks, before=st.floats(0.01, 0.9), worse=st.floats(0.01, 1))
def test_more_shortness_never_raises_the_risk(asked: float, before: float, worse: float) -> None:
    assert paced_risk(asked, Pace(before, worse, HOUR)) <= paced_risk(asked, Pace(before, 0.0, HOUR))


def test_half_the_odds_of_a_small_risk_are_half_of_it_and_of_a_large_one_nearly_all() -> None:
    assert at_half_the_odds(0.001) == pytest.approx(0.0005, rel=1e-3)
    assert at_half_the_odds(0.8) == pytest.approx(2 / 3)  # odds 4, halved 2


def risk_of(odds: float) -> float:
    return odds / (1 + odds)


def test_no_overload_is_borne_before_the_floor_is_released_and_a_tenth_at_most() -> None:
    assert overload_at(0.05) == overload_at(0.5) == overload_at(risk_of(math.exp(1.5))) == 0.0
    assert overload_at(risk_of(math.exp(2.75))) == pytest.approx(0.05)  # half-way from e^1.5 to e^4
    assert overload_at(risk_of(math.exp(4))) == pytest.approx(0.1)
    assert overload_at(0.999) == pytest.approx(0.1)


def test_a_paced_plan_that_was_too_little_short_bears_some_overload_but_not_while_a_budget_burns() -> None:
    # 25 rps at 12 each need three replicas; at 5 % more than they carry, 12.6 each, two (25.2)
    spared = situation(
        [12.0] * 36, demand_now=25.0, scaling=replace(SCALING, paced=True),
        pace=Pace(risk_of(math.exp(2.75)), 0.05, HOUR),
    )  # fmt: skip
    decision = decide(spared)
    assert (decision.floor_after, decision.overload) == (2, pytest.approx(0.05))
    busier = decide(replace(spared, demand_now=26.0))
    assert busier.floor_after == 3
    assert "need 3 at once, at up to 5.0% more than they carry" in busier.reasons[0]
    assert decide(replace(spared, burning=("availability",))).floor_after == 3
    assert decide(replace(spared, scaling=replace(SCALING, quantile=0.02))).floor_after == 3  # not paced: its own risk


def test_in_the_long_run_so_much_of_the_time_is_short_as_was_asked_for() -> None:
    asked, days, low = 0.1, 20, 10.0
    index = np.arange((days + 1) * 288)
    values = 55 - 35 * np.cos(index / 288 * 2 * np.pi) + np.random.default_rng(1).normal(0, 1, len(index))
    starts = pd.to_datetime(START.timestamp() + 300.0 * index, unit="s", utc=True)
    series = DemandSeries("shop", FIVE, pd.DataFrame({"ds": starts, "y": values}))
    ground = Field(
        series=series, met=series.frame.rename(columns={"y": "rps"}),
        window=(START + timedelta(days=1), START + timedelta(days=days + 1)),
        scaling=scaling_for_peak("shop", peak_rps=100.0, peak_replicas=10),
        capacity=Capacity(low, low, "declared"), spec=HpaSpec(1, 15, 1.5 * low), start_delay=minutes(2), refresh=FIVE,
        net=Net((0.0,), (1.5 * low,)),
    )  # fmt: skip
    origins = origins_of(series, window=ground.window, refresh=FIVE)
    ahead = values[np.minimum(((origins - int(START.timestamp())) // 300)[:, None] + np.arange(12), len(values) - 1)]
    foreseen = RollingForecasts("shop", "foreseen", (0.5, 0.99), FIVE, origins, ahead[..., None] + [0.0, 2.0])
    [entry] = hold(ground, foreseen, policies=("tidegauge",), settings={"tidegauge": (asked,)}).entries
    # The log of the odds begins at ln(5/9) = -0.6, ends at 4 at most and moves by 1.2 (asked - short) an hour: over
    # 480 hours the mean of (asked - short) is at most 4.6 / 576 = 0.8 points.
    assert entry.toll.under_provisioned_minutes / entry.toll.minutes == pytest.approx(asked, abs=0.01)


def test_a_paced_plan_takes_the_risk_that_follows_and_says_what_it_follows() -> None:
    # 60 rps at 0.95, 120 at 0.99; asked 0.05, before at odds of 1/99 and now up by e^(1.2 * 60 * 0.05) = e^3.6: 0.27
    paced = situation(
        [], forecast=forecast_of([30.0] * 36, spread=1.0), scaling=replace(SCALING, paced=True), pace=None
    )
    decision = decide(replace(paced, pace=Pace(0.01, 0.0, 60 * HOUR)))
    odds = math.exp(3.6) / 99
    assert decision.quantile == pytest.approx(1 - odds / (1 + odds))
    assert decision.reasons[1].startswith("risk 27%: for 5.0% of the time to be short; since the last decision")
    unpaced = decide(replace(paced, scaling=SCALING, pace=Pace(0.01, 0.0, 60 * HOUR)))
    assert unpaced.quantile == pytest.approx(0.95)
    assert decision.floor_wanted < unpaced.floor_wanted


def test_a_paced_risk_below_the_highest_quantile_is_taken_from_the_tail() -> None:
    careful = replace(SCALING, quantile=0.999)
    asked = situation([], forecast=forecast_of([30.0] * 36, spread=1.0), scaling=careful)
    assert isinstance(grounds_of(asked), NoGrounds)
    assert not isinstance(grounds_of(replace(asked, scaling=replace(careful, paced=True))), NoGrounds)


def test_the_record_says_what_share_of_the_known_time_was_short() -> None:
    starts = [NOW + minutes(index) for index in range(4)]
    demand = pd.DataFrame({"ds": starts, "rps": [10.0, 30.0, np.nan, 21.0]})
    states = pd.DataFrame({"ts": [NOW - minutes(1), NOW + minutes(2)], "ready": [2, 3]})
    # 20 rps are carried in the first two minutes (10 is under, 30 over), 30 in the last (21 is under): 1 of 3
    assert short_of(demand, states, capacity_rps=10.0, step=minutes(1)) == (pytest.approx(1 / 3), minutes(3))
    late = states.assign(ts=[NOW - minutes(9), NOW - minutes(8)])  # nobody has looked for more than three minutes
    assert short_of(demand, late, capacity_rps=10.0, step=minutes(1)) == (0.0, timedelta(0))


def lane_record(*rps: float) -> LaneRecord:
    demand = DemandSteps(starts=60.0 * np.arange(len(rps)), rps=np.array(rps), step_seconds=60.0)
    return LaneRecord(demand, capacity_rps=10.0, lanes=1)


def test_a_replay_counts_the_time_in_which_its_replicas_were_too_few() -> None:
    record = lane_record(10.0, 30.0, float("nan"), 10.0)
    record.decided(0, quantile=0.9)
    for at in range(0, 241, 15):
        record.see(float(at), np.array([2]))
    pace = record.pace(0)
    assert pace is not None
    assert (pace.risk, pace.short, pace.span) == (pytest.approx(0.1), pytest.approx(1 / 3), minutes(3))
    record.decided(0, quantile=0.9)
    assert record.pace(0) == Pace(pace.risk, 0.0, timedelta(0))
    record.decided(0, quantile=None)
    assert record.pace(0) is None


def test_a_replay_measures_its_lead_from_twenty_raises_that_started_replicas() -> None:
    record = lane_record(*[10.0] * 200)
    record.changed(0, 0.0, floor=2, ready=2)  # enough were ready: it says nothing about a start
    at = 0.0
    for raised in range(20):
        assert record.lead(0) is None, raised
        record.changed(0, at, floor=3, ready=2)
        record.see(at + 15, np.array([2]))
        record.see(at + 120, np.array([3]))
        at += 120
    assert record.lead(0) == minutes(2)


def test_a_net_keeps_more_headroom_for_less_risk_between_the_targets_it_was_learnt_at() -> None:
    net = Net(risks=(0.0, 0.03, 0.15), targets_rps=(7.0, 8.0, 10.0))
    assert net.at(0.03) == pytest.approx(8.0)
    assert net.at(0.09) == pytest.approx(9.0)  # half way between 3 % and 15 %
    assert net.at(0.5) == pytest.approx(10.0)
    assert Net((0.0,), (9.0,)).at(0.01) == pytest.approx(9.0)
