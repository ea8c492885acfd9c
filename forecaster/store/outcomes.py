"""The tables of what became of decisions: patches, how long their replicas took, and whether the floor was enough.

Written by later ticks, read by people and by the next decisions. `loop.outcomes` says what the rows mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, cast

from collector.clickhouse import Client
from forecaster.loop.journal import Row
from forecaster.store.decisions import OURSELVES
from forecaster.store.instants import between, epoch_milliseconds, rows_between, utc

Action = Literal["apply", "release"]
_PATCH_COLUMNS = (
    "id, service, patched_at, action, decision_id, actor, forced, reason, floor_before, floor_after, ready_before,"
    " resource_version, applied, error"
)
_OUTCOME_COLUMNS = "decision_id, decided_at, due_at, until, demand_rps, replicas_needed, ready, enough, floor_enough"


@dataclass(frozen=True, slots=True)
class Patch:
    """One attempt to change a floor. None where the autoscaler could not be read.

    decision_id: None for a release. resource_version: of the autoscaler after it, where it has one.
    """

    id: str
    service: str
    at: datetime
    action: Action
    floor_before: int | None
    floor_after: int | None
    ready_before: int | None
    applied: bool
    error: str | None = None
    decision_id: str | None = None
    actor: str = OURSELVES
    forced: bool = False
    reason: str = ""
    resource_version: str | None = None


@dataclass(frozen=True, slots=True)
class Lead:
    """How long a raise took until as many replicas as its floor were ready.

    None: another change of the floor came first, or they were not ready in the time that was waited.
    """

    patch_id: str
    patched_at: datetime
    ready_at: datetime | None

    @property
    def span(self) -> timedelta | None:
        """Return the time from patch to ready replicas."""
        return None if self.ready_at is None else self.ready_at - self.patched_at


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came in [due_at, until), the time that a decision had to see to; None = nobody knows.

    demand_rps: the highest step; replicas_needed: for it, at the capacity the decision reckoned with; ready: the fewest
    that were. enough: they were; floor_enough: the decided floor was, whatever the autoscaler added.
    """

    decision_id: str
    decided_at: datetime
    due_at: datetime
    until: datetime
    demand_rps: float | None
    replicas_needed: int | None
    ready: int | None
    enough: bool | None
    floor_enough: bool | None


def write_patch(client: Client, patch: Patch) -> None:
    """Store one attempt to change a floor; the same one again is stored once."""
    patch_row(patch).insert(client)


def patch_row(patch: Patch) -> Row:
    """Return the row of an attempt to change a floor."""
    row: dict[str, Any] = {
        "id": patch.id,
        "service": patch.service,
        "patched_at": epoch_milliseconds(patch.at),
        "action": patch.action,
        "decision_id": patch.decision_id or "",
        "actor": patch.actor,
        "forced": int(patch.forced),
        "reason": patch.reason,
        "floor_before": patch.floor_before,
        "floor_after": patch.floor_after,
        "ready_before": patch.ready_before,
        "resource_version": patch.resource_version or "",
        "applied": int(patch.applied),
        "error": patch.error or "",
    }
    return Row("floor_patches", row, f"patch/{patch.id}")


def read_patches(
    client: Client,
    service: str,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int = 1000,
    decision_id: str | None = None,
) -> list[Patch]:
    """Return at most `limit` patches with since <= patched_at < until, newest first; of one decision if named."""
    of_one = " AND decision_id = {decision:String}" if decision_id is not None else ""
    rows = client.query_rows(
        f"SELECT {_PATCH_COLUMNS} FROM floor_patches WHERE {rows_between('patched_at')}"  # noqa: S608 (constants)
        f"{of_one} ORDER BY patched_at DESC, id LIMIT {{limit:UInt32}}",
        {"service": service, "limit": limit, "decision": decision_id or "", **between(since, until)},
    )
    return [_patch(row) for row in rows]


