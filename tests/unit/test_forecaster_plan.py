"""The decision: worked examples by hand, and what no situation may make it do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from collector.catalog import Mode
from forecaster.forecast.types import NoForecast
from forecaster.scaling.capacity import declared_capacity, in_clock_units, reactive_spec, replicas_for
from forecaster.scaling.plan import decide, looked_at
from forecaster.scaling.types import Capacity, Skill
from tests.unit.scaling_fakes import (
    CAPACITY,
    FIVE,
    NOW,
    SCALING,
    flat_then,
    forecast_of,
    hpa,
    minutes,
    said,
    situation,
)


def test_the_floor_carries_the_quantile_until_the_next_decision_is_ready() -> None:
    # 30 rps / 12 = 2.5: 3 replicas; the floor of 2 carries 24, so they are needed already now
    decision = decide(situation([30.0] * 36))
    assert (decision.outcome, decision.floor_wanted, decision.floor_after, decision.apply) == ("raise", 3, 3, True)
    assert decision.needed_at == NOW
    assert "30 requests/s" in said(decision)


def test_of_one_thing_the_reasons_speak_in_the_singular() -> None:
    # 10 requests/s / 12 = 0.83: 1 replica; nothing speaks of "rps".
    decision = decide(situation([10.0] * 36))
    assert said(decision).startswith("demand stays under 10 requests/s (at ")
    assert ": 1 replica at 12 requests/s" in said(decision)
    assert "1 replicas" not in said(decision)
    assert {step.reason.split(" at ")[0] for step in decision.plan} <= {"decided now", "up to 10 requests/s"}


def test_a_ramp_is_begun_early_enough_for_raises_of_the_largest_step() -> None:
    # 100 rps (9 replicas) from minute 60 on; 3 before. A decision covers 15 + 5 minutes, so minute 45 must see to 9.
    # One decision before it, 9 - 4 = 5 must stand; two before, 9 - 8 = 1 is less than the 3 that are needed anyway.
    rps = flat_then(30.0, 100.0, after_minutes=60)
    floor, raised = 3, {}
    for minute in range(0, 60, 5):
        now = NOW + minutes(minute)
        decision = decide(situation(rps, now=now, metric_at=now, hpa=hpa(floor)))
        if minute <= 10:  # the forecast is not refreshed here, and grows stale after 15 minutes
            assert decision.needed_at == NOW + minutes(60)
        fresh = forecast_of(rps[minute // 5 :], origin=now)
        decision = decide(situation(rps, now=now, metric_at=now, hpa=hpa(floor), forecast=fresh))
        if decision.outcome == "raise":
            raised[minute] = (floor, decision.floor_after)
        floor = decision.floor_after
    assert raised == {40: (3, 5), 45: (5, 9)}


def test_a_raise_larger_than_the_largest_step_is_made_when_the_lead_needs_it() -> None:
    decision = decide(situation([120.0] * 36))  # 120 / 12 = 10, needed at once, from 2
    assert decision.floor_after == 10
    assert "needed within the lead" in said(decision)


def test_a_raise_for_later_is_limited_to_the_largest_step() -> None:
    # 240 rps (20 replicas) from minute 25 on. The decision of minute 10 must see to it, two before it 20 - 2 * 4 = 12
    # are wanted; needed within the lead are 2.
    decision = decide(situation(flat_then(20.0, 240.0, after_minutes=25)))
    assert (decision.floor_wanted, decision.floor_after) == (12, 6)
    assert "largest step" in said(decision)


def test_a_lowering_takes_at_most_a_fifth() -> None:
    # wanted 2; 20 % of 11 is 2.2, cut to 2: 9. And of 3 it is at least one: 2.
    assert decide(situation([12.0] * 36, floor=11)).floor_after == 9
    assert decide(situation([12.0] * 36, floor=3)).floor_after == 2


def test_a_lowering_waits_for_the_cool_down() -> None:
    waiting = decide(situation([12.0] * 36, floor=11, last_lowered_at=NOW - minutes(4)))
    assert (waiting.outcome, waiting.floor_after, waiting.apply) == ("keep", 11, False)
    assert "cooling down" in said(waiting)
    assert decide(situation([12.0] * 36, floor=11, last_lowered_at=NOW - minutes(5))).floor_after == 9


def test_the_floor_is_not_lowered_under_what_is_needed_at_half_the_risk() -> None:
    # 60 rps at 0.95, 120 at 0.99: half the odds of 0.05 are a risk of 0.05 / 1.95, ln 1.95 / ln 5 = 0.415 of the way
    # from the one to the other, so 60 + 0.415 * 60 = 84.9: 8 replicas are kept, though 5 are wanted
    forecast = forecast_of([30.0] * 36, spread=1.0)
    decision = decide(situation([], floor=9, forecast=forecast))
    assert (decision.floor_wanted, decision.floor_after) == (5, 8)
    assert "kept_at_less_risk: 8 kept: needed again at half the risk" in said(decision)


def test_the_ceiling_and_the_operators_floor_bound_everything() -> None:
    over = decide(situation([1000.0] * 36))
    assert (over.floor_wanted, over.floor_after) == (84, 20)  # 1000 / 12 = 83.3
    assert "above the ceiling 20" in said(over)
    under = decide(situation([1.0] * 36, hpa=hpa(6, operator_floor=6)))
    assert (under.floor_wanted, under.outcome, under.floor_after) == (1, "keep", 6)


@pytest.mark.parametrize(
    ("mode", "passed", "expected"),
    [("observe", True, "mode observe"), ("recommend", True, "mode recommend"), ("act", False, "no backtest")],
)
def test_nothing_is_applied_but_in_act_after_a_passed_backtest(mode: Mode, passed: bool, expected: str) -> None:
    decision = decide(situation([30.0] * 36, mode=mode, backtest_passed=passed))
    assert (decision.outcome, decision.floor_after, decision.apply) == ("raise", 3, False)
    assert expected in said(decision)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"forecast": NoForecast("shop", NOW, "no rows before the origin")}, "no rows before the origin"),
        ({"capacity": None}, "capacity of a replica is unknown"),
        ({"metric_at": None}, "no demand has been recorded"),
        ({"metric_at": NOW - minutes(16)}, "demand is stale"),  # three steps of five minutes are 15
        ({"forecast": forecast_of([30.0] * 36, origin=NOW - minutes(16))}, "forecast is stale"),
        ({"forecast": forecast_of([30.0] * 2)}, "forecast ends at 09:10"),
        ({"forecast": forecast_of([30.0] * 36, levels=(0.5,))}, "no quantile 0.95 or above"),
        ({"skill": Skill(1.1, 0.95, 0.95, 288)}, "the last 288 steps' forecasts lost 1.10 times"),
    ],
)
def test_without_grounds_there_is_no_plan_and_the_floor_is_held(changes: dict[str, Any], expected: str) -> None:
    decision = decide(situation([30.0] * 36, floor=7, **changes))
    assert (decision.outcome, decision.floor_before, decision.floor_after, decision.apply) == ("no_plan", 7, 7, False)
    assert expected in said(decision)
    assert decision.plan == ()


def test_an_unknown_autoscaler_is_no_plan_either() -> None:
    decision = decide(situation([30.0] * 36, hpa=None))
    assert (decision.outcome, decision.apply) == ("no_plan", False)


def test_a_metric_two_steps_old_is_fresh_enough() -> None:
    assert decide(situation([30.0] * 36, metric_at=NOW - minutes(15))).outcome == "raise"


def test_after_an_hour_without_metrics_the_floor_decays_in_steps_to_the_operators_own() -> None:
    assert decide(situation([30.0] * 36, floor=10, metric_at=NOW - minutes(60))).floor_after == 10
    blind = decide(situation([30.0] * 36, floor=10, metric_at=NOW - minutes(61)))
    assert (blind.outcome, blind.floor_after, blind.apply) == ("lower", 8, True)
    assert "blind" in said(blind)


def test_a_quantile_between_two_known_ones_lies_between_them_by_the_logarithm_of_the_risk() -> None:
    # 24 rps at 0.8 and 48 at 0.99: 0.05 lies ln(0.2 / 0.05) / ln(0.2 / 0.01) = 0.463 of the way: 35.1 rps, 3 replicas
    forecast = forecast_of([24.0] * 36, levels=(0.8, 0.99), spread=1.0)
    decision = decide(situation([], forecast=forecast))
    assert decision.floor_after == 3
    assert "under 35.11 requests/s" in said(decision)


def test_needed_at_is_the_first_step_that_passes_what_the_floor_carries() -> None:
    # the floor of 2 carries 24 exactly; 24.1 in the step of 9:40 is the first above
    rps = [20.0] * 7 + [24.0] + [24.1] * 28
    assert decide(situation(rps)).needed_at == NOW + minutes(40)
    assert decide(situation([24.0] * 36)).needed_at is None


def test_the_plan_lists_each_change_of_the_day_once_and_ahead_by_the_lead() -> None:
    # 20 rps (2 replicas), from 11:00 to 12:00 80 rps (7). Blocks of half an hour look the lead of 15 minutes further:
    # the block of 10:30 sees 11:00-11:15, the block of 12:00 sees only what is low again.
    rps = [20.0] * 24 + [80.0] * 12 + [20.0] * 36
    plan = decide(situation(rps)).plan
    assert [(p.starts_at, p.floor) for p in plan] == [
        (NOW, 2),
        (NOW + minutes(90), 7),
        (NOW + minutes(180), 2),
    ]


def test_the_floor_does_not_depend_on_more_future_than_it_looks_at() -> None:
    random = np.random.default_rng(3)
    for _ in range(50):
        rps = (random.uniform(0, 200, 288)).tolist()
        enough = int(looked_at(SCALING, FIVE) / FIVE) + 1
        floor = int(random.integers(2, 20))
        long, short = decide(situation(rps, floor)), decide(situation(rps[:enough], floor))
        assert (long.floor_after, long.reasons) == (short.floor_after, short.reasons)


def test_a_capacity_in_real_seconds_is_divided_by_the_clocks_speed() -> None:
    assert in_clock_units((12.0, 14.0), 60.0) == (0.2, 14 / 60)
    assert declared_capacity(SCALING, speed=60.0).low_rps == 0.2
    assert reactive_spec(SCALING, speed=60.0).target_per_replica == pytest.approx(1 / 6)
    with pytest.raises(ValueError, match="0 < low <= high"):
        in_clock_units((14.0, 12.0), 1.0)


def test_replicas_are_counted_at_the_low_end_and_no_rounding_adds_one() -> None:
    fine = Capacity(low_rps=0.1, high_rps=0.2, source="x")
    assert replicas_for(0.3, fine) == 3  # 0.3 / 0.1 is 2.9999999999999996 or 3.0000000000000004 elsewhere
    assert replicas_for(0.7, fine) == 7  # 0.7 / 0.1 = 6.999999999999999
    assert replicas_for(36.001, CAPACITY) == 4
    assert replicas_for(0.0, CAPACITY) == 0
