"""What each lane of a course cost: its users in minutes without enough replicas, its owner in replica-hours.

All figures are exact for the ticks of the course. A gap in demand counts for nothing but the replicas paid for in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from forecaster.scaling.simulator.backlog import queue_up
from forecaster.scaling.simulator.course import Course
from forecaster.scaling.simulator.simulate import DemandSteps

Array = npt.NDArray[Any]
DAY_SECONDS = 86_400
_ROUNDING = 1e-9
_MARGIN_STEPS_SECONDS = 3600  # a margin is looked for so far back


@dataclass(frozen=True, slots=True)
class LaneToll:
    """One setting's figures.

    minutes: with demand known; under_provisioned_minutes: of them, with demand above ready replicas times capacity.
    mean_depth, worst_depth: the share of the demand that was too much, over those minutes. unserved_ratio: demand above
    what was ready / all demand. violating_ratio: requests that the queue dropped or let wait too long / all requests.
    over_replica_hours: current replicas above those that the demand of the instant needs. lead_margin_minutes: the
    fifth percentile over rises of the need, of how long before them enough were ready; negative: so long too late;
    None: the need never rose. flips: changes of the replicas against the direction of the one before.
    """

    under_provisioned_minutes: float
    minutes: float
    replica_hours: float
    unserved_ratio: float
    scale_events: int
    mean_depth: float
    worst_depth: float
    violating_ratio: float
    dropped_ratio: float
    over_replica_hours: float
    lead_margin_minutes: float | None
    flips: int


@dataclass(frozen=True, slots=True)
class Blocks:
    """(days, lanes) of UTC days: what intervals are drawn from again. minutes (days,) with demand known."""

    minutes: Array
    under_minutes: Array
    replica_hours: Array


def tolls(course: Course, demand: DemandSteps, *, capacity_rps: float, floor: int) -> tuple[list[LaneToll], Blocks]:
    """Return each lane's toll and its sums by day. floor: the fewest replicas that anybody may have."""
    lanes = course.ready.shape[1]
    days = np.flatnonzero(np.diff(course.starts // DAY_SECONDS, prepend=-1))
    sums = {name: np.zeros((len(days), lanes)) for name in ("under", "hours", "over", "excess", "deep", "worst")}
    minutes = np.zeros(len(days))
    for index, (first, last) in enumerate(zip(days, [*days[1:], len(course.starts)], strict=True)):
        part = _day(course, slice(first, last), capacity_rps, floor)
        minutes[index] = part.pop("minutes")[0]
        for name, value in part.items():
            sums[name][index] = value
    total = {name: value.sum(axis=0) for name, value in sums.items()}
    queued = queue_up(course, capacity_rps=capacity_rps)
    arrived = np.maximum(queued.arrived, _ROUNDING)
    margins = _margins(course, demand, capacity_rps)
    found = [
        LaneToll(
            under_provisioned_minutes=float(total["under"][lane]),
            minutes=float(minutes.sum()),
            replica_hours=float(total["hours"][lane]),
            unserved_ratio=float(total["excess"][lane] / arrived[lane]),
            scale_events=int(np.count_nonzero(np.diff(course.current[:, lane]))),
            mean_depth=float(total["excess"][lane] / max(total["deep"][lane], _ROUNDING)),
            worst_depth=float(sums["worst"][:, lane].max(initial=0.0)),
            violating_ratio=float(queued.violating[lane] / arrived[lane]),
            dropped_ratio=float(queued.dropped[lane] / arrived[lane]),
            over_replica_hours=float(total["over"][lane]),
            lead_margin_minutes=None if margins is None else float(margins[lane]),
            flips=_flips(course.current[:, lane]),
        )
        for lane in range(lanes)
    ]
    return found, Blocks(minutes, sums["under"], sums["hours"])


def short_shares(course: Course, *, capacity_rps: float) -> Array:
    """Return by lane the share of the time, with demand known, in which it was above what the ready replicas carry."""
    known = np.isfinite(course.rps)
    under = np.where(known, course.rps, 0.0)[:, None] > course.ready * capacity_rps * (1 + _ROUNDING)
    found: Array = (course.spans @ under) / max(float(course.spans @ known), _ROUNDING)
    return found


def _day(course: Course, part: slice, capacity_rps: float, floor: int) -> dict[str, Array]:
    spans, rps = course.spans[part], course.rps[part]
    known = np.isfinite(rps)
    demand = np.where(known, rps, 0.0)
    able = course.ready[part] * capacity_rps
    under = demand[:, None] > able * (1 + _ROUNDING)
    excess = np.where(under, demand[:, None] - able, 0.0)
    needed = np.maximum(np.ceil(demand / capacity_rps - _ROUNDING), floor)
    spare = np.where(known[:, None], np.maximum(course.current[part] - needed[:, None], 0.0), 0.0)
    share = excess / np.maximum(demand, _ROUNDING)[:, None]
    return {
        "minutes": np.array([spans @ known / 60.0]),
        "under": spans @ under / 60.0,
        "hours": spans @ course.current[part] / 3600.0,
        "over": spans @ spare / 3600.0,
        "excess": spans @ excess,
        "deep": (spans * demand) @ under,
        "worst": share.max(axis=0),
    }


def _flips(current: Array) -> int:
    moves = np.sign(np.diff(current))
    moves = moves[moves != 0]
    return int(np.count_nonzero(moves[1:] != moves[:-1]))


def _margins(course: Course, demand: DemandSteps, capacity_rps: float) -> Array | None:
    """Return the fifth percentile by lane, to a step of demand before a rise and to a tick after it."""
    needed = np.ceil(np.nan_to_num(demand.rps) / capacity_rps - _ROUNDING)
    rises = 1 + np.flatnonzero(needed[1:] > needed[:-1])
    if not len(rises):
        return None
    at = np.searchsorted(course.starts, demand.starts, side="right") - 1
    ready = course.ready[at]
    enough = np.ones((len(rises), ready.shape[1]), dtype=bool)
    margin = np.zeros(enough.shape)
    for back in range(int(_MARGIN_STEPS_SECONDS // demand.step_seconds) + 1):
        enough &= ready[np.maximum(rises - back, 0)] >= needed[rises][:, None]
        margin = np.where(enough, back * demand.step_seconds / 60.0, margin)
    late = ~(ready[rises] >= needed[rises][:, None])
    for index in np.flatnonzero(late.any(axis=1)):
        step = rises[index]
        ticks = slice(at[step], at[step + 1] if step + 1 < len(at) else len(course.starts))
        short = course.ready[ticks] < needed[step]
        margin[index] = np.where(late[index], -(course.spans[ticks] @ short) / 60.0, margin[index])
    found: Array = np.quantile(margin, 0.05, axis=0)
    return found
