"""Guardrails: small steps between what a plan wants and what is done, each of which may change the floor and says why.

They are taken in the order of GUARDRAILS, with a plan and without one; then comes whether the result may be applied.
Pure: what they look at is in the Situation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from forecaster.scaling.grounds import SCORED_STEPS, NoGrounds, lead_of
from forecaster.scaling.types import HpaState, PlanWarning, Situation
from forecaster.scaling.windows import bounds_between
from forecaster.scaling.wording import clock, counted, span

HOLD_BLIND = timedelta(hours=1)  # how long the floor is held without grounds for a plan before it decays
LARGEST_LOWERING = 0.2  # share of the floor that one lowering may take away
COVERAGE_DRIFT = 0.10  # how much less than asked the quantile may have covered before nothing is lowered by it
REVERTS_BORNE = 2
_INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Needs:
    """Replicas that the demand ahead asks for.

    urgent: at the risk taken, until the next decision's raise could be ready; kept: the same at half its odds.
    """

    urgent: int
    kept: int


@dataclass(frozen=True, slots=True)
class Draft:
    """A floor on its way through the guardrails, with what each of them said and the names of those that acted."""

    before: int
    floor: int
    needs: Needs
    reasons: tuple[str, ...] = ()
    warnings: tuple[PlanWarning, ...] = ()
    changed_by: tuple[str, ...] = ()

    def changed(self, floor: int, reason: str) -> Draft:
        """Return the draft with another floor and the reason for it."""
        return replace(self, floor=floor, reasons=(*self.reasons, reason))

    def warned(self, warning: PlanWarning) -> Draft:
        """Return the draft with something that people should be told."""
        return replace(self, warnings=(*self.warnings, warning))


def guarded(
    situation: Situation, draft: Draft, guardrails: Sequence[Callable[[Situation, Draft], Draft]] | None = None
) -> Draft:
    """Take all guardrails in their order. What one of them says begins with its name."""
    for guardrail in GUARDRAILS if guardrails is None else guardrails:
        passed = guardrail(situation, draft)
        if passed is draft:
            continue
        said = tuple(f"{guardrail.__name__}: {why}" for why in passed.reasons[len(draft.reasons) :])
        acted = (guardrail.__name__,) if passed.floor != draft.floor else ()
        draft = replace(passed, reasons=(*draft.reasons, *said), changed_by=(*draft.changed_by, *acted))
    return draft


def planned_before(situation: Situation, hpa: HpaState) -> int:
    """Return the floor that plans have brought about: what the present added to it is released in one step."""
    return hpa.floor if situation.planned_floor is None else min(situation.planned_floor, hpa.floor)


def met_at_once(situation: Situation, planned: Draft, present: int) -> Draft:
    """Return the planned draft, and at least what has come already; from the floor in force, which may hold more.

    No step is too large for it and no cool-down holds it up: the autoscaler would follow too, minutes later, and its
    window of recommendations has seen what came, so that letting go of it is no cliff.
    """
    hpa = situation.hpa
    if hpa is None:
        return planned
    draft = planned
    if present > planned.floor:
        draft = guarded(situation, replace(planned, before=planned.floor, floor=present), AT_ONCE_GUARDRAILS)
    draft = replace(draft, before=hpa.floor, floor=max(draft.floor, planned.floor))
    return guarded(situation, draft, (kept_while_burning, within_bounds, unless_paused))


def without_grounds(situation: Situation, lacking: NoGrounds) -> Draft:
    """Return a draft that holds the floor, and after HOLD_BLIND lets it go back to the operator's own."""
    hpa = situation.hpa
    if hpa is None:
        return Draft(0, 0, Needs(0, 0), (lacking.reason,))
    draft = Draft(hpa.floor, hpa.floor, Needs(0, 0), (f"{lacking.reason}: holding the floor",))
    if lacking.no_skill:
        draft = draft.warned(PlanWarning("forecast_skill", lacking.reason))
    since = lacking.since
    if since is None or situation.now - since <= HOLD_BLIND or hpa.floor <= hpa.operator_floor:
        return draft
    why = f"blind for more than {span(HOLD_BLIND)}: back to the operator's floor"
    name = without_grounds.__name__
    draft = replace(draft.changed(hpa.operator_floor, f"{name}: {why}"), changed_by=(name,))
    return draft.warned(PlanWarning("blind", f"{lacking.reason} (since {clock(since)}); {why}"))


def within_windows(situation: Situation, draft: Draft) -> Draft:
    """Within the bounds of the operator's time windows: minima are seen to ahead of their window, by the lead."""
    if not situation.scaling.bounds:
        return draft
    now = situation.now
    ahead = now + lead_of(situation) + situation.refresh
    least, _, names = bounds_between(situation.scaling, now, ahead)
    _, most, now_open = bounds_between(situation.scaling, now, now + _INSTANT)
    if draft.floor < least:
        needs = replace(draft.needs, urgent=max(draft.needs.urgent, least), kept=max(draft.needs.kept, least))
        return replace(draft, needs=needs).changed(least, f"at least {least} by {names}, until {clock(ahead)}")
    if most is not None and draft.floor > max(most, least):
        return draft.changed(max(most, least), f"{draft.floor} is above the {most} of {now_open}")
    return draft


def within_bounds(situation: Situation, draft: Draft) -> Draft:
    """Never below the operator's floor, never above the ceiling."""
    hpa = situation.hpa
    if hpa is None:
        return draft
    if draft.floor > hpa.ceiling:
        return draft.changed(hpa.ceiling, f"{draft.floor} is above the ceiling {hpa.ceiling}: demand may pass it")
    if draft.floor < hpa.operator_floor:
        return draft.changed(hpa.operator_floor, f"{draft.floor} is below the operator's floor {hpa.operator_floor}")
    return draft