def write_leads(client: Client, service: str, leads: Sequence[Lead], *, now: datetime) -> None:
    """Store how long raises took; the same raises again replace them."""
    columns: dict[str, list[Any]] = {
        "service": [service] * len(leads),
        "patched_at": [epoch_milliseconds(lead.patched_at) for lead in leads],
        "patch_id": [lead.patch_id for lead in leads],
        "ready_at": [None if lead.ready_at is None else epoch_milliseconds(lead.ready_at) for lead in leads],
        "seconds": [None if lead.span is None else lead.span.total_seconds() for lead in leads],
        "written_at": [epoch_milliseconds(now)] * len(leads),
    }
    token = ",".join(lead.patch_id for lead in leads)
    client.insert_columns("patch_leads", columns, token=f"leads/{service}/{token}")


def read_leads(client: Client, service: str, *, since: datetime, until: datetime, limit: int = 1000) -> list[Lead]:
    """Return how long raises with since <= patched_at < until took, newest first."""
    rows = client.query_rows(
        f"SELECT patch_id, patched_at, ready_at FROM patch_leads FINAL WHERE {rows_between('patched_at')}"  # noqa: S608 (as above)
        " ORDER BY patched_at DESC LIMIT {limit:UInt32}",
        {"service": service, "limit": limit, **between(since, until)},
    )
    return [Lead(str(id_), utc(at), utc(ready_at) if ready_at else None) for id_, at, ready_at in rows]


def write_outcomes(client: Client, service: str, outcomes: Sequence[Outcome], *, now: datetime) -> None:
    """Store what came of decisions; the same decisions again replace them."""
    columns: dict[str, list[Any]] = {
        "service": [service] * len(outcomes),
        "decision_id": [one.decision_id for one in outcomes],
        "decided_at": [epoch_milliseconds(one.decided_at) for one in outcomes],
        "due_at": [epoch_milliseconds(one.due_at) for one in outcomes],
        "until": [epoch_milliseconds(one.until) for one in outcomes],
        "written_at": [epoch_milliseconds(now)] * len(outcomes),
    }
    for name in ("demand_rps", "replicas_needed", "ready"):
        columns[name] = [getattr(one, name) for one in outcomes]
    for name in ("enough", "floor_enough"):
        columns[name] = [None if getattr(one, name) is None else int(getattr(one, name)) for one in outcomes]
    token = ",".join(one.decision_id for one in outcomes)
    client.insert_columns("decision_outcomes", columns, token=f"outcomes/{service}/{token}")


def read_outcomes(
    client: Client, service: str, *, since: datetime | None = None, until: datetime | None = None
) -> dict[str, Outcome]:
    """Return what came of the decisions with since <= decided_at < until, by the decision's id."""
    rows = client.query_rows(
        f"SELECT {_OUTCOME_COLUMNS} FROM decision_outcomes FINAL WHERE {rows_between('decided_at')}",  # noqa: S608 (as above)
        {"service": service, **between(since, until)},
    )
    return {str(row[0]): _outcome(row) for row in rows}


def _patch(row: tuple[Any, ...]) -> Patch:
    value = dict(zip(_PATCH_COLUMNS.split(", "), row, strict=True))
    return Patch(
        id=value["id"],
        service=value["service"],
        at=utc(value["patched_at"]),
        action=cast("Action", value["action"]),
        floor_before=value["floor_before"],
        floor_after=value["floor_after"],
        ready_before=value["ready_before"],
        applied=bool(value["applied"]),
        error=value["error"] or None,
        decision_id=value["decision_id"] or None,
        actor=value["actor"],
        forced=bool(value["forced"]),
        reason=value["reason"],
        resource_version=value["resource_version"] or None,
    )


def _outcome(row: tuple[Any, ...]) -> Outcome:
    id_, decided_at, due_at, until, demand, needed, ready, enough, floor_enough = row
    return Outcome(
        str(id_), utc(decided_at), utc(due_at), utc(until), demand, needed, ready,
        None if enough is None else bool(enough), None if floor_enough is None else bool(floor_enough),
    )  # fmt: skip
