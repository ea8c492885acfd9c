"""The autoscaler's algorithm against worked examples; every expected number is derived in a comment."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecaster.scaling.hpa import HpaMemory, HpaReading, HpaSpec, ScalingPolicy, SelectPolicy, recommend

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
SPEC = HpaSpec(min_replicas=2, max_replicas=20, target_per_replica=10.0)


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


def reading(current: int, metric: float | None, *, ready: int | None = None) -> HpaReading:
    return HpaReading(current=current, ready=current if ready is None else ready, metric_per_replica=metric)


@pytest.mark.parametrize(
    ("current", "metric", "desired"),
    [
        (4, 15.0, 6),  # ratio 1.5 * 4 = 6
        (4, 12.6, 6),  # ratio 1.26 * 4 = 5.04, rounded up
        (4, 11.0, 4),  # ratio 1.1 is inside the 10 % tolerance
        (4, 11.1, 5),  # ratio 1.11 * 4 = 4.44, rounded up
        (4, 9.0, 4),  # ratio 0.9 is inside the tolerance
        (2, 90.0, 6),  # wanted 18; 100 % allows 4, four pods allow 6: the policy that allows more counts
        (6, 90.0, 12),  # wanted 54; 100 % allows 12, four pods allow 10
        (15, 30.0, 20),  # wanted 45, 100 % allows 30, max is 20
    ],
)
def test_it_scales_up_by_the_ratio_of_metric_to_target(current: int, metric: float, desired: int) -> None:
    assert recommend(SPEC, HpaMemory(), reading(current, metric), now=NOW).desired == desired


def test_below_the_floor_it_jumps_there_with_metrics_down_and_without_policies() -> None:
    spec = HpaSpec(min_replicas=14, max_replicas=20, target_per_replica=10.0)
    assert recommend(spec, HpaMemory(), reading(2, None), now=NOW).desired == 14


def test_above_the_ceiling_it_drops_there_at_once() -> None:
    high = HpaMemory(recommendations=((NOW - seconds(15), 25),))
    assert recommend(SPEC, high, reading(25, 10.0), now=NOW).desired == 20


def test_with_metrics_down_it_keeps_what_is_and_records_nothing() -> None:
    memory = HpaMemory(recommendations=((NOW - seconds(15), 7),))
    answer = recommend(SPEC, memory, reading(7, None), now=NOW)
    assert answer.desired == 7
    assert answer.memory == memory


def test_with_no_ready_replica_there_is_no_metric_to_trust() -> None:
    assert recommend(SPEC, HpaMemory(), reading(4, 0.0, ready=0), now=NOW).desired == 4


def test_at_zero_replicas_scaling_is_disabled() -> None:
    assert recommend(SPEC, HpaMemory(), reading(0, 50.0), now=NOW).desired == 0


def test_starting_replicas_count_as_idle_when_scaling_up() -> None:
    # 4 ready at 15 rps and 2 starting: 60 rps over 6 = ratio 1.0, so nothing more is asked for.
    assert recommend(SPEC, HpaMemory(), reading(6, 15.0, ready=4), now=NOW).desired == 6
    # 4 ready at 20 and 2 starting: 80 rps over 6 = ratio 1.33; 80 / 10 = 8.
    assert recommend(SPEC, HpaMemory(), reading(6, 20.0, ready=4), now=NOW).desired == 8
    # 4 ready at 11.5 and 4 starting: 46 rps over 8 = ratio 0.58, the direction turned: keep 8, never fewer.
    assert recommend(SPEC, HpaMemory(), reading(8, 11.5, ready=4), now=NOW).desired == 8


def test_starting_replicas_do_not_count_when_scaling_down() -> None:
    # 4 ready at 5 rps, 2 starting, nothing higher remembered but the 6 found at start: the window holds 6 ...
    first = recommend(SPEC, HpaMemory(), reading(6, 5.0, ready=4), now=NOW)
    assert first.desired == 6
    # ... and what was recorded is ceil(0.5 * 4) = 2.
    assert first.memory.recommendations[-1] == (NOW, 2)


@pytest.mark.parametrize(
    ("ready", "missing", "metric", "desired"),
    [
        # 6 of 8 tell 5 rps: ratio 0.5; the two that do not count as at the target: (3 + 2) / 8 = 0.625, ceil(5.0) = 5
        (6, 2, 5.0, 5),
        # 4 of 8 tell 9.2: ratio 0.92, within the tolerance with or without the four
        (4, 4, 9.2, 8),
        # 6 of 8 tell 15: ratio 1.5; the two count as idle: 9 / 8 = 1.125, ceil(9.0) = 9, not 12
        (6, 2, 15.0, 9),
        # 4 of 8 tell 12: ratio 1.2; with four idle ones 0.6, the direction has turned: nothing changes
        (4, 4, 12.0, 8),
        # 5 tell 15, 1 tells nothing, 2 are starting: all three idle: 7.5 / 8 = 0.94: nothing changes
        (5, 1, 15.0, 8),
        # the same scaling down: those that start are not there, the one without a metric is at the target:
        # (2.5 + 1) / 6 = 0.58, ceil(3.5) = 4
        (5, 1, 5.0, 4),
    ],
)
def test_what_has_no_metric_counts_against_the_change(ready: int, missing: int, metric: float, desired: int) -> None:
    at_once = HpaSpec(min_replicas=2, max_replicas=20, target_per_replica=10.0, scale_down_stabilization=seconds(0))
    looked = HpaReading(current=8, ready=ready, metric_per_replica=metric, missing=missing)
    assert recommend(at_once, HpaMemory(), looked, now=NOW).desired == desired


@pytest.mark.parametrize(
    ("select", "up", "down"),
    [
        ("Max", 16, 4),  # of 8: 100 % allows 16 and 2 pods 10; 50 % leaves 4 and 1 pod 7
        ("Min", 10, 7),
        ("Disabled", 8, 8),
    ],
)
def test_the_policy_selected_allows_the_most_or_the_least_or_nothing(select: SelectPolicy, up: int, down: int) -> None:
    spec = HpaSpec(
        min_replicas=1,
        max_replicas=50,
        target_per_replica=10.0,
        scale_down_stabilization=seconds(0),
        scale_up_policies=(ScalingPolicy("percent", 100, seconds(60)), ScalingPolicy("pods", 2, seconds(60))),
        scale_down_policies=(ScalingPolicy("percent", 50, seconds(60)), ScalingPolicy("pods", 1, seconds(60))),
        scale_up_select=select,
        scale_down_select=select,
    )
    assert recommend(spec, HpaMemory(), reading(8, 40.0), now=NOW).desired == up  # wanted 32
    assert recommend(spec, HpaMemory(), reading(8, 1.0), now=NOW).desired == down  # wanted 1


def test_each_direction_may_have_its_own_tolerance() -> None:
    spec = HpaSpec(
        min_replicas=1,
        max_replicas=50,
        target_per_replica=10.0,
        scale_down_stabilization=seconds(0),
        scale_up_tolerance=0.05,
        scale_down_tolerance=0.5,
    )
    assert recommend(spec, HpaMemory(), reading(10, 10.8), now=NOW).desired == 11  # 1.08 * 10, above 1.05
    assert recommend(spec, HpaMemory(), reading(10, 6.0), now=NOW).desired == 10  # 0.6, inside 0.5


@pytest.mark.parametrize(
    ("current", "metric", "desired"),
    [
        (3, 200.0, 6),  # the documentation: twice the desired metric doubles the replicas,
        (4, 50.0, 2),  # and half of it halves them
    ],
)
def test_the_worked_examples_of_the_documentation(current: int, metric: float, desired: int) -> None:
    spec = HpaSpec(min_replicas=1, max_replicas=50, target_per_replica=100.0, scale_down_stabilization=seconds(0))
    assert recommend(spec, HpaMemory(), reading(current, metric), now=NOW).desired == desired


def test_the_documentation_scales_80_down_by_ten_percent_and_then_by_four_pods() -> None:
    # ten percent or four pods a minute, the most counts: 80 to 72 and on, and four pods from 40 replicas down
    spec = HpaSpec(
        min_replicas=10,
        max_replicas=100,
        target_per_replica=100.0,
        scale_down_stabilization=seconds(0),
        scale_down_policies=(ScalingPolicy("pods", 4, seconds(60)), ScalingPolicy("percent", 10, seconds(60))),
    )
    replicas, memory, seen = 80, HpaMemory(), []
    for minute in range(12):
        answer = recommend(spec, memory, reading(replicas, 1.0), now=NOW + seconds(60 * minute))
        replicas, memory = answer.desired, answer.memory
        seen.append(replicas)
    # the source cuts 90 % down to a whole number: 72, 64.8, 57.6, 51.3, 45.9, 40.5; then 4 pods from 40 on
    assert seen == [72, 64, 57, 51, 45, 40, 36, 32, 28, 24, 20, 16]


def test_it_scales_down_to_the_highest_recommendation_of_the_last_300_seconds() -> None:
    memory = HpaMemory(recommendations=((NOW - seconds(299), 7), (NOW - seconds(15), 3)))
    # now wants ceil(0.4 * 10) = 4; 7 was wanted 299 s ago.
    assert recommend(SPEC, memory, reading(10, 4.0), now=NOW).desired == 7
    # one second later that is 300 s ago, out of the window: 4 is the most.
    assert recommend(SPEC, memory, reading(10, 4.0), now=NOW + seconds(1)).desired == 4


def test_a_released_floor_is_a_cliff_because_the_window_holds_unfloored_recommendations() -> None:
    held = HpaSpec(min_replicas=10, max_replicas=20, target_per_replica=10.0)
    memory = HpaMemory(recommendations=((NOW, 10),))
    for sync in range(1, 25):  # 360 s at 3 rps per replica: each records ceil(0.3 * 10) = 3, and stays at 10
        answer = recommend(held, memory, reading(10, 3.0), now=NOW + seconds(15 * sync))
        assert answer.desired == 10
        memory = answer.memory
    assert recommend(SPEC, memory, reading(10, 3.0), now=NOW + seconds(375)).desired == 3


def test_up_stabilization_takes_the_lowest_recommendation_of_its_window() -> None:
    spec = HpaSpec(min_replicas=2, max_replicas=20, target_per_replica=10.0, scale_up_stabilization=seconds(60))
    memory = HpaMemory(recommendations=((NOW - seconds(45), 5), (NOW - seconds(30), 9)))
    # now wants 12, 5 was wanted 45 s ago: 5 is what every moment of the window wanted at least.
    assert recommend(spec, memory, reading(4, 30.0), now=NOW).desired == 5


def test_up_policies_count_what_their_period_already_added() -> None:
    spec = HpaSpec(
        min_replicas=2,
        max_replicas=50,
        target_per_replica=10.0,
        scale_up_policies=(ScalingPolicy("pods", 4, seconds(60)),),
    )
    memory = HpaMemory(((NOW, 8),), scale_events=((NOW - seconds(70), 2), (NOW - seconds(30), 3)))
    # 3 were added within the last 60 s (70 s ago is past): 8 - 3 + 4 = 9 are allowed, 16 wanted.
    assert recommend(spec, memory, reading(8, 20.0), now=NOW).desired == 9


def test_down_policies_count_what_their_period_already_removed() -> None:
    spec = HpaSpec(
        min_replicas=1,
        max_replicas=50,
        target_per_replica=10.0,
        scale_down_stabilization=seconds(0),
        scale_down_policies=(ScalingPolicy("percent", 10, seconds(60)),),
    )
    memory = HpaMemory(((NOW, 18),), scale_events=((NOW - seconds(30), -1),))
    # the period began with 18 + 1 = 19; 90 % of it is 17.1, cut to 17: one more may go; 9 wanted.
    assert recommend(spec, memory, reading(18, 5.0), now=NOW).desired == 17


def test_a_change_is_remembered_as_a_scale_event_and_old_memory_is_dropped() -> None:
    old = HpaMemory(((NOW - seconds(3600), 4), (NOW - seconds(60), 4)), ((NOW - seconds(3600), 2),))
    answer = recommend(SPEC, old, reading(4, 15.0), now=NOW)
    assert answer.memory == HpaMemory(((NOW - seconds(60), 4), (NOW, 6)), ((NOW, 2),))


@given(
    floor=st.integers(1, 12),
    above=st.integers(0, 20),
    current=st.integers(1, 40),
    starting=st.integers(0, 10),
    metric=st.none() | st.floats(0, 1e6),
    past=st.lists(st.integers(0, 60), max_size=25),
)
def test_what_it_wants_never_leaves_the_bounds(
    floor: int, above: int, current: int, starting: int, metric: float | None, past: list[int]
) -> None:
    spec = HpaSpec(min_replicas=floor, max_replicas=floor + above, target_per_replica=10.0)
    memory = HpaMemory(tuple((NOW - seconds(15 * (len(past) - i)), wanted) for i, wanted in enumerate(past)))
    now_reading = HpaReading(current, max(0, current - starting), metric)
    assert floor <= recommend(spec, memory, now_reading, now=NOW).desired <= floor + above
