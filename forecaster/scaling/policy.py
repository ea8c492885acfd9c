"""Guardrails: small steps between what a plan wants and what is done, each of which may change the floor and says why.

First come the reasons to plan nothing at all, then the steps in the order of GUARDRAILS, then whether the result may be
applied. Pure: what they look at is in the Situation.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from forecaster.forecast.types import Forecast, NoForecast
from forecaster.scaling.types import Capacity, HpaState, Situation

STALE_AFTER_STEPS = 3
HOLD_BLIND = timedelta(hours=1)  # how long the floor is held without fresh metrics before it decays
FALL_MARGIN = 0.25
LARGEST_LOWERING = 0.2  # share of the floor that one lowering may take away


@dataclass(frozen=True, slots=True)
class Needs:
    """Replicas that the forecast quantile asks for, at the capacity's low end.

    urgent: until the next decision's raise could be ready; ramped: as much as raises of the largest step must have
    reached by now to keep up later; held: over the time that a lowering must be good for; present: by the demand of
    now, and FALL_MARGIN more where a steep fall is foreseen, because it may come later than foreseen.
    """

    urgent: int
    ramped: int
    held: int
    present: int


@dataclass(frozen=True, slots=True)
class Draft:
    """A floor on its way through the guardrails, with what each of them had to say."""

    before: int
    floor: int
    needs: Needs
    reasons: tuple[str, ...] = ()

    def changed(self, floor: int, reason: str) -> Draft:
        """Return the draft with another floor and the reason for it."""
        return replace(self, floor=floor, reasons=(*self.reasons, reason))


@dataclass(frozen=True, slots=True)
class Grounds:
    """What a plan stands on, once nothing of it is missing."""

    forecast: Forecast
    capacity: Capacity
    hpa: HpaState
    quantile: float


def grounds_or_reason(situation: Situation) -> Grounds | str:
    """Return what a plan stands on, or why there can be none."""
    if situation.hpa is None:
        return "the autoscaler's state is unknown"
    if isinstance(situation.forecast, NoForecast):
        return f"no forecast: {situation.forecast.reason}"
    if situation.capacity is None or not situation.capacity.low_rps > 0:
        return "the capacity of a replica is unknown"
    reason = _stale(situation, situation.forecast)
    if reason is not None:
        return reason
    wanted = situation.scaling.quantile
    enough = [level for level in situation.forecast.quantiles if level >= wanted]
    if not enough:
        return f"the forecast has no quantile {wanted:g} or above, only {list(situation.forecast.quantiles)}"
    return Grounds(situation.forecast, situation.capacity, situation.hpa, min(enough))


def _stale(situation: Situation, forecast: Forecast) -> str | None:
    allowed = STALE_AFTER_STEPS * forecast.step
    if situation.metric_at is None:
        return "no demand has been recorded"
    if situation.now - situation.metric_at > allowed:
        return f"demand is stale: the newest is of {_clock(situation.metric_at)}, more than {_span(allowed)} ago"
    patience = max(allowed, 3 * situation.refresh)
    if situation.now - forecast.origin > patience:
        return f"the forecast is stale: its origin {_clock(forecast.origin)} is more than {_span(patience)} ago"
    end = forecast.origin + len(forecast.frame) * forecast.step
    if end < situation.now + situation.scaling.lead:
        return f"the forecast ends at {_clock(end)}, before a raise of now would be ready"
    return None


def without_grounds(situation: Situation, why: str) -> Draft:
    """Hold the floor; after HOLD_BLIND without metrics let it decay, step by step, to the operator's own."""
    hpa = situation.hpa
    if hpa is None:
        return Draft(0, 0, Needs(0, 0, 0, 0), (why,))
    needs = Needs(0, 0, hpa.operator_floor, hpa.operator_floor)
    draft = Draft(hpa.floor, hpa.floor, needs, (f"{why}: holding the floor",))
    blind = situation.metric_at is not None and situation.now - situation.metric_at > HOLD_BLIND
    if not blind or hpa.floor <= hpa.operator_floor:
        return draft
    draft = draft.changed(hpa.operator_floor, f"blind for more than {_span(HOLD_BLIND)}: back to the operator's floor")
    return cooled_down(situation, stepped_down(situation, draft))


