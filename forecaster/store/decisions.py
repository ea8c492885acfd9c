"""The table of decisions: its SQL, its writes and its reads. `forecaster.store` is the door to it.

One row per decision worth storing: what it rested on, what each guardrail did to it, and whether the cluster took it.
What came of it later stands in tables of its own (`outcomes`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from collector.clickhouse import Client
from forecaster.loop.journal import Row
from forecaster.scaling.types import Capacity, Decision, PlannedFloor, PlanWarning
from forecaster.store.instants import between, epoch_milliseconds, epoch_seconds, rows_between, utc

OURSELVES = "tidegauge"
_COLUMNS = (
    "id, service, decided_at, mode, outcome, floor_before, floor_after, floor_wanted, applied, error, reasons,"
    " needed_at, forecast_origin, model, quantile, capacity_low_rps, capacity_high_rps, plan, forecast_id,"
    " capacity_id, capacity_source, actor, forced, guardrails, warnings, operator_floor, ready,"
    " lead_seconds, resource_version"
)
_SHORTEST_PREFIX = 6


@dataclass(frozen=True, slots=True)
class StoredDecision:
    """A decision and what became of it. applied: the cluster took the floor; error: why it did not.

    forecast_origin, model, forecast_id: what it rested on, None without a forecast. quantile: the level asked for.
    actor: who asked for it, OURSELVES when nobody did; forced: against the mode or without a passed backtest.
    lead: what was reckoned with. resource_version: of the autoscaler after the change, or as it was read.
    """

    id: str
    decision: Decision
    applied: bool
    error: str | None
    forecast_origin: datetime | None
    model: str | None
    quantile: float
    capacity: Capacity | None
    forecast_id: str | None = None
    actor: str = OURSELVES
    forced: bool = False
    operator_floor: int | None = None
    ready: int | None = None
    lead: timedelta | None = None
    resource_version: str | None = None


@dataclass(frozen=True, slots=True)
class LastChanges:
    """When the floor in force was last raised and last lowered by a decision; None = never."""

    raised_at: datetime | None = None
    lowered_at: datetime | None = None


def write_decision(client: Client, stored: StoredDecision) -> None:
    """Store one decision."""
    decision_row(stored).insert(client)


def decision_row(stored: StoredDecision) -> Row:
    """Return the row of a decision."""
    decision, capacity = stored.decision, stored.capacity
    row: dict[str, Any] = {
        "id": stored.id,
        "service": decision.service,
        "decided_at": epoch_milliseconds(decision.at),
        "mode": decision.mode,
        "outcome": decision.outcome,
        "floor_before": decision.floor_before,
        "floor_after": decision.floor_after,
        "floor_wanted": decision.floor_wanted,
        "applied": int(stored.applied),
        "error": stored.error or "",
        "reasons": list(decision.reasons),
        "needed_at": epoch_milliseconds(decision.needed_at) if decision.needed_at else None,
        "forecast_origin": epoch_seconds(stored.forecast_origin) if stored.forecast_origin else None,
        "model": stored.model or "",
        "quantile": stored.quantile,
        "capacity_low_rps": capacity.low_rps if capacity else None,
        "capacity_high_rps": capacity.high_rps if capacity else None,
        "plan": json.dumps([[epoch_seconds(step.starts_at), step.floor, step.reason] for step in decision.plan]),
        "forecast_id": stored.forecast_id or "",
        "capacity_id": (capacity.id or "") if capacity else "",
        "capacity_source": capacity.source if capacity else "",
        "actor": stored.actor,
        "forced": int(stored.forced),
        "guardrails": list(decision.guardrails),
        "warnings": json.dumps([_warning_document(one) for one in decision.warnings]),
        "operator_floor": stored.operator_floor,
        "ready": stored.ready,
        "lead_seconds": None if stored.lead is None else int(stored.lead.total_seconds()),
        "resource_version": stored.resource_version or "",
    }
    return Row("decisions", row, f"decision/{stored.id}")


def read_decisions(
    client: Client,
    service: str,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int = 100,
    changes_only: bool = False,
) -> list[StoredDecision]:
    """Return at most `limit` decisions with since <= decided_at < until, newest first.

    changes_only: leave out those that kept the floor.
    """
    changed = " AND floor_after != floor_before" if changes_only else ""
    rows = client.query_rows(
        f"SELECT {_COLUMNS} FROM decisions WHERE {rows_between('decided_at')}"  # noqa: S608 (constants)
        f"{changed} ORDER BY decided_at DESC, id LIMIT {{limit:UInt32}}",
        {"service": service, "limit": limit, **between(since, until)},
    )
    return [_decision(row) for row in rows]


def read_decision(client: Client, id_or_prefix: str) -> StoredDecision | None:
    """Return the decision of an id, or of its first characters when no other begins so; None when there is none.

    Raises ValueError for what is no id, is too short, or is the beginning of several.
    """
    if not re.fullmatch(rf"[A-Za-z0-9-]{{{_SHORTEST_PREFIX},64}}", id_or_prefix):
        expected = f"expected the id of a decision, or at least its first {_SHORTEST_PREFIX} characters"
        raise ValueError(f"{expected}, got {id_or_prefix!r}")
    rows = client.query_rows(
        f"SELECT {_COLUMNS} FROM decisions WHERE startsWith(id, {{id:String}}) ORDER BY id LIMIT 2",  # noqa: S608 (as above)
        {"id": id_or_prefix},
    )
    found = [_decision(row) for row in rows]
    if len(found) > 1 and found[0].id != id_or_prefix:
        raise ValueError(f"expected the id of one decision, got the beginning of {found[0].id}, {found[1].id} and more")
    return found[0] if found else None


def read_last_changes(client: Client, service: str, *, until: datetime) -> LastChanges:
    """Return when decisions before `until` last raised and last lowered the floor in force."""
    rows = client.query_rows(
        "SELECT floor_after > floor_before AS raised, max(decided_at) FROM decisions WHERE service = {service:String}"
        " AND applied = 1 AND floor_after != floor_before"
        " AND decided_at < fromUnixTimestamp64Milli({until:Int64}, 'UTC') GROUP BY raised",
        {"service": service, "until": epoch_milliseconds(until)},
    )
    at = {bool(raised): utc(decided_at) for raised, decided_at in rows}
    return LastChanges(raised_at=at.get(True), lowered_at=at.get(False))


def read_change_instants(client: Client, service: str, *, since: datetime, until: datetime) -> list[datetime]:
    """Return when decisions with since <= decided_at < until changed the floor in force, oldest first."""
    rows = client.query_rows(
        f"SELECT decided_at FROM decisions WHERE {rows_between('decided_at')}"  # noqa: S608 (as above)
        " AND applied = 1 AND floor_after != floor_before ORDER BY decided_at",
        {"service": service, **between(since, until)},
    )
    return [utc(row[0]) for row in rows]


def read_unjudged(client: Client, service: str, *, since: datetime, until: datetime) -> Sequence[StoredDecision]:
    """Return the decisions with since <= decided_at < until whose outcome is not written yet, oldest first."""
    rows = client.query_rows(
        f"SELECT {_COLUMNS} FROM decisions WHERE {rows_between('decided_at')}"  # noqa: S608 (as above)
        " AND id NOT IN (SELECT decision_id FROM decision_outcomes WHERE service = {service:String}"
        " AND decided_at >= fromUnixTimestamp64Milli({since:Int64}, 'UTC'))"
        " ORDER BY decided_at, id LIMIT 500",
        {"service": service, **between(since, until)},
    )
    return [_decision(row) for row in rows]


def _decision(row: tuple[Any, ...]) -> StoredDecision:
    value = dict(zip(_COLUMNS.split(", "), row, strict=True))
    lead = None if value["lead_seconds"] is None else timedelta(seconds=value["lead_seconds"])
    decision = Decision(
        at=utc(value["decided_at"]),
        service=value["service"],
        mode=value["mode"],
        outcome=value["outcome"],
        floor_before=value["floor_before"],
        floor_wanted=value["floor_wanted"],
        floor_after=value["floor_after"],
        apply=bool(value["applied"]) or bool(value["error"]),
        reasons=tuple(value["reasons"]),
        needed_at=utc(value["needed_at"]) if value["needed_at"] else None,
        plan=tuple(PlannedFloor(utc(at), floor, reason) for at, floor, reason in json.loads(value["plan"])),
        warnings=tuple(_warning(one) for one in json.loads(value["warnings"])),
        quantile=value["quantile"],
        guardrails=tuple(value["guardrails"]),
        lead=lead,
    )
    low, high = value["capacity_low_rps"], value["capacity_high_rps"]
    source = value["capacity_source"] or "stored with the decision"
    return StoredDecision(
        id=value["id"],
        decision=decision,
        applied=bool(value["applied"]),
        error=value["error"] or None,
        forecast_origin=utc(value["forecast_origin"]) if value["forecast_origin"] else None,
        model=value["model"] or None,
        quantile=value["quantile"],
        capacity=Capacity(low, high, source, value["capacity_id"] or None) if low is not None else None,
        forecast_id=value["forecast_id"] or None,
        actor=value["actor"],
        forced=bool(value["forced"]),
        operator_floor=value["operator_floor"],
        ready=value["ready"],
        lead=lead,
        resource_version=value["resource_version"] or None,
    )


def _warning_document(warning: PlanWarning) -> dict[str, Any]:
    expected = epoch_seconds(warning.expected_at) if warning.expected_at else None
    return {
        "kind": warning.kind, "text": warning.text, "expected_at": expected, "probability": warning.probability,
    }  # fmt: skip


def _warning(value: dict[str, Any]) -> PlanWarning:
    expected = None if value["expected_at"] is None else utc(value["expected_at"])
    return PlanWarning(value["kind"], value["text"], expected, value["probability"])
