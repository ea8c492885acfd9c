"""The simulator against an example worked out by hand, and the laws that hold for any demand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecaster.scaling.hpa import HpaSpec
from forecaster.scaling.simulate import SimulationResult, simulate

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
SPEC = HpaSpec(min_replicas=2, max_replicas=20, target_per_replica=10.0)
TWO_MINUTES = timedelta(minutes=2)


def demand_of(rps: list[float], step_seconds: float = 60) -> pd.DataFrame:
    starts = pd.to_datetime(START.timestamp() + step_seconds * np.arange(len(rps)), unit="s", utc=True)
    return pd.DataFrame({"ds": starts, "rps": rps})


def run(rps: list[float], *, capacity: float = 12.0, floor: int = 2, initial: int = 2) -> SimulationResult:
    return simulate(
        demand_of(rps),
        capacity_rps=capacity,
        spec=SPEC,
        start_delay=TWO_MINUTES,
        floors=lambda _at: floor,
        initial=initial,
    )


def at(result: SimulationResult, second: int) -> tuple[int, int]:
    row = result.timeline[result.timeline["ds"] == START + timedelta(seconds=second)].iloc[0]
    return int(row["current"]), int(row["ready"])


def test_a_doubling_of_demand_is_followed_as_worked_out_by_hand() -> None:
    # 20 rps for a minute, then 40; two replicas, target 10, two minutes to start, capacity 12.
    result = run([20.0, 40.0, 40.0, 40.0, 40.0])
    # 75 s: the mean of what has been is (60 * 20 + 15 * 40) / 75 = 24, 12 each, ratio 1.2: ceil(2.4) = 3
    assert at(result, 60) == (2, 2)
    assert at(result, 75) == (3, 2)
    # 120 s: mean 30, 15 each of 2 ready; counting the one that starts 1.5 * 2 / 3 = 1.0: nothing to do
    assert at(result, 120) == (3, 2)
    # 135 s: mean of the last two minutes (45 * 20 + 75 * 40) / 120 = 32.5; 1.625 * 2 / 3 = 1.08: within the tolerance
    assert at(result, 135) == (3, 2)
    # 150 s: mean 35, 17.5 each; 1.75 * 2 / 3 = 1.17: ceil(1.75 * 2) = 4
    assert at(result, 150) == (4, 2)
    # 195 s on: 40 rps, 1.33 * 3 / 4 = 1.0. Ready at 75 + 120 = 195 s and 150 + 120 = 270 s.
    assert at(result, 195) == (4, 3)
    assert at(result, 270) == (4, 4)
    # 40 rps need 4 replicas (48); 3 carry 36: under-provisioned from 60 s to 270 s
    assert result.under_provisioned_seconds == pytest.approx(210.0)
    # 2 until 75 s, 3 until 150 s, 4 until 300 s: 150 + 225 + 600
    assert result.replica_seconds == pytest.approx(975.0)


def test_a_floor_set_before_the_rise_leaves_nobody_under_provisioned() -> None:
    result = simulate(
        demand_of([20.0, 20.0, 20.0, 40.0, 40.0]),
        capacity_rps=12.0,
        spec=SPEC,
        start_delay=TWO_MINUTES,
        floors=lambda now: 4 if now >= START + timedelta(minutes=1) else 2,
        initial=2,
    )
    # raised at 60 s, ready at 180 s, which is when demand rises
    assert result.under_provisioned_seconds == 0.0
    # 2 for 60 s, then 4 for 240 s
    assert result.replica_seconds == pytest.approx(120 + 960)


def test_a_replica_becomes_ready_between_two_syncs_when_its_delay_says_so() -> None:
    # the floor of 3 is asked for at 0 s, ready after 20 s; 30 rps need 3: under for exactly 20 s
    result = simulate(
        demand_of([30.0] * 2),
        capacity_rps=10.0,
        spec=SPEC,
        start_delay=timedelta(seconds=20),
        floors=lambda _at: 3,
        initial=2,
    )
    assert result.under_provisioned_seconds == pytest.approx(20.0)


def test_a_gap_in_demand_is_no_demand_to_judge_and_no_metric_to_scale_by() -> None:
    nan = float("nan")
    result = run([40.0, nan, nan, nan, nan, nan, nan, nan, nan, nan], initial=4)
    assert result.timeline["current"].eq(4).all()  # metrics down: nothing moves, the last minute's mean was 10 each
    assert result.under_provisioned_seconds == 0.0


def test_demand_at_exactly_what_is_carried_is_carried() -> None:
    assert run([24.0, 24.0]).under_provisioned_seconds == 0.0


@settings(max_examples=40)
@given(
    rps=st.lists(st.floats(0, 300), min_size=2, max_size=40),
    floor=st.integers(1, 20),
    initial=st.integers(1, 20),
    delay=st.integers(0, 400),
    capacity=st.floats(5, 30),
)
def test_replicas_and_seconds_are_conserved(
    rps: list[float], floor: int, initial: int, delay: int, capacity: float
) -> None:
    def played(capacity_rps: float) -> SimulationResult:
        return simulate(
            demand_of(rps),
            capacity_rps=capacity_rps,
            spec=SPEC,
            start_delay=timedelta(seconds=delay),
            floors=lambda _at: floor,
            initial=initial,
        )

    result = played(capacity)
    frame, duration = result.timeline, 60.0 * len(rps)
    assert (frame["ready"] <= frame["current"]).all()
    assert (frame["current"] == frame["desired"]).all()
    assert frame["current"].between(floor, 20).all()
    # what is paid for is what exists, sync by sync
    assert result.replica_seconds == pytest.approx(15.0 * frame["current"].sum())
    assert floor * duration <= result.replica_seconds <= 20 * duration
    assert 0 <= result.under_provisioned_seconds <= duration
    # a stronger replica never leaves more users behind, and costs the same
    stronger = played(capacity * 2)
    assert stronger.under_provisioned_seconds <= result.under_provisioned_seconds
    assert stronger.replica_seconds == result.replica_seconds
    # a replica is ready no sooner than its delay after it was asked for
    ready, current = frame["ready"].to_numpy(), frame["current"].to_numpy()
    gained = np.maximum(np.diff(ready), 0)
    for sync in np.flatnonzero(gained):
        if delay > 0:
            before = max(0, sync + 1 - -(-delay // 15))
            assert ready[sync + 1] <= max(initial, current[: before + 1].max())


def test_a_day_is_played_at_every_sync() -> None:
    assert len(run([20.0] * 1440).timeline) == 5760
