"""The whole story of one decision in sentences: forecast, capacity, risk, every guardrail, result, outcome.

`sentences_of` is pure; what it tells is what the audit holds, and what that does not hold is said to be unknown.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from collector.clickhouse import Client
from forecaster.api.shapes import patch_json, plain_json, stored_decision_json
from forecaster.scaling.wording import counted
from forecaster.store.decisions import OURSELVES, StoredDecision, read_decision
from forecaster.store.outcomes import Lead, Outcome, Patch, read_leads, read_outcomes, read_patches

_INSTANT = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Story:
    """What is stored of one decision; None: there was none, or it is not known yet."""

    stored: StoredDecision
    patch: Patch | None
    lead: Lead | None
    outcome: Outcome | None


def read_story(client: Client, id_or_prefix: str) -> Story | None:
    """Return what is stored of a decision, None when there is none. Raises ValueError for what is no id, StoreError."""
    stored = read_decision(client, id_or_prefix)
    if stored is None:
        return None
    at, service = stored.decision.at, stored.decision.service
    patches = read_patches(client, service, since=at, decision_id=stored.id, limit=1)
    patch = patches[0] if patches else None
    leads = read_leads(client, service, since=patch.at, until=patch.at + _INSTANT) if patch else []
    lead = next((one for one in leads if patch is not None and one.patch_id == patch.id), None)
    outcome = read_outcomes(client, service, since=at, until=at + _INSTANT).get(stored.id)
    return Story(stored, patch, lead, outcome)


def explained_json(story: Story) -> dict[str, Any]:
    """Return a decision with its patch, its outcome and its story in sentences."""
    return {
        **stored_decision_json(story.stored, story.outcome),
        "patch": patch_json(story.patch) if story.patch else None,
        "ready_after_seconds": plain_json(story.lead.span) if story.lead else None,
        "story": list(sentences_of(story)),
    }


def sentences_of(story: Story) -> tuple[str, ...]:
    """Return the story, a sentence for each part of it, in the order in which things happened."""
    stored = story.stored
    return (
        _who(stored),
        _forecast(stored),
        _capacity(stored),
        _risk(stored),
        *_why(stored),
        *(f"People were warned: {warning.text}." for warning in stored.decision.warnings),
        _result(story),
        _outcome(story.outcome, stored),
    )


def _who(stored: StoredDecision) -> str:
    decision = stored.decision
    who = "Tidegauge" if stored.actor == OURSELVES else stored.actor
    how = ", by force: against the mode or without a passed backtest" if stored.forced else ""
    return (
        f"At {_clock(decision.at)} {who} decided about {decision.service} in mode {decision.mode}{how}"
        f" (decision {stored.id})."
    )


def _forecast(stored: StoredDecision) -> str:
    if stored.forecast_origin is None:
        return "There was no forecast to rest on."
    name = f"forecast {stored.forecast_id}" if stored.forecast_id else "the forecast"
    return f"It rested on {name}, made by {stored.model} from what was known until {_clock(stored.forecast_origin)}."


def _capacity(stored: StoredDecision) -> str:
    capacity = stored.capacity
    if capacity is None:
        return "How much a replica carries was not known."
    named = f" [{capacity.id}]" if capacity.id else ""
    return f"A replica carries {capacity.low_rps:.4g} to {capacity.high_rps:.4g} requests/s ({capacity.source}{named})."


def _risk(stored: StoredDecision) -> str:
    lead = "" if stored.lead is None else f", and replicas were reckoned to be ready {_span(stored.lead)} after a patch"
    return f"Demand was to stay under the floor's capacity with probability {stored.quantile:.4g}{lead}."


def _why(stored: StoredDecision) -> tuple[str, ...]:
    decision = stored.decision
    changed = ", ".join(name.replace("_", " ") for name in decision.guardrails)
    guards = (
        f"The plan wanted {decision.floor_wanted} and these guardrails changed that, in this order: {changed}."
        if changed
        else f"The plan wanted {decision.floor_wanted}, and no guardrail changed that."
        if decision.outcome != "no_plan"
        else "There was no plan."
    )
    return (guards, *(f"Because: {reason}." for reason in decision.reasons))


def _result(story: Story) -> str:
    stored, decision = story.stored, story.stored.decision
    change = f"from {decision.floor_before} to {decision.floor_after}"
    if decision.floor_after == decision.floor_before:
        return f"The floor stayed at {decision.floor_before} (the operator's own is {_known(stored.operator_floor)})."
    if stored.error:
        return f"The floor was to go {change}, and the cluster did not take it: {stored.error}."
    if not stored.applied:
        return f"The floor would have gone {change}; nothing was applied."
    version = f", resourceVersion {stored.resource_version}" if stored.resource_version else ""
    ready = ""
    if story.lead is not None and story.lead.span is not None:
        ready = f" Its replicas were ready {_span(story.lead.span)} later."
    return f"The floor went {change} (the operator's own is {_known(stored.operator_floor)}{version}).{ready}"


def _outcome(outcome: Outcome | None, stored: StoredDecision) -> str:
    if outcome is None:
        due = stored.decision.at + (stored.lead or timedelta())
        return f"What came of it is not known yet: it had to see to the demand from {_clock(due)} on."
    span = f"from {_clock(outcome.due_at)} to {_clock(outcome.until)}"
    if outcome.demand_rps is None:
        return f"What came of it nobody knows: no demand is recorded {span}."
    needed = (
        "an unknown number of replicas"
        if outcome.replicas_needed is None
        else counted(outcome.replicas_needed, "replica")
    )
    ready = _known(outcome.ready)
    verdict = {True: "that was enough", False: "that was not enough", None: "whether that was enough is not known"}
    alone = {True: " The floor alone would have been.", False: " The floor alone would not have been.", None: ""}
    return (
        f"In the time it had to see to, {span}, demand came to {outcome.demand_rps:.4g} requests/s, for which"
        f" {needed} {_was(outcome.replicas_needed)} needed and {ready} {_was(outcome.ready)} ready:"
        f" {verdict[outcome.enough]}."
        f"{alone[outcome.floor_enough]}"
    )


def _known(value: int | None) -> str:
    return "an unknown number" if value is None else str(value)


def _was(value: int | None) -> str:
    return "was" if value in (1, None) else "were"


def _clock(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M:%S} UTC"


def _span(span: timedelta) -> str:
    seconds = round(span.total_seconds())
    return f"{seconds} s" if seconds < 120 else f"{seconds / 60:.3g} min"
