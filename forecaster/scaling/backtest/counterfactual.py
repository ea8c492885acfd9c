"""With us and without us, week by week: the demand that came, with the floors that were set and the operator's own.

Both branches are simulated, also the one that happened: a measured branch beside a simulated one would tell of the
simulator's errors, not of the policy. The floors are those of the audit; the demand is the record's.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import pandas as pd

from forecaster.scaling.capacity import replicas_for
from forecaster.scaling.hpa import HpaSpec
from forecaster.scaling.simulator.simulate import SimulationResult, simulate
from forecaster.scaling.types import Capacity

WEEK = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class FloorSet:
    """From `at` on the floor was `floor`: a decision that was applied."""

    at: datetime
    floor: int


@dataclass(frozen=True, slots=True)
class WeekApart:
    """One week (the last one may be short) in both branches: minutes under-provisioned, and replica-hours."""

    starts_at: datetime
    ends_at: datetime
    with_us_minutes: float
    without_us_minutes: float
    with_us_replica_hours: float
    without_us_replica_hours: float


def weeks_apart(
    demand: pd.DataFrame,
    floors: Sequence[FloorSet],
    *,
    capacity: Capacity,
    spec: HpaSpec,
    start_delay: timedelta,
) -> list[WeekApart]:
    """Return the weeks from the first floor on, oldest first; none before a floor was set.

    demand: `ds`, `rps`, regular. floors: ascending. spec: the autoscaler, whose own floor is the operator's. A week of
    fewer than two steps is left out.
    """
    if not floors:
        return []
    found, start = [], floors[0].at
    end = demand["ds"].iloc[-1].to_pydatetime() if len(demand) else start
    while start <= end:
        week = demand[(demand["ds"] >= start) & (demand["ds"] < start + WEEK)]
        if len(week) >= 2 and week["rps"].notna().any():
            found.append(_week(week, floors, capacity, spec, start_delay))
        start += WEEK
    return found


def _week(
    week: pd.DataFrame, floors: Sequence[FloorSet], capacity: Capacity, spec: HpaSpec, start_delay: timedelta
) -> WeekApart:
    instants = [one.at for one in floors]
    first_rps = float(week["rps"].dropna().iloc[0])
    needed = replicas_for(first_rps, Capacity(spec.target_per_replica, spec.target_per_replica, "target"))

    def set_at(at: datetime) -> int:
        before = bisect_right(instants, at)
        return max(floors[before - 1].floor if before else spec.min_replicas, spec.min_replicas)

    def played(*, with_us: bool) -> SimulationResult:
        return simulate(
            week,
            capacity_rps=capacity.low_rps,
            spec=spec,
            start_delay=start_delay,
            floors=set_at if with_us else lambda _at: spec.min_replicas,
            initial=min(max(needed, spec.min_replicas), spec.max_replicas),
        )

    ours, theirs = played(with_us=True), played(with_us=False)
    step = week["ds"].iloc[1] - week["ds"].iloc[0]
    return WeekApart(
        starts_at=week["ds"].iloc[0].to_pydatetime(),
        ends_at=(week["ds"].iloc[-1] + step).to_pydatetime(),
        with_us_minutes=ours.under_provisioned_seconds / 60,
        without_us_minutes=theirs.under_provisioned_seconds / 60,
        with_us_replica_hours=ours.replica_seconds / 3600,
        without_us_replica_hours=theirs.replica_seconds / 3600,
    )
