"""Demand played against many settings at once, and what became of the replicas in each: the course of every lane.

Who sets the floors is left to the caller; what a course cost its users and its owner is in `toll`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from forecaster.scaling.hpa import HpaSpec
from forecaster.scaling.simulator.side_by_side import Lanes
from forecaster.scaling.simulator.simulate import DemandSteps

Array = npt.NDArray[Any]
FloorsAt = Callable[[float, Lanes], Array]
TOLD_EVERY = 2000  # ticks


@dataclass(frozen=True, slots=True)
class Course:
    """Ticks between which nothing changes: `starts` (ticks,) and `end`, epoch seconds; rps (ticks,), NaN = gap.

    ready, current: (ticks, lanes) from each tick to the next.
    """

    starts: Array
    end: float
    rps: Array
    ready: Array
    current: Array

    @property
    def spans(self) -> Array:
        """Return the seconds from each tick to the next."""
        found: Array = np.diff(np.append(self.starts, self.end))
        return found


def run_course(
    demand: DemandSteps,
    *,
    spec: HpaSpec,
    targets: Array,
    ceilings: Array,
    start_delay: timedelta,
    initial: Array,
    floors_at: FloorsAt,
    progress: Callable[[float], None] | None = None,
) -> Course:
    """Play the demand in every lane; floors_at sees the lanes just before each sync and returns (lanes,) floors.

    spec's floor, target and ceiling are not used. The metric is that of `simulate.play`.
    """
    lanes = Lanes(
        spec=spec,
        targets=targets,
        ceilings=ceilings,
        start_delay_seconds=start_delay.total_seconds(),
        ready=initial,
    )
    first, end, delay = float(demand.starts[0]), demand.end, start_delay.total_seconds()
    syncs = np.arange(first, end, spec.sync.total_seconds())
    metrics = demand.metric_at(syncs)
    metrics[syncs < first + demand.step_seconds] = demand.rps[0]
    ticks = np.unique(np.concatenate([syncs, demand.starts, syncs + delay]))
    ticks = ticks[(ticks >= first) & (ticks < end)]
    is_sync = np.isin(ticks, syncs)
    ready = np.zeros((len(ticks), len(targets)), dtype=np.int32)
    current = np.zeros_like(ready)
    metric = iter(metrics.tolist())
    for index, (at, synced) in enumerate(zip(ticks.tolist(), is_sync.tolist(), strict=True)):
        if synced:
            floors = floors_at(at, lanes)
            lanes.sync(at, floors=floors, rps=next(metric))
        else:
            lanes.settle(at)
        ready[index], current[index] = lanes.ready, lanes.current
        if progress is not None and index % TOLD_EVERY == 0:
            progress(index / len(ticks))
    return Course(ticks, end, demand.at(ticks), ready, current)


def from_table(times: Array, floors: Array) -> FloorsAt:
    """Return the row of `floors` (times, lanes) that is in force: the newest whose time has come, the first before."""
    edges, position = [*times.tolist(), math.inf], 0

    def floors_at(at: float, _lanes: Lanes) -> Array:
        nonlocal position
        while edges[position + 1] <= at:
            position += 1
        row: Array = floors[position]
        return row

    return floors_at
