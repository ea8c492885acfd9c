"""What is kept of a decision: one row for it, one for the patch it led to, and when a repetition is worth a row."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta

from collector.clickhouse import Client, StoreRefusedError
from forecaster.forecast.types import Forecast
from forecaster.loop.journal import UNKNOWN, Row
from forecaster.loop.world import Memory
from forecaster.scaling.types import Decision, HpaState, Situation
from forecaster.store.decisions import OURSELVES, StoredDecision, decision_row, write_decision
from forecaster.store.forecasts import forecast_id
from forecaster.store.outcomes import Patch, patch_row, write_patch

_MOST_UNSAVED = 1000


@dataclass(frozen=True, slots=True)
class By:
    """Who asks for a decision. forced: against the mode, or without a passed backtest."""

    actor: str = OURSELVES
    forced: bool = False
    by_hand: bool = False
    reason: str = ""


BY_ITSELF = By()


def stored_of(
    situation: Situation, decision: Decision, *, id_: str, after: HpaState | None, error: str | None, by: By
) -> StoredDecision:
    """Return the row of a decision. after: the autoscaler once it was carried out, None when it was not."""
    forecast = situation.forecast if isinstance(situation.forecast, Forecast) else None
    hpa = after or situation.hpa
    return StoredDecision(
        id=id_,
        decision=decision,
        applied=after is not None,
        error=error,
        forecast_origin=forecast.origin if forecast else None,
        model=forecast.model if forecast else None,
        quantile=decision.quantile or situation.scaling.quantile,
        capacity=situation.capacity,
        forecast_id=forecast_id(forecast) if forecast else None,
        actor=by.actor,
        forced=by.forced,
        operator_floor=hpa.operator_floor if hpa else None,
        ready=situation.hpa.ready if situation.hpa else None,
        lead=decision.lead or situation.lead or situation.scaling.lead,
        resource_version=hpa.resource_version if hpa else None,
    )


def patch_of(situation: Situation, stored: StoredDecision, *, reason: str = "") -> Patch | None:
    """Return the patch that a decision led to, which has its id; None when nothing was tried."""
    decision = stored.decision
    if not decision.apply:
        return None
    return Patch(
        id=stored.id,
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


def rows_before(situation: Situation, decision: Decision, *, id_: str, by: By) -> list[Row]:
    """Return the rows of a change that is about to be made, as they stand when nobody learns what became of it."""
    stored = stored_of(situation, decision, id_=id_, after=None, error=UNKNOWN, by=by)
    patch = patch_of(situation, stored, reason=by.reason)
    return [decision_row(stored), *([] if patch is None else [patch_row(patch)])]


def is_worth_storing(stored: StoredDecision, last: StoredDecision | None, *, heartbeat: timedelta) -> bool:
    """Say whether a decision adds to the audit: it tried to change the floor, or says something else than the last.

    Ticks come every clock minute and mostly repeat themselves; a row for each would bury the changes. But silence must
    not look like health, so a repetition is stored too when the last row is `heartbeat` old.
    """
    if last is None or stored.decision.apply or _gist(stored) != _gist(last):
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
