"""Replicas over time for a given demand: the autoscaler's own code, a start delay, and a floor that somebody sets.

It judges policies: how long was demand above what the ready replicas carry, and how many replica-seconds were paid for.
Who decides the floor is left to the caller (`backtest` calls the live decision).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from forecaster.scaling.hpa import METRIC_WINDOW, HpaMemory, HpaReading, HpaSpec, recommend

_UNDER_TOLERANCE = 1e-9

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class SimulationResult:
    """timeline: per sync `ds`, `rps` (NaN = gap), `floor`, `desired`, `current`, `ready` (all as left by that sync).

    under_provisioned_seconds: time with demand above ready replicas times capacity; a gap in demand counts for nothing.
    replica_seconds: replicas paid for, starting ones included.
    """

    timeline: pd.DataFrame
    under_provisioned_seconds: float
    replica_seconds: float


class SimulatedCluster:
    """Replicas that start with a delay and stop at once, one sync at a time. Times are epoch seconds."""

    def __init__(self, *, spec: HpaSpec, start_delay: timedelta, ready: int) -> None:
        self._spec = spec
        self._start_delay = start_delay.total_seconds()
        self._memory = HpaMemory()
        self._starting: list[float] = []  # when each becomes ready, ascending
        self.ready = ready
        self.desired = ready
        self.ready_changes: list[tuple[float, int]] = []  # (when, change of ready)

    @property
    def current(self) -> int:
        """Return the replicas that exist, starting ones included."""
        return self.ready + len(self._starting)

    def sync(self, at: float, *, floor: int, rps: float | None) -> None:
        """One sync of the autoscaler: rps is demand over METRIC_WINDOW, None when metrics are down."""
        self.settle(at)
        per_replica = None if rps is None or self.ready == 0 else rps / self.ready
        reading = HpaReading(current=self.current, ready=self.ready, metric_per_replica=per_replica)
        answer = recommend(_with_floor(self._spec, floor), self._memory, reading, now=datetime.fromtimestamp(at, UTC))
        self._memory, self.desired = answer.memory, answer.desired
        missing = self.desired - self.current
        if missing > 0 and self._start_delay > 0:
            self._starting += [at + self._start_delay] * missing
        elif missing > 0:
            self._change_ready(at, missing)
        elif missing < 0:
            self._stop(at, -missing)

    def settle(self, at: float) -> None:
        """Let everything that has finished starting by `at` be ready, at the time it became so."""
        while self._starting and self._starting[0] <= at:
            self._change_ready(self._starting.pop(0), 1)

    def _stop(self, at: float, count: int) -> None:
        """Stop at once; those that serve nothing yet go first, newest first."""
        idle = min(count, len(self._starting))
        del self._starting[len(self._starting) - idle :]
        if count > idle:
            self._change_ready(at, idle - count)

    def _change_ready(self, at: float, change: int) -> None:
        self.ready += change
        self.ready_changes.append((at, change))


def _with_floor(spec: HpaSpec, floor: int) -> HpaSpec:
    return spec if floor == spec.min_replicas else replace(spec, min_replicas=floor)


@dataclass(frozen=True, slots=True)
class DemandSteps:
    """Demand as steps: rps holds from each start (epoch seconds) to the next; NaN = gap."""

    starts: Array
    rps: Array
    step_seconds: float

    @property
    def end(self) -> float:
        """Return the end of the last step."""
        return float(self.starts[-1] + self.step_seconds)

    def at(self, times: Array) -> Array:
        """Return the demand at each time; NaN outside."""
        index = np.searchsorted(self.starts, times, side="right") - 1
        inside = (index >= 0) & (times < self.starts[np.maximum(index, 0)] + self.step_seconds)
        found: Array = np.where(inside, self.rps[np.maximum(index, 0)], np.nan)
        return found

    def metric_at(self, times: Array) -> Array:
        """Return what a metric over METRIC_WINDOW tells at each time: the mean before it; NaN where nothing is known.

        It sees what has come of a step that has not ended, as an autoscaler does of the traffic inside it.
        """
        return Came(self).mean_before(times, METRIC_WINDOW)


class Came:
    """What has come by any instant of known demand, a step under way included: means over spans that end there."""

    def __init__(self, demand: DemandSteps) -> None:
        """Sum it up once."""
        known = np.isfinite(demand.rps)
        self._edges = np.append(demand.starts, demand.end)
        lengths = np.diff(self._edges)
        self._served = np.concatenate([[0.0], np.cumsum(np.where(known, demand.rps, 0.0) * lengths)])
        self._seen = np.concatenate([[0.0], np.cumsum(known * lengths)])
        self._one_by_one = (self._edges.tolist(), self._served.tolist(), self._seen.tolist())

    def mean_before(self, times: Array, span: timedelta) -> Array:
        """Return the mean demand of the span before each time; NaN where nothing of it is known."""
        before = times - span.total_seconds()
        amount = np.interp(times, self._edges, self._served) - np.interp(before, self._edges, self._served)
        seconds = np.interp(times, self._edges, self._seen) - np.interp(before, self._edges, self._seen)
        enough = seconds > _UNDER_TOLERANCE
        means: Array = np.divide(np.maximum(amount, 0.0), seconds, out=np.full_like(amount, np.nan), where=enough)
        return means

    def latest_mean(self, at: float, span: timedelta) -> float | None:
        """Return the same before one instant, quickly, for who asks at every sync; None where nothing is known."""
        served, seen = self._sums(at)
        served_before, seen_before = self._sums(at - span.total_seconds())
        seconds = seen - seen_before
        return max(served - served_before, 0.0) / seconds if seconds > _UNDER_TOLERANCE else None

    def _sums(self, at: float) -> tuple[float, float]:
        edges, served, seen = self._one_by_one
        index = bisect_right(edges, at) - 1
        if index < 0:
            return served[0], seen[0]
        if index >= len(edges) - 1:
            return served[-1], seen[-1]
        into, length = at - edges[index], edges[index + 1] - edges[index]
        return (
            (served[index + 1] - served[index]) / length * into + served[index],
            (seen[index + 1] - seen[index]) / length * into + seen[index],
        )


def demand_steps(demand: pd.DataFrame) -> DemandSteps:
    """Return a frame (`ds` aware, ascending, regular; `rps`, NaN = gap) as steps. Raises ValueError below two rows."""
    if len(demand) < 2:
        raise ValueError(f"expected at least two steps of demand, got {len(demand)}")
    starts = demand["ds"].dt.tz_convert("UTC").dt.tz_localize(None).to_numpy(dtype="datetime64[ms]")
    seconds = starts.astype(np.int64) / 1000.0
    return DemandSteps(seconds, demand["rps"].to_numpy(dtype=np.float64), float(seconds[1] - seconds[0]))


def simulate(
    demand: pd.DataFrame,
    *,
    capacity_rps: float,
    spec: HpaSpec,
    start_delay: timedelta,
    floors: Callable[[datetime], int],
    initial: int,
) -> SimulationResult:
    """Play `demand` (`ds`, `rps`) against the autoscaler from `initial` ready replicas, at its own sync interval.

    floors: the floor in force at an instant; the spec's own is not used. The metric is that of `DemandSteps.metric_at`;
    during the first step, before which nothing is known, it is that step's own.
    """
    cluster = SimulatedCluster(spec=spec, start_delay=start_delay, ready=initial)

    def floor_at(at: float, _cluster: SimulatedCluster) -> int:
        return floors(datetime.fromtimestamp(at, UTC))

    return play(demand_steps(demand), cluster, sync=spec.sync, capacity_rps=capacity_rps, floor_at=floor_at)


def play(
    demand: DemandSteps,
    cluster: SimulatedCluster,
    *,
    sync: timedelta,
    capacity_rps: float,
    floor_at: Callable[[float, SimulatedCluster], int],
) -> SimulationResult:
    """Drive a cluster through the demand; floor_at sees the cluster as it is just before each sync."""
    times = np.arange(demand.starts[0], demand.end, sync.total_seconds())
    metrics = demand.metric_at(times)
    metrics[times < demand.starts[0] + demand.step_seconds] = demand.rps[0]
    initial_ready = cluster.ready
    rows: list[tuple[int, int, int, int]] = []
    for at, metric in zip(times.tolist(), metrics.tolist(), strict=True):
        floor = floor_at(at, cluster)
        cluster.sync(at, floor=floor, rps=None if math.isnan(metric) else metric)
        rows.append((floor, cluster.desired, cluster.current, cluster.ready))
    cluster.settle(demand.end)
    frame = pd.DataFrame(rows, columns=["floor", "desired", "current", "ready"])
    frame.insert(0, "ds", pd.to_datetime(times, unit="s", utc=True))
    frame.insert(1, "rps", demand.at(times))
    spans = np.diff(np.append(times, demand.end))
    replica_seconds = float((frame["current"].to_numpy(dtype=np.float64) * spans).sum())
    under = _under_provisioned_seconds(demand, cluster.ready_changes, initial_ready, capacity_rps)
    return SimulationResult(frame, under, replica_seconds)


def _under_provisioned_seconds(
    demand: DemandSteps, changes: list[tuple[float, int]], initial: int, capacity_rps: float
) -> float:
    """Exact: demand and ready replicas are both constant between any two of their edges."""
    changed_at = np.array([at for at, _ in changes])
    ready_after = initial + np.cumsum([0, *(change for _, change in changes)])
    edges = np.unique(np.concatenate([demand.starts, [demand.end], changed_at]))
    edges = edges[(edges >= demand.starts[0]) & (edges <= demand.end)]
    from_edge = edges[:-1]
    ready = ready_after[np.searchsorted(changed_at, from_edge, side="right")]
    rps = demand.at(from_edge)
    under = np.where(np.isfinite(rps), rps, 0.0) > ready * capacity_rps * (1 + _UNDER_TOLERANCE)
    return float((np.diff(edges) * under).sum())
