"""Lanes side by side are the autoscaler step by step; and the laws that hold for any demand, floor and setting."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecaster.scaling.backlog import queue_up
from forecaster.scaling.course import Course, from_table, run_course, steady
from forecaster.scaling.hpa import HpaSpec, ScalingPolicy
from forecaster.scaling.simulate import DemandSteps, SimulatedCluster, demand_steps, play
from forecaster.scaling.toll import tolls

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
STEP = 60.0
CAPACITY = 12.0


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


def spec(**changes: object) -> HpaSpec:
    plain: dict[str, object] = {"min_replicas": 1, "max_replicas": 20, "target_per_replica": 10.0}
    return HpaSpec(**{**plain, **changes})  # type: ignore[arg-type]  # one test asks for many shapes


def demand_of(rps: list[float], step: float = STEP) -> DemandSteps:
    starts = pd.to_datetime(START.timestamp() + step * np.arange(len(rps)), unit="s", utc=True)
    return demand_steps(pd.DataFrame({"ds": starts, "rps": rps}))


def course_of(
    rps: list[float],
    floors: list[int],
    *,
    initial: int = 2,
    target: float = 10.0,
    delay: float = 120,
    step: float = STEP,
) -> Course:
    lanes = np.array(floors)
    return run_course(
        demand_of(rps),
        spec=spec(),
        targets=np.full(len(lanes), target),
        ceilings=np.full(len(lanes), 20),
        start_delay=seconds(delay),
        initial=np.maximum(lanes, initial),
        floors_at=steady(lanes),
    )


SPECS = st.builds(
    spec,
    sync=st.sampled_from([seconds(15), seconds(20)]),
    tolerance=st.sampled_from([0.0, 0.1, 0.3]),
    scale_up_tolerance=st.sampled_from([None, 0.05]),
    scale_up_stabilization=st.sampled_from([seconds(0), seconds(60)]),
    scale_down_stabilization=st.sampled_from([seconds(0), seconds(50), seconds(300)]),
    scale_up_policies=st.sampled_from(
        [
            HpaSpec.__dataclass_fields__["scale_up_policies"].default,
            (ScalingPolicy("pods", 2, seconds(60)), ScalingPolicy("percent", 50, seconds(30))),
        ]
    ),
    scale_down_policies=st.sampled_from(
        [(ScalingPolicy("percent", 100, seconds(15)),), (ScalingPolicy("percent", 20, seconds(60)),)]
    ),
    scale_up_select=st.sampled_from(["Max", "Min", "Disabled"]),
    scale_down_select=st.sampled_from(["Max", "Min"]),
)
RPS = st.lists(st.floats(0, 250) | st.just(float("nan")), min_size=2, max_size=25)


@settings(max_examples=30)
@given(
    autoscaler=SPECS,
    rps=RPS,
    floors=st.lists(st.lists(st.integers(1, 20), min_size=3, max_size=3), min_size=1, max_size=6),
    initial=st.lists(st.integers(1, 24), min_size=3, max_size=3),
    delay=st.sampled_from([0, 20, 97, 120, 300]),
)
def test_every_lane_has_the_replicas_of_the_autoscaler_played_alone(
    autoscaler: HpaSpec, rps: list[float], floors: list[list[int]], initial: list[int], delay: int
) -> None:
    demand, table = demand_of(rps), np.array(floors)
    times = demand.starts[0] + 150.0 * np.arange(len(table))
    targets, ceilings = np.array([10.0, 7.0, 13.0]), np.array([20, 18, 22])
    table = np.minimum(table, 18)
    course = run_course(
        demand,
        spec=autoscaler,
        targets=targets,
        ceilings=ceilings,
        start_delay=seconds(delay),
        initial=np.array(initial),
        floors_at=from_table(times, table),
    )
    for lane in range(3):
        alone = HpaSpec(
            **{name: getattr(autoscaler, name) for name in HpaSpec.__slots__}
            | {"target_per_replica": float(targets[lane]), "max_replicas": int(ceilings[lane])}
        )
        cluster = SimulatedCluster(spec=alone, start_delay=seconds(delay), ready=initial[lane])
        floor_at = from_table(times, table)

        def floor(at: float, _cluster: SimulatedCluster, lane: int = lane, floor_at=floor_at) -> int:  # type: ignore[no-untyped-def]  # bound here
            return int(floor_at(at, None)[lane])  # type: ignore[arg-type]  # a table looks at no lanes

        result = play(demand, cluster, sync=autoscaler.sync, capacity_rps=CAPACITY, floor_at=floor)
        syncs = np.arange(demand.starts[0], demand.end, autoscaler.sync.total_seconds())
        at_sync = np.isin(course.starts, syncs)
        assert course.current[at_sync, lane].tolist() == result.timeline["current"].tolist()
        assert course.ready[at_sync, lane].tolist() == result.timeline["ready"].tolist()
        [toll] = tolls(_only(course, lane), demand, capacity_rps=CAPACITY, floor=1)[0]
        assert toll.replica_hours == pytest.approx(result.replica_seconds / 3600)
        assert toll.under_provisioned_minutes == pytest.approx(result.under_provisioned_seconds / 60)


def _only(course: Course, lane: int) -> Course:
    one = slice(lane, lane + 1)
    return Course(course.starts, course.end, course.rps, course.ready[:, one], course.current[:, one])


@settings(max_examples=30)
@given(rps=RPS, floors=st.lists(st.integers(1, 20), min_size=1, max_size=4), delay=st.sampled_from([0, 97, 120]))
def test_what_is_paid_for_is_what_exists_and_nobody_is_lost(rps: list[float], floors: list[int], delay: int) -> None:
    course, demand = course_of(rps, floors, delay=delay), demand_of(rps)
    found, blocks = tolls(course, demand, capacity_rps=CAPACITY, floor=1)
    queued = queue_up(course, capacity_rps=CAPACITY)
    assert (course.ready >= 0).all()
    assert (course.ready <= course.current).all()
    assert (course.current <= 20).all()
    known = np.nan_to_num(np.array(rps))
    for lane, toll in enumerate(found):
        # replica-seconds are the integral of the current replicas
        assert toll.replica_hours * 3600 == pytest.approx(float(course.spans @ course.current[:, lane]))
        assert blocks.replica_hours[:, lane].sum() == pytest.approx(toll.replica_hours)
        assert 0 <= toll.under_provisioned_minutes <= toll.minutes + 1e-9
        assert toll.minutes == pytest.approx(np.isfinite(rps).sum())  # steps of a minute
    # arrived = served + dropped + waiting, and arrived is the demand
    assert queued.arrived == pytest.approx(np.full(len(floors), known.sum() * STEP))
    assert queued.served + queued.dropped + queued.waiting == pytest.approx(queued.arrived, abs=1e-6)
    for part in (queued.served, queued.dropped, queued.waiting, queued.violating):
        assert (part >= -1e-9).all()
    assert (queued.violating <= queued.arrived + 1e-9).all()


@settings(max_examples=30)
@given(rps=RPS, fewer=st.lists(st.integers(0, 20), min_size=25, max_size=25), more=st.integers(0, 5))
def test_more_replicas_never_leave_more_users_behind(rps: list[float], fewer: list[int], more: int) -> None:
    demand = demand_of(rps)
    ready = np.array(fewer[: len(rps)])
    both = np.stack([ready, ready + more], axis=1)
    course = Course(demand.starts, demand.end, demand.rps, both, both)
    [low, high], _ = tolls(course, demand, capacity_rps=CAPACITY, floor=1)
    queued = queue_up(course, capacity_rps=CAPACITY)
    assert high.under_provisioned_minutes <= low.under_provisioned_minutes
    assert high.unserved_ratio <= low.unserved_ratio + 1e-12
    assert queued.dropped[1] <= queued.dropped[0] + 1e-6


@settings(max_examples=60)
@given(rps=RPS, fewer=st.integers(0, 20), more=st.integers(0, 5))
def test_more_replicas_all_the_time_never_let_more_users_wait(rps: list[float], fewer: int, more: int) -> None:
    # All the time: where everybody is turned away for a while, who comes next finds no line, which more replicas had.
    demand = demand_of(rps)
    both = np.tile([fewer, fewer + more], (len(rps), 1))
    queued = queue_up(Course(demand.starts, demand.end, demand.rps, both, both), capacity_rps=CAPACITY)
    assert queued.violating[1] <= queued.violating[0] + 1e-6


@pytest.mark.parametrize("rps", [0.0, 7.0, 10.0])
def test_a_constant_demand_that_one_replica_carries_stays_with_one(rps: float) -> None:
    course = course_of([rps] * 30, [1], initial=1)
    assert (course.current == 1).all()
    assert (course.ready == 1).all()


def test_the_queue_is_as_worked_out_by_hand() -> None:
    # One replica of 12 rps, ticks of 10 s: 15, 15, 60 and 0 rps. Patience 10 s: the line holds 120 at most.
    demand = demand_of([15.0, 15.0, 60.0, 0.0], step=10)
    one = np.ones((4, 1), dtype=int)
    queued = queue_up(Course(demand.starts, demand.end, demand.rps, one, one), capacity_rps=12.0)
    # line 30, 60, then 60 + 600 - 120 = 540 of which 420 are dropped; then 120 - 120 = 0
    assert queued.dropped.tolist() == [420.0]
    assert queued.served.tolist() == [480.0]  # 900 - 420: 12 rps for 40 s
    assert queued.waiting.tolist() == [0.0]
    # the wait at the end of each of the first three ticks is 2.5, 5 and 10 s, above the bearable one: 150 + 150 + 600
    assert queued.violating.tolist() == [900.0]


def test_tolls_are_as_worked_out_by_hand() -> None:
    # Two replicas of 12; 20, 30, 36, 20 rps, a minute each. Needed: 2, 3, 3, 2. A third is ready for the fourth minute.
    demand = demand_of([20.0, 30.0, 36.0, 20.0])
    ready, current = np.array([[2], [2], [2], [3]]), np.array([[2], [2], [3], [3]])
    [toll], _ = tolls(Course(demand.starts, demand.end, demand.rps, ready, current), demand, capacity_rps=12.0, floor=1)
    assert toll.under_provisioned_minutes == 2.0
    assert toll.unserved_ratio == pytest.approx((6 + 12) / 106)
    assert toll.worst_depth == pytest.approx(12 / 36)
    assert toll.mean_depth == pytest.approx((6 + 12) / (30 + 36))
    assert toll.replica_hours == pytest.approx((2 + 2 + 3 + 3) / 60)
    assert toll.over_replica_hours == pytest.approx(1 / 60)  # the fourth minute has one too many
    assert (toll.scale_events, toll.flips) == (1, 0)
    assert toll.lead_margin_minutes == pytest.approx(-1.0)  # one rise, and all of its minute was short
