"""Markers, load runs and measured capacities: what people and the load generator tell the record.

Owns the DDL, SQL and reads of markers, load_runs, load_seconds, load_requests and capacities.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from collector.clickhouse import Client


@dataclass(frozen=True, slots=True)
class Marker:
    """A span people should know of (a deploy, an incident).

    masks_history: forecasts must not learn from it. excludes_slo: its requests count for no SLO (maintenance).
    """

    service: str
    kind: str
    starts_at: datetime
    ends_at: datetime
    text: str
    masks_history: bool = False
    excludes_slo: bool = False


@dataclass(frozen=True, slots=True)
class Capacity:
    """Requests per real second that one replica carries within its SLO: between low and high."""

    service: str
    measured_at: datetime
    version: str
    source: str
    low_rps: float
    high_rps: float
    details: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class LoadRun:
    """One run of the load generator; `summary` is its own account of itself."""

    run_id: str
    service: str
    scenario: str
    target: str
    started_at: datetime
    ended_at: datetime
    status: str
    summary: Mapping[str, Any]


def write_marker(client: Client, marker: Marker) -> None:
    """Store a marker. The same service, kind, start and text again replaces its end and what it asks for."""
    identity = _digest(marker.service, marker.kind, marker.starts_at.isoformat(), marker.text)
    client.insert_columns(
        "markers",
        {
            "id": [identity],
            "service": [marker.service],
            "kind": [marker.kind],
            "starts_at": [_millis(marker.starts_at)],
            "ends_at": [_millis(marker.ends_at)],
            "text": [marker.text],
            "masks_history": [int(marker.masks_history)],
            "excludes_slo": [int(marker.excludes_slo)],
        },
        # Not made of the content: a marker changed and changed back has to be stored a third time.
        token=f"marker/{uuid.uuid4()}",
    )


def read_markers(client: Client, service: str, *, since: datetime, until: datetime) -> list[Marker]:
    """Return the markers that overlap [since, until), by their start."""
    sql = """SELECT service, kind, toUnixTimestamp64Milli(starts_at), toUnixTimestamp64Milli(ends_at), text,
        masks_history, excludes_slo
      FROM markers FINAL
      WHERE service = {service:String} AND ends_at >= fromUnixTimestamp64Milli({since:Int64})
        AND starts_at < fromUnixTimestamp64Milli({until:Int64}) ORDER BY starts_at, id"""
    rows = client.query_rows(sql, {"service": service, "since": _millis(since), "until": _millis(until)})
    return [
        Marker(row[0], row[1], _instant(row[2]), _instant(row[3]), row[4], bool(row[5]), bool(row[6])) for row in rows
    ]


def write_capacity(client: Client, capacity: Capacity) -> None:
    """Store a measured capacity; the same one again changes nothing."""
    details = json.dumps(capacity.details, sort_keys=True)
    identity = _digest(
        capacity.service, capacity.measured_at.isoformat(), capacity.version, capacity.source,
        repr(capacity.low_rps), repr(capacity.high_rps), details,
    )  # fmt: skip
    client.insert_columns(
        "capacities",
        {
            "service": [capacity.service],
            "measured_at": [_millis(capacity.measured_at)],
            "version": [capacity.version],
            "source": [capacity.source],
            "low_rps": [capacity.low_rps],
            "high_rps": [capacity.high_rps],
            "details": [details],
        },
        token=f"capacity/{identity}",
    )


def read_capacities(client: Client, service: str, *, limit: int = 100) -> list[Capacity]:
    """Return the newest measured capacities of a service, newest first; an empty list when none was measured."""
    sql = """SELECT service, toUnixTimestamp64Milli(measured_at), version, source, low_rps, high_rps, details
      FROM capacities WHERE service = {service:String} ORDER BY measured_at DESC LIMIT {limit:UInt32}"""
    return [
        Capacity(row[0], _instant(row[1]), row[2], row[3], row[4], row[5], json.loads(row[6]))
        for row in client.query_rows(sql, {"service": service, "limit": limit})
    ]


def write_load_run(client: Client, run: LoadRun, *, reported_at: datetime, batch_id: str) -> None:
    """Store what is known of a run now; a later report replaces it."""
    client.insert_columns(
        "load_runs",
        {
            "run_id": [run.run_id],
            "service": [run.service],
            "scenario": [run.scenario],
            "target": [run.target],
            "started_at": [_millis(run.started_at)],
            "ended_at": [_millis(run.ended_at)],
            "reported_at": [int(reported_at.timestamp() * 1_000_000)],
            "status": [run.status],
            "summary": [json.dumps(run.summary, sort_keys=True)],
        },
        token=f"load-run/{batch_id}",
    )


def write_load_seconds(client: Client, run_id: str, columns: Mapping[str, Sequence[Any]], *, batch_id: str) -> int:
    """Store new seconds of a run (columns of load_seconds, `second` in epoch seconds); return how many."""
    rows = len(columns["second"])
    return client.insert_columns(
        "load_seconds", {"run_id": [run_id] * rows, **columns}, token=f"load-seconds/{batch_id}"
    )


def write_load_requests(client: Client, run_id: str, columns: Mapping[str, Sequence[Any]], *, batch_id: str) -> int:
    """Store requests of a run (intended_us, sent_us, first_byte_us, done_us, status, name, error); return how many."""
    rows = len(columns["intended_us"])
    renamed = {name.removesuffix("_us"): values for name, values in columns.items()}
    return client.insert_columns(
        "load_requests", {"run_id": [run_id] * rows, **renamed}, token=f"load-requests/{batch_id}"
    )


def read_load_runs(client: Client, service: str | None = None, *, limit: int = 50) -> list[LoadRun]:
    """Return the newest runs of a service (of all when None), newest first."""
    rows = client.query_rows(
        f"{_LOAD_RUNS} WHERE {{service:String}} = '' OR service = {{service:String}}"
        " ORDER BY started_at DESC LIMIT {limit:UInt32}",
        {"service": service or "", "limit": limit},
    )
    return [_load_run(row) for row in rows]


def read_load_run(client: Client, run_id: str) -> LoadRun | None:
    """Return one run; None when no such run is stored."""
    rows = client.query_rows(f"{_LOAD_RUNS} WHERE run_id = {{run_id:String}} LIMIT 1", {"run_id": run_id})
    return _load_run(rows[0]) if rows else None


def read_load_spans(client: Client, service: str, *, until: datetime) -> list[tuple[datetime, datetime]]:
    """Return from when to when load tests of a service ran that began before `until`, oldest first.

    A run whose summary names a `curve` is no test: it plays the service's users. One that is still under way, or was
    killed, has lasted until the newest second it told of.
    """
    found = client.query_rows(
        """SELECT run_id, toUnixTimestamp64Milli(started_at) AS start, toUnixTimestamp64Milli(ended_at), status
          FROM load_runs FINAL WHERE service = {service:String} AND NOT JSONHas(summary, 'curve')
            AND started_at < fromUnixTimestamp64Milli({until:Int64}) ORDER BY start, run_id""",
        {"service": service, "until": _millis(until)},
    )
    under_way = [run for run, _, _, status in found if status == "running"]
    newest = client.query_rows(
        """SELECT run_id, toInt64(toUnixTimestamp(max(second)) + 1) * 1000 FROM load_seconds
          WHERE run_id IN {runs:Array(String)} GROUP BY run_id""",
        {"runs": under_way},
    ) if under_way else []  # fmt: skip
    told_until = dict(newest)
    return [(_instant(start), _instant(max(end, told_until.get(run, end)))) for run, start, end, _ in found]


_LOAD_RUNS = """SELECT run_id, service, scenario, target, toUnixTimestamp64Milli(started_at),
    toUnixTimestamp64Milli(ended_at), status, summary FROM load_runs FINAL"""


def _load_run(row: Sequence[Any]) -> LoadRun:
    return LoadRun(row[0], row[1], row[2], row[3], _instant(row[4]), _instant(row[5]), row[6], json.loads(row[7]))


_SECONDS = (
    "second", "intended", "sent", "done", "failed", "unsent", "send_lag_us_max", "response_histogram",
    "service_histogram", "users",
)  # fmt: skip


def read_load_seconds(client: Client, run_id: str) -> dict[str, list[Any]]:
    """Return the seconds of a run as columns, in the shape they were written in; empty lists when there are none."""
    rows = client.query_rows(
        """SELECT toUnixTimestamp(second), intended, sent, done, failed, unsent, send_lag_us_max, response_histogram,
        service_histogram, users FROM load_seconds WHERE run_id = {run_id:String} ORDER BY second""",
        {"run_id": run_id},
    )
    return {name: [row[index] for row in rows] for index, name in enumerate(_SECONDS)}


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _millis(instant: datetime) -> int:
    return int(instant.timestamp() * 1000)


def _instant(millis: int) -> datetime:
    return datetime.fromtimestamp(millis / 1000, UTC)
