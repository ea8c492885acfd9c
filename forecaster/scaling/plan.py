"""The decision, pure: from forecast quantile and capacity to a floor ahead of the demand, and what comes after it.

The live loop and the backtest both call `decide`. Reading the situation and applying the answer is left to them; what
may hold a plan back is in `policy`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from collector.catalog import Scaling
from forecaster.forecast.models import column_of
from forecaster.scaling.capacity import replicas_for
from forecaster.scaling.policy import (
    FALL_MARGIN,
    GUARDRAILS,
    Draft,
    Grounds,
    Needs,
    bounded,
    grounds_or_reason,
    may_apply,
    without_grounds,
)
from forecaster.scaling.types import Decision, PlannedFloor, Situation

HOLD = timedelta(minutes=15)  # a lowering must be good for so long after the lead
PLAN_BLOCK = timedelta(minutes=30)
PLAN_SPAN = timedelta(hours=24)
RAMP_DECISIONS = 6  # how many decisions ahead a ramp is begun

Array = npt.NDArray[Any]


class QuantileAhead:
    """The forecast's quantile as steps over time, to be asked for its highest value in a span."""

    def __init__(self, grounds: Grounds) -> None:
        forecast = grounds.forecast
        self._origin = forecast.origin
        self._step = forecast.step
        self.rps: Array = forecast.frame[column_of(grounds.quantile)].to_numpy(dtype=np.float64)

    @property
    def end(self) -> datetime:
        """Return the end of the last step."""
        return self._origin + len(self.rps) * self._step

    def start_of(self, index: int) -> datetime:
        """Return the start of a step."""
        return self._origin + index * self._step

    def index_at(self, instant: datetime) -> int:
        """Return the step that holds an instant; the nearest one outside."""
        return min(max((instant - self._origin) // self._step, 0), len(self.rps) - 1)

    def highest(self, start: datetime, end: datetime) -> tuple[float, datetime]:
        """Return the highest demand of the steps that touch [start, end), and where its step starts."""
        first = self.index_at(start)
        last = max(first, -((self._origin - end) // self._step) - 1)
        span = self.rps[first : last + 1]
        at = int(np.argmax(span))
        return float(span[at]), self.start_of(first + at)


def looked_at(scaling: Scaling, refresh: timedelta) -> timedelta:
    """Return how much of the future a decision about the floor looks at; the plan of the day looks further."""
    return scaling.lead + refresh + max(HOLD, RAMP_DECISIONS * refresh)


def decide(situation: Situation) -> Decision:
    """Return what to do about the floor now, why, and what is planned for the next day."""
    grounds = grounds_or_reason(situation)
    if isinstance(grounds, str):
        return _no_plan(situation, grounds)
    ahead = QuantileAhead(grounds)
    needs = _needs(situation, grounds, ahead)
    wanted = max(needs.urgent, needs.ramped)
    draft = Draft(grounds.hpa.floor, wanted, needs)
    for guardrail in GUARDRAILS:
        draft = guardrail(situation, draft)
    outcome = _direction(draft)
    refusal = may_apply(situation) if outcome != "keep" else None
    reasons = (_why(situation, grounds, ahead, wanted), *draft.reasons, *([refusal] if refusal else []))
    return Decision(
        at=situation.now,
        service=situation.service,
        mode=situation.mode,
        outcome=outcome,
        floor_before=draft.before,
        floor_wanted=wanted,
        floor_after=draft.floor,
        apply=outcome != "keep" and refusal is None,
        reasons=reasons,
        needed_at=_needed_at(situation, grounds, ahead),
        plan=_plan(situation, grounds, ahead, draft.floor),
    )


def _no_plan(situation: Situation, why: str) -> Decision:
    draft = without_grounds(situation, why)
    outcome = _direction(draft)
    refusal = may_apply(situation) if outcome != "keep" else None
    return Decision(
        at=situation.now,
        service=situation.service,
        mode=situation.mode,
        outcome="no_plan" if outcome == "keep" else outcome,
        floor_before=draft.before,
        floor_wanted=draft.before,
        floor_after=draft.floor,
        apply=outcome != "keep" and refusal is None,
        reasons=(*draft.reasons, *([refusal] if refusal else [])),
        needed_at=None,
        plan=(),
    )


def _direction(draft: Draft) -> Literal["raise", "lower", "keep"]:
    if draft.floor > draft.before:
        return "raise"
    return "lower" if draft.floor < draft.before else "keep"


def _needs(situation: Situation, grounds: Grounds, ahead: QuantileAhead) -> Needs:
    now, scaling = situation.now, situation.scaling
    covered = now + scaling.lead + situation.refresh  # a raise of the next decision is ready from here on

    def until(end: datetime) -> int:
        return replicas_for(ahead.highest(now, end)[0], grounds.capacity)

    later = (until(covered + k * situation.refresh) - k * scaling.largest_step for k in range(1, RAMP_DECISIONS + 1))
    present_rps = float(ahead.rps[ahead.index_at(now)])
    # a quantile widens with its horizon: one below that of now tells of a steep fall
    falls = ahead.highest(covered, covered + HOLD)[0] < present_rps
    present = replicas_for(present_rps * (1 + FALL_MARGIN if falls else 1), grounds.capacity)
    return Needs(urgent=until(covered), ramped=max(later), held=until(covered + HOLD), present=present)


def _why(situation: Situation, grounds: Grounds, ahead: QuantileAhead, wanted: int) -> str:
    covered = situation.now + situation.scaling.lead + situation.refresh
    rps, at = ahead.highest(situation.now, covered)
    at = max(at, situation.now)
    text = (
        f"demand stays under {rps:.4g} rps (at {at:%H:%M}) until {covered:%H:%M} with probability {grounds.quantile:g}"
    )
    text += f": {replicas_for(rps, grounds.capacity)} replicas at {grounds.capacity.low_rps:.4g} rps"
    more = wanted - replicas_for(rps, grounds.capacity)
    return text + (f", and {more} more for the ramp after it" if more > 0 else "")


def _needed_at(situation: Situation, grounds: Grounds, ahead: QuantileAhead) -> datetime | None:
    carried = grounds.hpa.floor * grounds.capacity.low_rps
    first = ahead.index_at(situation.now)
    above = np.flatnonzero(ahead.rps[first:] > carried * (1 + 1e-9))
    return max(situation.now, ahead.start_of(first + int(above[0]))) if len(above) else None


def _plan(situation: Situation, grounds: Grounds, ahead: QuantileAhead, floor: int) -> tuple[PlannedFloor, ...]:
    """Return the floors of the next day in blocks of PLAN_BLOCK, each change once, each ahead by the lead."""
    planned = [PlannedFloor(situation.now, floor, "decided now")]
    block = int(PLAN_BLOCK.total_seconds())
    start = datetime.fromtimestamp((int(situation.now.timestamp()) // block + 1) * block, UTC)
    end = min(ahead.end - situation.scaling.lead, situation.now + PLAN_SPAN)
    while start < end:
        rps, at = ahead.highest(start, start + PLAN_BLOCK + situation.scaling.lead)
        draft = bounded(situation, Draft(floor, replicas_for(rps, grounds.capacity), Needs(0, 0, 0, 0)))
        if draft.floor != planned[-1].floor:
            reason = f"up to {rps:.4g} rps at {at:%H:%M} with probability {grounds.quantile:g}"
            planned.append(PlannedFloor(start, draft.floor, "; ".join((reason, *draft.reasons))))
        start += PLAN_BLOCK
    return tuple(planned)
