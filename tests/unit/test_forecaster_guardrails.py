"""Guardrails: each by an example worked out by hand, and what no situation may make a decision do."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.catalog import BoundsWindow, Mode, Risk
from forecaster.forecast.types import Forecast
from forecaster.scaling.pacing import MOST_OVERLOAD, Pace
from forecaster.scaling.plan import decide
from forecaster.scaling.types import Capacity, Decision, Situation, Skill
from tests.unit.scaling_fakes import FIVE, NOW, SCALING, flat_then, forecast_of, hpa, minutes, said, situation

LOW, HIGH = [12.0] * 36, [120.0] * 36  # one replica and ten


def kinds(decision: Decision) -> set[str]:
    return {warning.kind for warning in decision.warnings}


def test_nothing_is_raised_into_a_cluster_without_room_and_people_are_told() -> None:
    decision = decide(situation(HIGH, hpa=replace(hpa(4), room=3)))  # 4 run, 3 more can start
    assert decision.floor_after == 7
    assert decision.guardrails == ("within_room",)
    assert "10 replicas wanted, and the cluster can start no more than 7" in said(decision)
    assert "no_room" in kinds(decision)
    waiting = decide(situation(HIGH, hpa=replace(hpa(4), room=3, pending=2)))
    assert waiting.floor_after == 4
    assert "2 waiting for room already" in said(waiting)
    assert decide(situation(HIGH, hpa=hpa(4))).floor_after == 10  # nobody can say: no reason to hold back


def test_a_lack_of_room_is_told_before_the_peak() -> None:
    # 24 rps now and 120 (10 replicas) from 11:00 on, with room for 6 in all, which carry 72. All quantiles from 0.5 on
    # are 120; at 72 / 120 of the way there the chance of more is 0.5^0.6 = 0.660.
    decision = decide(situation(flat_then(24.0, 120.0, after_minutes=120), hpa=replace(hpa(2), room=4)))
    (warning,) = decision.warnings
    assert (warning.kind, warning.expected_at) == ("no_room", NOW + minutes(120))
    assert warning.probability == pytest.approx(0.660, abs=1e-3)
    assert "passes the 6 replicas that the cluster can start from 11:00 on" in warning.text


def test_a_breach_of_the_ceiling_is_told_with_when_and_how_likely() -> None:
    # At 11:00 the quantiles 0.5, 0.95, 0.99 are 200, 400 and 800 rps; the ceiling of 20 carries 240, which is
    # (240 - 200) / 200 = 0.2 of the way from 0.5 to 0.05 by the logarithm: 0.5 x 0.1^0.2 = 0.315
    forecast = forecast_of([10.0] * 24 + [200.0] * 12, spread=1.0)
    (warning,) = decide(situation([], forecast=forecast)).warnings
    assert (warning.kind, warning.expected_at) == ("ceiling_breach", NOW + minutes(120))
    assert warning.probability == pytest.approx(0.3155, abs=1e-4)
    assert "from 11:00 on with a probability of up to 32%" in warning.text


def test_replicas_that_a_bottleneck_makes_useless_are_refused_and_told() -> None:
    decision = decide(situation(HIGH, floor=4, most_useful=6))
    assert decision.floor_after == 6
    assert "10 replicas would serve no more than 6: a shared bottleneck" in said(decision)
    assert "bottleneck" in kinds(decision)
    assert decide(situation(HIGH, floor=8, most_useful=6)).floor_after == 8  # what stands is not torn down for it


def test_nothing_is_lowered_while_an_error_budget_burns() -> None:
    decision = decide(situation(LOW, floor=11, burning=("search-p95",)))
    assert (decision.outcome, decision.floor_after) == ("keep", 11)
    assert "kept at 11 while search-p95 burns" in said(decision)
    assert decide(situation(HIGH, floor=4, burning=("search-p95",))).floor_after == 10


def test_nothing_is_lowered_by_quantiles_that_have_covered_far_too_little() -> None:
    drifted = decide(situation(LOW, floor=11, skill=Skill(0.7, 0.95, 0.84, 288)))  # 0.84 < 0.95 - 0.10
    assert drifted.floor_after == 11
    assert "the quantile 0.95 covered 84% of the last 288 steps" in said(drifted)
    assert "forecast_skill" in kinds(drifted)
    assert decide(situation(LOW, floor=11, skill=Skill(0.7, 0.95, 0.86, 288))).floor_after == 9
    assert decide(situation(LOW, floor=11, skill=Skill(0.7, 0.95, 0.0, 99))).floor_after == 9  # too few to say


def test_forecasts_without_skill_leave_the_autoscaler_on_its_own_after_an_hour() -> None:
    useless = Skill(1.0, 0.95, 0.95, 288)
    held = decide(situation(HIGH, floor=5, skill=useless, planned_at=NOW - minutes(60)))
    assert (held.outcome, held.floor_after, kinds(held)) == ("no_plan", 5, {"forecast_skill"})
    decayed = decide(situation(HIGH, floor=5, skill=useless, planned_at=NOW - minutes(61)))
    assert (decayed.outcome, decayed.floor_after) == ("lower", 4)
    assert kinds(decayed) == {"forecast_skill", "blind"}


def test_after_the_days_changes_only_raises_that_the_lead_needs_are_made() -> None:
    few = replace(SCALING, change_budget=10)
    spent: dict[str, Any] = {"scaling": few, "changes_today": 10}
    assert decide(situation(LOW, floor=11, **spent)).floor_after == 11
    assert decide(situation(HIGH, floor=4, **spent)).floor_after == 10
    ramp = decide(situation(flat_then(20.0, 240.0, after_minutes=25), **spent))  # wanted for later alone: see the plan
    assert (ramp.floor_wanted, ramp.floor_after) == (12, 2)
    assert "the day's 10 changes made: 2 instead of 6" in said(ramp)
    assert "change_budget" in kinds(ramp)
    assert decide(situation(LOW, floor=11, scaling=few, changes_today=9)).floor_after == 9


def test_a_pause_changes_nothing_and_says_who_and_what_it_kept() -> None:
    decision = decide(situation(HIGH, floor=4, paused="by ada since 08:30: release"))
    assert (decision.outcome, decision.floor_after, decision.apply) == ("keep", 4, False)
    assert "paused, by ada since 08:30: release: 4 instead of 10" in said(decision)


def test_a_floor_that_was_set_back_twice_is_only_observed() -> None:
    decision = decide(situation(HIGH, hpa=replace(hpa(4), reverts=2)))
    assert (decision.outcome, decision.floor_after, decision.apply) == ("raise", 10, False)
    assert "set our floor back 2 times: observing" in said(decision)
    assert "reverted" in kinds(decision)
    assert decide(situation(HIGH, hpa=replace(hpa(4), reverts=1))).apply


def windowed(cron: str, hours: int, **bounds: Any) -> Any:
    window = BoundsWindow(cron, timedelta(hours=hours), "UTC", bounds.get("least"), bounds.get("most"), "office")
    return replace(SCALING, bounds=(window,))


def test_a_windows_minimum_stands_when_it_opens_and_its_maximum_holds_while_it_is_open() -> None:
    # It opens at 09:20. The lead of 15 minutes and the refresh of 5 reach 09:20 itself, but not beyond: not yet at
    # 09:00, and at 09:05 the decision must see to it.
    opens = windowed("20 9 * * *", 2, least=9)
    assert decide(situation(LOW, scaling=opens)).floor_after == 2
    later = NOW + FIVE
    ahead = decide(situation(LOW, scaling=opens, now=later, metric_at=later, forecast=forecast_of(LOW, origin=later)))
    assert ahead.floor_after == 9  # 7 more than 2, though the largest step is 4: the window does not wait
    assert "at least 9 by office" in said(ahead)
    assert decide(situation(HIGH, scaling=windowed("0 8 * * *", 2, most=5))).floor_after == 5
    assert decide(situation(HIGH, scaling=windowed("0 8 * * *", 1, most=5))).floor_after == 10  # closed at 09:00
    assert decide(situation(LOW, floor=10, scaling=windowed("0 8 * * *", 2, most=5))).floor_after == 8  # no cliff


def test_a_windows_minimum_stands_without_a_forecast_too() -> None:
    blind = decide(situation(LOW, scaling=windowed("0 8 * * *", 2, least=9), metric_at=NOW - minutes(20)))
    assert (blind.outcome, blind.floor_after) == ("raise", 9)


def test_of_one_kind_people_are_told_once() -> None:
    decision = decide(situation(HIGH, hpa=replace(hpa(4), room=3)))
    assert [warning.kind for warning in decision.warnings] == ["no_room"]
    assert "wanted, and" in decision.warnings[0].text


# What no situation may lead to. The forecast has a spread, the capacity an interval, and every input varies.

ROWS = st.lists(st.floats(0, 2000), min_size=36, max_size=36)


@st.composite
def situations(draw: st.DrawFn) -> Situation:
    operator_floor = draw(st.integers(1, 10))
    ceiling = operator_floor + draw(st.integers(0, 20))
    before = draw(st.integers(operator_floor, ceiling) | st.integers(1, 40))  # somebody may have moved the bounds
    ago = st.none() | st.integers(0, 120).map(lambda count: NOW - minutes(count))
    low = draw(st.floats(5, 50))
    window = BoundsWindow(
        draw(st.sampled_from(["0 8 * * *", "20 9 * * *", "0 * * * *"])), minutes(draw(st.integers(1, 300))), "UTC",
        draw(st.none() | st.integers(1, 40)), draw(st.none() | st.integers(1, 40)),
    )  # fmt: skip
    scaling = replace(
        SCALING,
        quantile=draw(st.sampled_from([0.5, 0.8, 0.95, 0.99])),
        largest_step=draw(st.integers(1, 10)),
        bounds=draw(st.sampled_from([(), (window,)])),
        change_budget=draw(st.integers(1, 3)),
    )
    state = replace(
        hpa(before, operator_floor=operator_floor, ceiling=ceiling),
        room=draw(st.none() | st.integers(0, 30)),
        pending=draw(st.integers(0, 3)),
        reverts=draw(st.integers(0, 3)),
    )
    return situation(
        [],
        forecast=forecast_of(draw(ROWS), spread=draw(st.floats(0, 1))),
        scaling=scaling,
        hpa=state,
        capacity=Capacity(low, low * draw(st.floats(1, 1.5)), "x"),
        mode=draw(st.sampled_from(["observe", "recommend", "act"])),
        backtest_passed=draw(st.booleans()),
        metric_at=draw(ago),
        last_lowered_at=draw(ago),
        last_raised_at=draw(ago),
        planned_at=draw(ago),
        burning=draw(st.sampled_from([(), ("a",)])),
        lead=draw(st.none() | st.integers(1, 30).map(minutes)),
        skill=draw(st.none() | st.builds(Skill, st.floats(0, 2), st.just(0.95), st.floats(0, 1), st.integers(0, 200))),
        changes_today=draw(st.integers(0, 4)),
        most_useful=draw(st.none() | st.integers(1, 40)),
        paused=draw(st.sampled_from([None, None, "by ada"])),
        day_plan=draw(st.sampled_from([False, False, True])),
        demand_now=draw(st.none() | st.floats(0, 600)),
        planned_floor=draw(st.none() | st.integers(1, 40)),
    )


@settings(max_examples=200)
@given(situations())
def test_no_situation_leads_out_of_the_bounds_or_lowers_by_a_cliff(seen: Situation) -> None:
    assert seen.hpa is not None
    decision, before = decide(seen), seen.hpa.floor
    after = decision.floor_after
    if seen.paused is not None:
        assert (after, decision.apply) == (before, False)
        return
    assert seen.hpa.operator_floor <= after <= seen.hpa.ceiling
    if before > seen.hpa.ceiling:
        assert after <= before
        return
    planned_before = before if seen.planned_floor is None else min(seen.planned_floor, before)
    assert planned_before - after <= max(1, planned_before // 5)
    assert all(seen.hpa.operator_floor <= planned.floor <= seen.hpa.ceiling for planned in decision.plan)
    assert decision.reasons
    assert decision.apply <= (after != before and seen.mode == "act" and seen.backtest_passed and seen.hpa.reverts < 2)
    if decision.outcome in {"keep", "no_plan"}:
        assert after == before
    if seen.burning:
        assert after >= before
    if seen.last_lowered_at is not None and NOW - seen.last_lowered_at < SCALING.cool_down:
        assert after >= planned_before
    if after > max(before, seen.hpa.operator_floor):
        if seen.most_useful is not None:
            assert after <= seen.most_useful
        if seen.hpa.pending:
            assert after <= seen.hpa.current
        elif seen.hpa.room is not None:
            assert after <= seen.hpa.current + seen.hpa.room
    if after != decision.floor_wanted:
        assert decision.guardrails
    assert len(kinds(decision)) == len(decision.warnings)


@given(ROWS, st.integers(2, 20), st.floats(0, 1))
def test_a_raise_over_the_largest_step_is_needed_within_the_lead(rows: list[float], floor: int, spread: float) -> None:
    forecast = forecast_of(rows, spread=spread)
    decision = decide(situation([], floor=floor, forecast=forecast))
    if decision.floor_after > floor + SCALING.largest_step:
        # at the quantile 0.95, the second of three, of the steps until 09:20
        assert decision.floor_after <= -(-max(rows[:4]) * (1 + spread) // 12)


@given(situations(), st.sampled_from([(0.5, 0.8), (0.8, 0.95), (0.95, 0.99)]))
def test_less_risk_never_means_fewer_replicas(seen: Situation, levels: tuple[float, float]) -> None:
    more, less = (decide(replace(seen, scaling=replace(seen.scaling, quantile=level))) for level in levels)
    assert more.floor_wanted <= less.floor_wanted
    assert more.floor_after <= less.floor_after


@given(situations(), st.floats(0.01, 100))
def test_the_floor_does_not_depend_on_the_unit_of_demand(seen: Situation, factor: float) -> None:
    assert isinstance(seen.forecast, Forecast)
    assert seen.capacity is not None
    frame = seen.forecast.frame.copy()
    frame.iloc[:, 1:] *= factor
    capacity = Capacity(seen.capacity.low_rps * factor, seen.capacity.high_rps * factor, "x")
    came = None if seen.demand_now is None else seen.demand_now * factor
    scaled = decide(replace(seen, forecast=replace(seen.forecast, frame=frame), capacity=capacity, demand_now=came))
    assert abs(scaled.floor_after - decide(seen).floor_after) <= 0


@given(situations())
def test_the_same_situation_is_decided_alike_and_what_was_done_is_not_done_again(seen: Situation) -> None:
    first = decide(seen)
    assert decide(seen) == first
    assert seen.hpa is not None
    done = replace(
        seen,
        hpa=replace(
            seen.hpa, floor=first.floor_after, current=max(seen.hpa.current, first.floor_after), room=None, pending=0
        ),
        last_lowered_at=NOW if first.outcome == "lower" else seen.last_lowered_at,
        planned_floor=first.planned_floor,
        mode="act",
    )
    again = decide(done)
    if first.outcome == "lower":
        assert again.floor_after >= first.floor_after  # the cool-down has begun
    if first.outcome == "raise" and first.floor_after == first.floor_wanted:
        assert again.outcome in {"keep", "no_plan"}


@given(situations())
def test_the_day_ahead_changes_no_decision(seen: Situation) -> None:
    whole, short = decide(replace(seen, day_plan=True)), decide(replace(seen, day_plan=False))
    assert replace(whole, plan=(), warnings=()) == replace(short, warnings=())


@pytest.mark.parametrize("mode", ["observe", "recommend"])
def test_modes_that_only_look_decide_as_act_would(mode: Mode) -> None:
    seen = situation(HIGH, mode=mode)
    assert decide(seen).floor_after == decide(replace(seen, mode="act")).floor_after == 10


def test_a_risk_from_costs_says_what_it_came_from() -> None:
    # 0.10 / 2 = 0.05; with 30 % of the budget left times 4^0.3 / 2 = 0.758: 0.0379
    scaling = replace(SCALING, quantile=0.95, risk=Risk(0.10, 2.0))
    decision = decide(situation([30.0] * 36, scaling=scaling, budget_left=0.3))
    assert decision.quantile == pytest.approx(1 - 0.0379, abs=1e-4)
    assert "risk 3.8%: 0.1 / 2 x 0.76 with 30% of the error budget left" in said(decision)


@settings(max_examples=200)
@given(situations(), st.floats(0.8, 0.98), st.floats(0, 1), st.floats(0, 300))
def test_what_has_come_to_a_paced_service_is_met_within_a_tenth(
    seen: Situation, risk: float, short: float, came: float
) -> None:
    assert seen.hpa is not None
    assert seen.capacity is not None
    paced = replace(
        seen,
        scaling=replace(seen.scaling, paced=True, bounds=()),
        pace=Pace(risk, short, timedelta(hours=1)),
        hpa=replace(seen.hpa, room=None, pending=0),
        demand_now=came,
        metric_at=NOW,
        skill=None,
        most_useful=None,
        paused=None,
    )
    decision = decide(paced)
    borne = 1.0 if seen.burning else 1.0 + MOST_OVERLOAD
    needed = math.ceil(came / (borne * seen.capacity.low_rps) - 1e-6)
    assert decision.planned_floor is not None
    assert decision.floor_after >= min(needed, seen.hpa.ceiling)