def within_use(situation: Situation, draft: Draft) -> Draft:
    """Refuse replicas that a shared bottleneck would make useless."""
    most = situation.most_useful
    if most is None or draft.floor <= max(most, draft.before):
        return draft
    why = f"{draft.floor} replicas would serve no more than {most}: a shared bottleneck, by the measured scaling law"
    return draft.changed(max(most, draft.before), why).warned(PlanWarning("bottleneck", why))


def within_room(situation: Situation, draft: Draft) -> Draft:
    """Refuse replicas that the cluster could not start."""
    room = startable(situation)
    if room is None or draft.floor <= max(room, draft.before):
        return draft
    why = (
        f"{counted(draft.floor, 'replica')} wanted, and the cluster can start no more than {room}{_pending(situation)}"
    )
    return draft.changed(max(room, draft.before), why).warned(PlanWarning("no_room", why))


def startable(situation: Situation) -> int | None:
    """Return how many replicas there could be in all; None where nobody can say."""
    hpa = situation.hpa
    if hpa is None or (hpa.room is None and hpa.pending == 0):
        return None
    return hpa.current + (0 if hpa.pending else hpa.room or 0)


def _pending(situation: Situation) -> str:
    waiting = situation.hpa.pending if situation.hpa is not None else 0
    return f" ({waiting} waiting for room already)" if waiting else ""


def stepped_up(situation: Situation, draft: Draft) -> Draft:
    """Raise by at most the largest step, unless the lead would be missed."""
    allowed = draft.before + situation.scaling.largest_step
    if draft.floor <= allowed:
        return draft
    if draft.needs.urgent > allowed:
        floor = min(draft.floor, draft.needs.urgent)
        return draft.changed(floor, f"a step of {floor - draft.before}: {floor} are needed within the lead")
    return draft.changed(allowed, f"towards {draft.floor} by the largest step of {situation.scaling.largest_step}")


def kept_while_burning(situation: Situation, draft: Draft) -> Draft:
    """Lower nothing while an error budget burns."""
    if draft.floor >= draft.before or not situation.burning:
        return draft
    return draft.changed(draft.before, f"kept at {draft.before} while {', '.join(situation.burning)} burns")


def kept_while_drifting(situation: Situation, draft: Draft) -> Draft:
    """Lower nothing by quantiles that have covered much less than they said."""
    skill = situation.skill
    if skill is None or skill.steps < SCORED_STEPS or skill.coverage >= skill.asked - COVERAGE_DRIFT:
        return draft
    why = f"the quantile {skill.asked:g} covered {skill.coverage:.0%} of the last {skill.steps} steps"
    draft = draft.warned(PlanWarning("forecast_skill", why))
    return draft if draft.floor >= draft.before else draft.changed(draft.before, f"kept at {draft.before}: {why}")


def kept_at_less_risk(_situation: Situation, draft: Draft) -> Draft:
    """Lower only what is not needed at half the risk either: raised again at once, it would only flap."""
    lowest = min(draft.before, draft.needs.kept)
    if draft.floor >= lowest:
        return draft
    return draft.changed(lowest, f"{lowest} kept: needed again at half the risk")


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
    return draft.changed(draft.before, f"cooling down since {clock(last)} for {span(situation.scaling.cool_down)}")


def within_change_budget(situation: Situation, draft: Draft) -> Draft:
    """Once the day's changes are used up, change only what the lead does not let wait."""
    budget = situation.scaling.change_budget
    if situation.changes_today < budget or draft.floor == draft.before:
        return draft
    why = f"the day's {counted(budget, 'change')} made"
    draft = draft.warned(PlanWarning("change_budget", f"{why}: only raises needed within the lead follow"))
    floor = max(draft.before, min(draft.floor, draft.needs.urgent))
    if floor == draft.floor:
        return draft
    return draft.changed(floor, f"{why}: {floor} instead of {draft.floor}")


def unless_paused(situation: Situation, draft: Draft) -> Draft:
    """Change nothing while somebody has paused us."""
    if situation.paused is None or draft.floor == draft.before:
        return draft
    return draft.changed(draft.before, f"paused, {situation.paused}: {draft.before} instead of {draft.floor}")


GUARDRAILS: tuple[Callable[[Situation, Draft], Draft], ...] = (
    within_windows,
    within_bounds,
    within_use,
    within_room,
    stepped_up,
    kept_while_burning,
    kept_while_drifting,
    kept_at_less_risk,
    stepped_down,
    cooled_down,
    within_change_budget,
    within_bounds,  # again: no step above may leave the bounds, whatever the floor was before
    unless_paused,
)


AT_ONCE_GUARDRAILS: tuple[Callable[[Situation, Draft], Draft], ...] = (
    within_windows,
    within_bounds,
    within_use,
    within_room,
)


def may_apply(situation: Situation) -> str | None:
    """Return why a change may not be applied; None when it may."""
    if situation.mode != "act":
        return f"mode {situation.mode}: nothing is applied"
    if not situation.backtest_passed:
        return "mode act, but no backtest on this service's history has been passed: nothing is applied"
    if reverted(situation) is not None:
        return f"{reverted(situation)}: observing, nothing is applied"
    return None


def reverted(situation: Situation) -> str | None:
    """Say that somebody else keeps setting our floor back."""
    reverts = situation.hpa.reverts if situation.hpa is not None else 0
    if reverts < REVERTS_BORNE:
        return None
    return f"another field manager has set our floor back {reverts} times"
