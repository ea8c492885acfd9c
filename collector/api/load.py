"""Load runs and measured capacities over HTTP: the load generator posts them, it and others read them back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import FastAPI, Query
from fastapi.responses import JSONResponse

from collector.api.models import CapacityIn, LoadRunIn
from collector.clickhouse import Client
from collector.record.store import (
    Capacity,
    LoadRun,
    read_capacities,
    read_load_run,
    read_load_runs,
    read_load_seconds,
    write_capacity,
    write_load_requests,
    write_load_run,
    write_load_seconds,
)
from tidegauge.clock import Clock

OLDEST_LOAD_SECOND_DAYS = 94  # load_seconds keeps 95
OLDEST_LOAD_REQUEST_DAYS = 7  # load_requests keeps 8
_DAY = 86_400
_Limit = Annotated[int, Query(ge=1, le=1000)]


def add_load(app: FastAPI, *, open_client: Callable[[], Client], clock: Clock) -> None:
    """Add the routes. open_client raises StoreUnavailableError while the store is away."""

    # Plain functions: FastAPI runs them in its thread pool, where a blocking store is no harm.
    @app.post("/v1/capacities")
    def post_capacity(capacity: CapacityIn) -> dict[str, bool]:
        write_capacity(open_client(), capacity.to_capacity(now=clock.now()))
        return {"stored": True}

    @app.get("/v1/capacities")
    def get_capacities(service: str, limit: _Limit = 100) -> dict[str, Any]:
        return {"capacities": [_capacity(each) for each in read_capacities(open_client(), service, limit=limit)]}

    @app.post("/v1/load-runs")
    def post_load_run(run: LoadRunIn) -> dict[str, Any]:
        _refuse_what_would_vanish(run, now_seconds=clock.now_seconds())
        client, batch_id = open_client(), run.identity()
        write_load_run(client, run.to_load_run(), reported_at=clock.now(), batch_id=batch_id)
        seconds = write_load_seconds(client, run.run_id, run.seconds.to_columns(), batch_id=batch_id)
        requests = write_load_requests(client, run.run_id, run.requests.to_columns(), batch_id=batch_id)
        return {"stored": True, "seconds": seconds, "requests": requests}

    @app.get("/v1/load-runs")
    def get_load_runs(service: str | None = None, limit: _Limit = 50) -> dict[str, Any]:
        return {"runs": [_run(each) for each in read_load_runs(open_client(), service, limit=limit)]}

    @app.get("/v1/load-runs/{run_id}")
    def get_load_run(run_id: str) -> JSONResponse:
        client = open_client()
        run = read_load_run(client, run_id)
        if run is None:
            return JSONResponse({"error": f"run_id: expected a stored load run, got {run_id[:80]!r}"}, 404)
        return JSONResponse({**_run(run), "seconds": read_load_seconds(client, run_id)})


def _refuse_what_would_vanish(run: LoadRunIn, *, now_seconds: float) -> None:
    """Raise ValueError for rows older than their tables keep: the store would delete them at once."""
    for where, oldest, days in (
        ("seconds.second", min(run.seconds.second, default=None), OLDEST_LOAD_SECOND_DAYS),
        ("requests.intended_us", min(run.requests.intended_us, default=None), OLDEST_LOAD_REQUEST_DAYS),
    ):
        seconds = None if oldest is None else oldest / 1e6 if where.endswith("_us") else oldest
        if seconds is not None and seconds < now_seconds - days * _DAY:
            raise ValueError(f"{where}: expected instants of the last {days} days, got older")


def _run(run: LoadRun) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "service": run.service,
        "scenario": run.scenario,
        "target": run.target,
        "started_at": run.started_at.isoformat(),
        "ended_at": run.ended_at.isoformat(),
        "status": run.status,
        "summary": run.summary,
    }


def _capacity(capacity: Capacity) -> dict[str, Any]:
    return {
        "service": capacity.service,
        "version": capacity.version,
        "source": capacity.source,
        "low_rps": capacity.low_rps,
        "high_rps": capacity.high_rps,
        "measured_at": capacity.measured_at.isoformat(),
        "details": capacity.details,
    }
