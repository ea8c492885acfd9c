"""What is kept of a decision: one row for it, one for the patch it led to, and when a repetition is worth a row."""

from __future__ import annotations

import re
import uuid
from datetime import timedelta

from collector.clickhouse import Client, StoreRefusedError
from forecaster.decision_store import StoredDecision, write_decision
from forecaster.forecast.types import Forecast
from forecaster.forecast_store import forecast_id
from forecaster.outcome_store import Patch, write_patch
from forecaster.scaling.types import Decision, HpaState, Situation
from forecaster.world import Memory

_MOST_UNSAVED = 1000


def stored_of(
    situation: Situation, decision: Decision, *, after: HpaState | None, error: str | None, actor: str, forced: bool
) -> StoredDecision:
    """Return the row of a decision. after: the autoscaler once it was carried out, None when it was not."""
    forecast = situation.forecast if isinstance(situation.forecast, Forecast) else None
    hpa = after or situation.hpa
    return StoredDecision(
        id=str(uuid.uuid4()),
        decision=decision,
        applied=after is not None,
        error=error,
        forecast_origin=forecast.origin if forecast else None,
        model=forecast.model if forecast else None,
        quantile=decision.quantile or situation.scaling.quantile,
        capacity=situation.capacity,
        forecast_id=forecast_id(forecast) if forecast else None,
        actor=actor,
        forced=forced,
        operator_floor=hpa.operator_floor if hpa else None,
        ready=situation.hpa.ready if situation.hpa else None,
        lead=decision.lead or situation.lead or situation.scaling.lead,
        resource_version=hpa.resource_version if hpa else None,
    )


def patch_of(situation: Situation, stored: StoredDecision, *, id_: str, reason: str = "") -> Patch | None:
    """Return the row of the patch that a decision led to; None when nothing was tried."""
    decision = stored.decision
    if not decision.apply:
        return None
    return Patch(
        id=id_,
        service=decision.service,
        at=decision.at,
        action="apply",
        floor_before=decision.floor_before,
        floor_after=decision.floor_after,
        ready_before=situation.hpa.ready if situation.hpa else None,
        applied=stored.applied,
        error=stored.error,
        decision_id=stored.id,
        actor=stored.actor,
        forced=stored.forced,
        reason=reason,
        resource_version=stored.resource_version,
    )


def is_worth_storing(stored: StoredDecision, last: StoredDecision | None, *, heartbeat: timedelta) -> bool:
    """Say whether a decision adds to the audit: it changed the floor, or says something else than the last one stored.

    Ticks come every clock minute and mostly repeat themselves; a row for each would bury the changes. But silence must
    not look like health, so a repetition is stored too when the last row is `heartbeat` old.
    """
    if last is None or stored.applied or _gist(stored) != _gist(last):
        return True
    return not timedelta(0) <= stored.decision.at - last.decision.at < heartbeat


def save(client: Client, memory: Memory) -> None:
    """Write the rows that wait, oldest first. Raises StoreError: what is left is written by the next call."""
    memory.unsaved = memory.unsaved[-_MOST_UNSAVED:]
    while memory.unsaved:
        oldest, *later = memory.unsaved
        try:
            if isinstance(oldest, Patch):
                write_patch(client, oldest)
            else:
                write_decision(client, oldest)
        except StoreRefusedError:
            memory.unsaved = later  # it will never be taken: the error is told once, and later rows get their turn
            raise
        memory.unsaved = later


def _gist(stored: StoredDecision) -> tuple[object, ...]:
    """Return what a decision says, but for the figures in its reasons, which differ at every tick."""
    decision = stored.decision
    texts = (*decision.reasons, *(warning.kind for warning in decision.warnings), stored.error or "")
    words = tuple(re.sub(r"\d[\d.,:TZ-]*", "#", text) for text in texts)
    return decision.mode, decision.outcome, decision.floor_before, decision.floor_after, words
