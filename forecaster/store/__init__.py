"""The forecaster's own tables: forecasts, decisions, replica states and the verdicts of policy backtests.

All SQL on them stands here and in the modules beside it; the dashboard and the API read through here.

Demand and its watermark belong to `collector.record.store`. Every function raises the store's errors of
`collector.clickhouse` (StoreUnavailableError: the same call may succeed later). Writing the same row again is harmless:
each insert carries a deduplication token made from what the row is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd

from collector.clickhouse import Client
from forecaster.scaling.types import HpaState
from forecaster.store.decisions import (
    LastChanges,
    StoredDecision,
    read_decision,
    read_decisions,
    read_last_changes,
    write_decision,
)
from forecaster.store.forecasts import read_forecast_as_known, read_forecasts, read_latest_forecast, write_forecast
from forecaster.store.instants import between, epoch_milliseconds, epoch_seconds, rows_between, utc

SCHEMA_FOLDER = Path(__file__).parent / "schema"
SCHEMA_OWNER = "forecaster"

_STATE_COLUMNS = ("ts", "operator_floor", "floor", "ceiling", "desired", "current", "ready", "capacity_rps")

__all__ = [
    "SCHEMA_FOLDER",
    "SCHEMA_OWNER",
    "LastChanges",
    "ReplicaState",
    "StoredBacktest",
    "StoredDecision",
    "read_decision",
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


@dataclass(frozen=True, slots=True)
class ReplicaState:
    """The autoscaler as seen at an instant; capacity_rps: of one replica, the low end, None when nobody knows it."""

    service: str
    at: datetime
    hpa: HpaState
    capacity_rps: float | None


@dataclass(frozen=True, slots=True)
class StoredBacktest:
    """A policy judged on history. report: what the judge measured, as JSON-ready values."""

    service: str
    run_at: datetime
    passed: bool
    window_from: datetime
    window_to: datetime
    report: Mapping[str, Any]


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
        f"SELECT {', '.join(_STATE_COLUMNS)} FROM replica_states WHERE {rows_between('ts')}"  # noqa: S608 (constants)
        " ORDER BY ts DESC LIMIT 1 BY intDiv(toUnixTimestamp64Milli(ts), {step:Int64})",
        {"service": service, "step": _milliseconds(step), **between(since, until)},
    )
    if newest_first.empty:  # an empty answer has no columns at all
        return pd.DataFrame(columns=list(_STATE_COLUMNS)).astype({"ts": "datetime64[ms, UTC]"})
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


def _milliseconds(step: timedelta | None) -> int:
    return 1 if step is None else max(1, int(step.total_seconds() * 1000))
