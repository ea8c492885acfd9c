"""The day ahead, for people: the floors that are planned, and what will not be enough however they are set.

No floor of now depends on it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np

from forecaster.scaling.demand_ahead import DemandAhead
from forecaster.scaling.grounds import Grounds, lead_of
from forecaster.scaling.policy import startable
from forecaster.scaling.replicas import chance_of_too_few, replicas_needed
from forecaster.scaling.types import PlannedFloor, PlanWarning, Situation
from forecaster.scaling.windows import bounds_between
from forecaster.scaling.wording import chance, clock, counted, rate

PLAN_BLOCK = timedelta(minutes=30)
PLAN_SPAN = timedelta(hours=24)


def day_plan(
    situation: Situation, grounds: Grounds, ahead: DemandAhead, risk: float, floor: int
) -> tuple[PlannedFloor, ...]:
    """Return the floors of the next day in blocks of PLAN_BLOCK, each change once, each ahead by the lead."""
    planned, rates = [PlannedFloor(situation.now, floor, "decided now")], ahead.at_risk(risk)
    lead, block = lead_of(situation), int(PLAN_BLOCK.total_seconds())
    start = datetime.fromtimestamp((int(situation.now.timestamp()) // block + 1) * block, UTC)
    end = min(ahead.end - lead, situation.now + PLAN_SPAN)
    while start < end:
        until = start + PLAN_BLOCK + lead
        wanted = replicas_needed(ahead.highest(start, until), grounds.capacity, risk)
        bounded = _bounded(situation, start, until, wanted)
        if bounded != planned[-1].floor:
            rps, at = ahead.peak(start, until, rates)
            reason = f"up to {rate(rps)} at {clock(at)} with probability {1 - risk:.4g}"
            reason += "" if bounded == wanted else f"; {wanted} within bounds is {bounded}"
            planned.append(PlannedFloor(start, bounded, reason))
        start += PLAN_BLOCK
    return tuple(planned)


def _bounded(situation: Situation, start: datetime, end: datetime, floor: int) -> int:
    hpa = situation.hpa
    least, most, _ = bounds_between(situation.scaling, start, end) if situation.scaling.bounds else (0, None, "")
    floor = max(floor if most is None else min(floor, most), least)
    return floor if hpa is None else max(min(floor, hpa.ceiling), hpa.operator_floor)


def day_warnings(situation: Situation, grounds: Grounds, ahead: DemandAhead, risk: float) -> tuple[PlanWarning, ...]:
    """Say when in the next day, and how likely, demand passes what the ceiling, the cluster or a bottleneck lets be."""
    hpa, room = grounds.hpa, startable(situation)
    limits = [("ceiling_breach", hpa.ceiling, f"the {counted(hpa.ceiling, 'replica')} of the ceiling")]
    if room is not None and room < hpa.ceiling:
        limits.append(("no_room", max(room, 0), f"the {counted(room, 'replica')} that the cluster can start"))
    if situation.most_useful is not None and situation.most_useful < hpa.ceiling:
        limits.append(("bottleneck", situation.most_useful, f"the {counted(situation.most_useful, 'replica')} of use"))
    warned = []
    for kind, replicas, words in limits:
        found = _passing(situation, grounds, ahead, replicas, risk)
        if found is not None:
            at, likely = found
            text = f"demand passes {words} from {clock(at)} on with a probability of up to {chance(likely)}"
            warned.append(PlanWarning(kind, text, at if at > situation.now else None, likely))  # type: ignore[arg-type]  # one of the kinds above
    return tuple(warned)


def _passing(
    situation: Situation, grounds: Grounds, ahead: DemandAhead, replicas: int, risk: float
) -> tuple[datetime, float] | None:
    """Return when the chance of too few is first above the risk, and the highest chance of the day."""
    steps = ahead.steps_in(situation.now, situation.now + PLAN_SPAN)
    capacity, counts = grounds.capacity, np.array([float(replicas)])
    above = steps.start + np.flatnonzero(ahead.at_risk(risk)[steps] > replicas * capacity.low_rps)
    chances = [(float(chance_of_too_few(ahead.curve(int(i)), capacity, counts)[0]), int(i)) for i in above]
    passing = [(index, likely) for likely, index in chances if likely > risk]
    if not passing:
        return None
    return max(ahead.start_of(passing[0][0]), situation.now), max(likely for _, likely in passing)
