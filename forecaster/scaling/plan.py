"""The decision, pure: from the demand ahead and the capacity to a floor ahead of it, and what comes after it.

The live loop and the backtest both call `decide`. Reading the situation and applying the answer is left to them; what a
plan stands on is in `grounds`, what may hold it back in `policy`, the day ahead in `day`.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

import numpy as np

from collector.catalog import Scaling
from forecaster.forecast.types import Forecast
from forecaster.scaling.day import PLAN_SPAN, day_plan, day_warnings
from forecaster.scaling.demand_ahead import Array, DemandAhead, demand_ahead
from forecaster.scaling.grounds import Grounds, NoGrounds, grounds_of, lead_of
from forecaster.scaling.pacing import at_half_the_odds, overload_at, paced_risk
from forecaster.scaling.policy import (
    Draft,
    Needs,
    guarded,
    may_apply,
    met_at_once,
    planned_before,
    reverted,
    without_grounds,
)
from forecaster.scaling.present import PRESENT, needed_now
from forecaster.scaling.replicas import chance_of_too_few, replicas_needed, risk_in_use
from forecaster.scaling.types import Decision, PlannedFloor, PlanWarning, Situation
from forecaster.scaling.wording import chance, clock, counted, rate

__all__ = ["PLAN_SPAN", "decide", "looked_at"]

RAMP_DECISIONS = 6  # how many decisions ahead a ramp is begun


def looked_at(scaling: Scaling, refresh: timedelta) -> timedelta:
    """Return how much of the future a decision about the floor looks at; the plan of the day looks further."""
    return scaling.lead + (1 + RAMP_DECISIONS) * refresh


def decide(situation: Situation) -> Decision:
    """Return what to do about the floor now, why, and what is planned for the next day."""
    grounds = grounds_of(situation)
    if isinstance(grounds, NoGrounds):
        draft = guarded(situation, without_grounds(situation, grounds))
        return _decision(situation, draft, wanted=draft.before, planned=None)
    risk, source = _risk(situation)
    ahead = demand_ahead(grounds.forecast, situation.callers)
    covered = situation.now + lead_of(situation) + situation.refresh  # a raise of the next decision is ready from here
    nearest, rates = ahead.highest(situation.now, covered), ahead.at_risk(risk)
    urgent, overload = replicas_needed(nearest, grounds.capacity, risk), _overload(situation, risk)
    present = needed_now(situation.demand_now, grounds.capacity, overload=overload)
    ramped = _ramped(situation, grounds, ahead, (risk, rates), urgent)
    before, wanted = planned_before(situation, grounds.hpa), max(urgent, ramped)
    kept = urgent if wanted >= before else replicas_needed(nearest, grounds.capacity, at_half_the_odds(risk))
    peak = ahead.peak(situation.now, covered, rates)
    why = _why(situation, grounds, peak, risk=(risk, source), needs=(urgent, present, ramped))
    planned = guarded(situation, Draft(before, wanted, Needs(urgent, kept), (*why, *_unheard(situation))))
    draft = met_at_once(situation, planned, present)
    plan: tuple[PlannedFloor, ...] = ()
    warnings: tuple[PlanWarning, ...] = ()
    if situation.day_plan:
        plan = day_plan(situation, grounds, ahead, risk, planned.floor)
        warnings = day_warnings(situation, grounds, ahead, risk)
    return _decision(
        situation,
        draft,
        wanted=max(wanted, present),
        planned=planned.floor,
        plan=plan,
        warnings=warnings,
        quantile=1 - risk,
        needed_at=_needed_at(situation, grounds, ahead, (risk, rates)),
        overload=overload,
    )


def _overload(situation: Situation, risk: float) -> float:
    """Return how far above what they carry replicas may be used before there are more: not at all while a budget burns.

    Where a service is not paced, its risk is the plan's alone.
    """
    return overload_at(risk) if situation.scaling.paced and not situation.burning else 0.0


def _risk(situation: Situation) -> tuple[float, str]:
    asked, source = risk_in_use(situation.scaling, situation.budget_left)
    if not situation.scaling.paced:
        return asked, source
    came = "" if situation.pace is None else f"; since the last decision {chance(situation.pace.short)} was"
    said = f"for {chance(asked)} of the time to be short{came}"
    return paced_risk(asked, situation.pace), said if source == "fixed" else f"{said} ({source})"


def _decision(
    situation: Situation,
    draft: Draft,
    *,
    wanted: int,
    planned: int | None,
    plan: tuple[PlannedFloor, ...] = (),
    warnings: tuple[PlanWarning, ...] = (),
    quantile: float | None = None,
    needed_at: datetime | None = None,
    overload: float = 0.0,
) -> Decision:
    outcome = _direction(draft)
    refusal = may_apply(situation) if outcome != "keep" else None
    again = reverted(situation)
    told = (*draft.warnings, *warnings, *((PlanWarning("reverted", f"{again}: observing"),) if again else ()))
    return Decision(
        at=situation.now,
        service=situation.service,
        mode=situation.mode,
        outcome="no_plan" if outcome == "keep" and planned is None else outcome,
        floor_before=draft.before,
        floor_wanted=wanted,
        floor_after=draft.floor,
        apply=outcome != "keep" and refusal is None,
        reasons=(*draft.reasons, *([refusal] if refusal else [])),
        needed_at=needed_at,
        plan=plan,
        warnings=tuple({warning.kind: warning for warning in reversed(told)}.values())[::-1],  # of a kind the first
        quantile=quantile,
        guardrails=draft.changed_by,
        lead=None if planned is None else lead_of(situation),
        planned_floor=planned,
        overload=overload,
    )


def _direction(draft: Draft) -> Literal["raise", "lower", "keep"]:
    if draft.floor > draft.before:
        return "raise"
    return "lower" if draft.floor < draft.before else "keep"


def _ramped(
    situation: Situation, grounds: Grounds, ahead: DemandAhead, at_risk: tuple[float, Array], urgent: int
) -> int:
    """Return what must stand now, so that raises of the largest step keep up with the demand after the lead."""
    risk, rates = at_risk
    now, step, refresh, low = situation.now, situation.scaling.largest_step, situation.refresh, grounds.capacity.low_rps
    covered = now + lead_of(situation) + refresh
    farthest = ahead.steps_in(now, covered + RAMP_DECISIONS * refresh)
    if float(rates[farthest].max()) <= (urgent + step) * low:
        return urgent  # surely: whatever the capacity, the first raise to come is enough
    most = urgent
    for decisions in range(1, RAMP_DECISIONS + 1):
        until = ahead.steps_in(now, covered + decisions * refresh)
        if float(rates[until].max()) > (most + decisions * step) * low:
            needed = replicas_needed(ahead.highest_of(until), grounds.capacity, risk)
            most = max(most, needed - decisions * step)
    return most


def _why(
    situation: Situation,
    grounds: Grounds,
    peak: tuple[float, datetime],
    *,
    risk: tuple[float, str],
    needs: tuple[int, int, int],
) -> tuple[str, ...]:
    (taken, source), (rps, at), (planned, present, ramped) = risk, peak, needs
    each = rate(grounds.capacity.low_rps, grounds.capacity.high_rps)
    covered = situation.now + lead_of(situation) + situation.refresh
    text = (
        f"demand stays under {rate(rps)} (at {clock(max(at, situation.now))}) until {clock(covered)} "
        f"with probability {1 - taken:.4g}: {counted(planned, 'replica')} at {each}"
    )
    if present > planned:
        came = rate(situation.demand_now or 0.0)
        text += f"; the {came} of the last {PRESENT.total_seconds():g} s need {present} at once"
        overload = _overload(situation, taken)
        text += f", at up to {chance(overload)} more than they carry" if overload > 0 else ""
    if ramped > max(planned, present):
        text += f", and {ramped - max(planned, present)} more for the ramp after it"
    return (text,) if source == "fixed" else (text, f"risk {chance(taken)}: {source}")


def _unheard(situation: Situation) -> tuple[str, ...]:
    """Name the callers whose forecasts are missing: what they may send is not seen to."""
    missing = [caller.service for caller in situation.callers if not isinstance(caller.forecast, Forecast)]
    return (f"without the demand of {', '.join(missing)}: no forecast",) if missing else ()


def _needed_at(
    situation: Situation, grounds: Grounds, ahead: DemandAhead, at_risk: tuple[float, Array]
) -> datetime | None:
    """Return the first instant at which the floor of before is too low at this risk; None when it never is."""
    capacity, floor = grounds.capacity, grounds.hpa.floor
    risk, rates = at_risk
    first = ahead.steps_in(situation.now, situation.now).start
    for index in (rates[first:] > floor * capacity.low_rps * (1 + 1e-9)).nonzero()[0].tolist():
        chances = chance_of_too_few(ahead.curve(first + index), capacity, np.array([float(floor)]))
        if chances[0] > risk * (1 + 1e-9):
            return max(situation.now, ahead.start_of(first + index))
    return None