def bounded(situation: Situation, draft: Draft) -> Draft:
    """Never below the operator's floor, never above the ceiling."""
    hpa = situation.hpa
    if hpa is None:
        return draft
    if draft.floor > hpa.ceiling:
        return draft.changed(hpa.ceiling, f"{draft.floor} is above the ceiling {hpa.ceiling}: demand may pass it")
    if draft.floor < hpa.operator_floor:
        return draft.changed(hpa.operator_floor, f"{draft.floor} is below the operator's floor {hpa.operator_floor}")
    return draft


def stepped_up(situation: Situation, draft: Draft) -> Draft:
    """Raise by at most the largest step, unless the lead would be missed."""
    allowed = draft.before + situation.scaling.largest_step
    if draft.floor <= allowed:
        return draft
    if draft.needs.urgent > allowed:
        floor = min(draft.floor, draft.needs.urgent)
        return draft.changed(floor, f"a step of {floor - draft.before}: {floor} are needed within the lead")
    return draft.changed(allowed, f"towards {draft.floor} by the largest step of {situation.scaling.largest_step}")


def kept_while_needed(situation: Situation, draft: Draft) -> Draft:
    """Lower only to what the hold time after the lead needs as well: a floor must not flap."""
    lowest = min(draft.before, draft.needs.held)
    if draft.floor >= lowest:
        return draft
    return draft.changed(lowest, f"{lowest} are needed again soon after the lead of {_span(situation.scaling.lead)}")


def kept_until_fallen(_situation: Situation, draft: Draft) -> Draft:
    """Lower only as far as demand has fallen already: a foreseen fall may come late, and raises would be too."""
    lowest = min(draft.before, draft.needs.present)
    if draft.floor >= lowest:
        return draft
    return draft.changed(lowest, f"{lowest} while demand has not fallen yet, with {FALL_MARGIN:.0%} to spare")


def kept_after_raise(situation: Situation, draft: Draft) -> Draft:
    """Keep what was raised until its demand has had the time to come: the lead, and two decisions more."""
    last, span = situation.last_raised_at, situation.scaling.lead + 2 * situation.refresh
    if draft.floor >= draft.before or last is None or situation.now - last >= span:
        return draft
    return draft.changed(draft.before, f"raised at {_clock(last)}: kept for {_span(span)}")


def stepped_down(_situation: Situation, draft: Draft) -> Draft:
    """Lower by at most a fifth: the autoscaler's window does not soften a released floor."""
    lowest = draft.before - max(1, math.floor(LARGEST_LOWERING * draft.before))
    if draft.floor >= lowest:
        return draft
    return draft.changed(lowest, f"towards {draft.floor} by at most {LARGEST_LOWERING:.0%} at a time")


def cooled_down(situation: Situation, draft: Draft) -> Draft:
    """Lower no sooner than the cool-down after the last lowering."""
    last = situation.last_lowered_at
    if draft.floor >= draft.before or last is None or situation.now - last >= situation.scaling.cool_down:
        return draft
    return draft.changed(draft.before, f"cooling down since {_clock(last)} for {_span(situation.scaling.cool_down)}")


GUARDRAILS: tuple[Callable[[Situation, Draft], Draft], ...] = (
    bounded,
    stepped_up,
    kept_while_needed,
    kept_until_fallen,
    kept_after_raise,
    stepped_down,
    cooled_down,
    bounded,  # last again: no step above may leave the bounds, whatever the floor was before
)


def may_apply(situation: Situation) -> str | None:
    """Return why a change may not be applied; None when it may."""
    if situation.mode != "act":
        return f"mode {situation.mode}: nothing is applied"
    if not situation.backtest_passed:
        return "mode act, but no backtest on this service's history has been passed: nothing is applied"
    return None


def _clock(instant: datetime) -> str:
    return f"{instant:%H:%M}"


def _span(span: timedelta) -> str:
    return f"{span.total_seconds() / 60:g} min"
