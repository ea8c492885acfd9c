"""The forecaster's own tables: forecasts, decisions, replica states and the verdicts of policy backtests.

All SQL on them stands here and in `forecast_store`; the dashboard and the API read through these functions.

Demand and its watermark belong to `collector.record.store`. Every function raises the store's errors of
`collector.clickhouse` (StoreUnavailableError: the same call may succeed later). Writing the same row again is harmless:
each insert carries a deduplication token made from what the row is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd

from collector.clickhouse import Client
from forecaster.forecast_store import read_forecast_as_known, read_forecasts, read_latest_forecast, write_forecast
from forecaster.instants import epoch_milliseconds, epoch_seconds, utc
from forecaster.scaling.types import Capacity, Decision, HpaState, PlannedFloor

SCHEMA_FOLDER = Path(__file__).parent / "schema"
SCHEMA_OWNER = "forecaster"

__all__ = [
    "SCHEMA_FOLDER",
    "SCHEMA_OWNER",
    "LastChanges",
    "ReplicaState",
    "StoredBacktest",
    "StoredDecision",
    "read_decisions",
    "read_forecast_as_known",
    "read_forecasts",
    "read_last_changes",
    "read_latest_backtest",
    "read_latest_forecast",
    "read_replica_states",
    "write_backtest",
    "write_decision",
    "write_forecast",
    "write_replica_states",
]

_DECISION_COLUMNS = (
    "id, service, decided_at, mode, outcome, floor_before, floor_after, floor_wanted, applied, error, reasons,"
    " needed_at, forecast_origin, model, quantile, capacity_low_rps, capacity_high_rps, plan"
)


@dataclass(frozen=True, slots=True)
class StoredDecision:
    """A decision and what became of it. applied: the cluster took the floor; error: why it did not.

    forecast_origin, model: what it rested on, None without a forecast. quantile: the level asked for.
    """

    id: str
    decision: Decision
    applied: bool
    error: str | None
    forecast_origin: datetime | None
    model: str | None
    quantile: float
    capacity: Capacity | None


@dataclass(frozen=True, slots=True)
class ReplicaState:
    """The autoscaler as seen at an instant; capacity_rps: of one replica, the low end, None when nobody knows it."""

    service: str
    at: datetime
    hpa: HpaState
    capacity_rps: float | None


@dataclass(frozen=True, slots=True)
class LastChanges:
    """When the floor in force was last raised and last lowered by a decision; None = never."""

    raised_at: datetime | None = None
    lowered_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class StoredBacktest:
    """A policy judged on history. report: what the judge measured, as JSON-ready values."""

    service: str
    run_at: datetime
    passed: bool
    window_from: datetime
    window_to: datetime
    report: Mapping[str, Any]


def write_decision(client: Client, stored: StoredDecision) -> None:
    """Store one decision."""
    decision, capacity = stored.decision, stored.capacity
    row = {
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
    }
    client.insert_columns("decisions", {name: [value] for name, value in row.items()}, token=f"decision/{stored.id}")


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
        f"SELECT {_DECISION_COLUMNS} FROM decisions WHERE service = {{service:String}}"  # noqa: S608 (a constant)
        " AND decided_at >= fromUnixTimestamp64Milli({since:Int64}, 'UTC')"
        " AND decided_at < fromUnixTimestamp64Milli({until:Int64}, 'UTC')"
        f"{changed} ORDER BY decided_at DESC, id LIMIT {{limit:UInt32}}",
        {"service": service, "limit": limit, **_between(since, until)},
    )
    return [_decision(row) for row in rows]


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


def write_replica_states(client: Client, states: Sequence[ReplicaState]) -> None:
    """Store what was seen of the autoscaler; no states, no insert."""
    if not states:
        return
    columns: dict[str, list[Any]] = {
        "service": [state.service for state in states],
        "ts": [epoch_milliseconds(state.at) for state in states],
        "capacity_rps": [state.capacity_rps for state in states],
    }
    for name in ("operator_floor", "floor", "ceiling", "desired", "current", "ready"):
        columns[name] = [getattr(state.hpa, name) for state in states]
    token = "/".join(f"{state.service}@{epoch_milliseconds(state.at)}" for state in states)
    client.insert_columns("replica_states", columns, token=f"replicas/{token}")


def read_replica_states(
    client: Client, service: str, *, since: datetime, until: datetime, step: timedelta | None = None
) -> pd.DataFrame:
    """Return what was seen of the autoscaler with since <= ts < until; with a step, the last of each step only.

    Columns: ts, operator_floor, floor, ceiling, desired, current, ready, capacity_rps (NaN when nobody knew it). A row
    holds until the next one; there is one at least every clock minute, so a longer silence means that nobody looked.
    """
    newest_first = client.query_frame(
        "SELECT ts, operator_floor, floor, ceiling, desired, current, ready, capacity_rps FROM replica_states"
        " WHERE service = {service:String} AND ts >= fromUnixTimestamp64Milli({since:Int64}, 'UTC')"
        " AND ts < fromUnixTimestamp64Milli({until:Int64}, 'UTC')"
        " ORDER BY ts DESC LIMIT 1 BY intDiv(toUnixTimestamp64Milli(ts), {step:Int64})",
        {"service": service, "step": _milliseconds(step), **_between(since, until)},
    )
    return newest_first.iloc[::-1].reset_index(drop=True)


def write_backtest(client: Client, backtest: StoredBacktest) -> None:
    """Store the verdict on a policy."""
    row: dict[str, Any] = {
        "service": backtest.service,
        "run_at": epoch_milliseconds(backtest.run_at),
        "passed": int(backtest.passed),
        "window_from": epoch_seconds(backtest.window_from),
        "window_to": epoch_seconds(backtest.window_to),
        "report": json.dumps(backtest.report, allow_nan=False),
    }
    token = f"backtest/{backtest.service}/{row['run_at']}"
    client.insert_columns("policy_backtests", {name: [value] for name, value in row.items()}, token=token)


def read_latest_backtest(client: Client, service: str) -> StoredBacktest | None:
    """Return the newest verdict on a service's policy, None when it was never judged."""
    rows = client.query_rows(
        "SELECT run_at, passed, window_from, window_to, report FROM policy_backtests"
        " WHERE service = {service:String} ORDER BY run_at DESC LIMIT 1",
        {"service": service},
    )
    if not rows:
        return None
    run_at, passed, window_from, window_to, report = rows[0]
    return StoredBacktest(service, utc(run_at), bool(passed), utc(window_from), utc(window_to), json.loads(report))


def _decision(row: tuple[Any, ...]) -> StoredDecision:
    value = dict(zip(_DECISION_COLUMNS.split(", "), row, strict=True))
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
    )
    low, high = value["capacity_low_rps"], value["capacity_high_rps"]
    return StoredDecision(
        id=value["id"],
        decision=decision,
        applied=bool(value["applied"]),
        error=value["error"] or None,
        forecast_origin=utc(value["forecast_origin"]) if value["forecast_origin"] else None,
        model=value["model"] or None,
        quantile=value["quantile"],
        capacity=Capacity(low, high, "stored with the decision") if low is not None else None,
    )


def _between(since: datetime | None, until: datetime | None) -> dict[str, int]:
    far_ahead = datetime(2200, 1, 1, tzinfo=UTC)
    return {"since": epoch_milliseconds(since) if since else 0, "until": epoch_milliseconds(until or far_ahead)}


def _milliseconds(step: timedelta | None) -> int:
    return 1 if step is None else max(1, int(step.total_seconds() * 1000))
