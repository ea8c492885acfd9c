"""The collector's HTTP API. Checks and answers; what it accepts is kept by the spool and the store modules.

Blocking work runs in threads: accepting batches in one of its own, so that a slow store holds up no acknowledgement.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from collector.alerts.actions_api import add_alert_actions
from collector.alerts.api import add_alerts
from collector.alerts.outbox import Outbox
from collector.alerts.receivers import Heartbeat, Receiver
from collector.api.cpu import add_cpu
from collector.api.load import add_load
from collector.api.markers import add_markers
from collector.api.models import instant_of
from collector.api.otlp import add_traces
from collector.api.samples import add_samples
from collector.api.services import add_services
from collector.catalog import Catalog, CatalogError
from collector.clickhouse import StoreError, StoreRefusedError, StoreUnavailableError
from collector.exporters.api import add_record_metrics
from collector.exporters.settings import Exporter
from collector.metrics import CollectorMetrics, exposition
from collector.record.store import read_demand, read_watermark
from collector.slo.report import slo_document
from collector.slo.store import read_classic, read_slo_statuses
from collector.sources.cardinality import CardinalityGuard
from collector.sources.events import LARGEST_BODY_BYTES, BatchRefusedError, decompressed, parse_batch, within_caps
from collector.sources.spool import Spool, SpoolFullError
from collector.store_link import StoreLink
from tidegauge.clock import Clock

RETRY_AFTER_SECONDS = 2
Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


@dataclass(frozen=True, slots=True)
class CollectorParts:
    """What the API works with; built once by the composition root."""

    spool: Spool
    store: StoreLink
    catalog: Catalog
    clock: Clock
    metrics: CollectorMetrics
    outbox: Outbox
    sample_spool: Spool
    guard: CardinalityGuard
    receivers: Sequence[Receiver] = ()
    heartbeat: Heartbeat | None = None
    exporters: Sequence[Exporter] = ()
    intake: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="intake"))


def create_app(parts: CollectorParts, *, lifespan: Lifespan | None = None) -> FastAPI:
    """Return the API over its parts."""
    app = FastAPI(title="Tidegauge collector", lifespan=lifespan, docs_url=None, redoc_url=None)
    _answer_errors(app)
    _add_events(app, parts)
    add_traces(app, parts, read_body=_limited_body, retry_after_seconds=RETRY_AFTER_SECONDS)
    add_samples(app, parts, read_body=_limited_body, retry_after_seconds=RETRY_AFTER_SECONDS)
    add_services(app, parts)
    add_cpu(app, parts)
    add_markers(app, open_client=parts.store.client)
    _add_reads(app, parts)
    add_load(app, open_client=parts.store.client, clock=parts.clock)
    add_alerts(app, open_client=parts.store.client, clock=parts.clock)
    add_alert_actions(app, open_client=parts.store.client, clock=parts.clock, outbox=parts.outbox)
    _add_own_state(app, parts)
    add_record_metrics(app, parts)
    return app


def _add_events(app: FastAPI, parts: CollectorParts) -> None:
    def accept(body: bytes, content_encoding: str) -> dict[str, Any]:
        plain = decompressed(body, content_encoding)
        now = parts.clock.now_seconds()
        batch = parse_batch(plain, now_seconds=now)
        plain = within_caps(parts.guard, batch, plain)
        new = parts.spool.accept(batch.batch_id, plain, received_us=round(now * 1e6))
        if new:
            parts.metrics.acknowledged(batch)
        else:
            parts.metrics.duplicate()
        return {"acknowledged": batch.events, "duplicate": not new}

    @app.post("/v1/events")
    async def post_events(request: Request) -> JSONResponse:
        try:
            body = await _limited_body(request)
            encoding = request.headers.get("content-encoding", "")
            answer = await asyncio.get_running_loop().run_in_executor(parts.intake, accept, body, encoding)
        except BatchRefusedError as error:
            parts.metrics.refused(error.status)
            return JSONResponse({"error": str(error)}, error.status)
        except SpoolFullError as error:
            parts.metrics.refused(429)
            return JSONResponse({"error": str(error)}, 429, headers={"Retry-After": str(RETRY_AFTER_SECONDS)})
        return JSONResponse(answer)


async def _limited_body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_BODY_BYTES:
            raise BatchRefusedError(f"body: expected at most {LARGEST_BODY_BYTES} bytes, got more", status=413)
    return bytes(body)


def _add_reads(app: FastAPI, parts: CollectorParts) -> None:
    @app.get("/v1/demand")
    def get_demand(
        service: str,
        since: Annotated[str, Query(alias="from")],
        until: Annotated[str, Query(alias="to")],
        step_seconds: Annotated[int, Query(ge=1)] = 60,
    ) -> dict[str, Any]:
        frame = read_demand(
            parts.store.client(),
            service,
            since=instant_of(since),
            until=instant_of(until),
            step=timedelta(seconds=step_seconds),
        )
        seconds = [int(instant) for instant in frame["ds"].dt.as_unit("s").astype("int64")]
        return {"service": service, "step_seconds": step_seconds, "ts": seconds, "rps": frame["rps"].tolist()}

    @app.get("/v1/slo")
    def get_slo(service: str) -> dict[str, Any]:
        watched, client, now = parts.catalog.service(service), parts.store.client(), parts.clock.now()
        classic = read_classic(client, service, watched.classic_rule, now=now) if watched.classic_rule else []
        return slo_document(service, read_slo_statuses(client, watched, now=now), classic)


def _add_own_state(app: FastAPI, parts: CollectorParts) -> None:
    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/readyz")
    async def readyz() -> JSONResponse:
        if parts.store.ready:
            return JSONResponse({"status": "ready"})
        return JSONResponse({"status": "waiting for the store; events are taken into the spool"}, 503)

    @app.get("/metrics")
    def metrics() -> Response:
        try:
            client = parts.store.client()
            watermarks = {name: read_watermark(client, name) for name in parts.catalog.services}
        except StoreError:
            watermarks = None
        text = exposition(
            parts.metrics, parts.spool, parts.sample_spool, parts.guard, watermarks=watermarks, now=parts.clock.now()
        )
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


def _answer_errors(app: FastAPI) -> None:
    @app.exception_handler(RequestValidationError)
    async def malformed(_: Request, error: RequestValidationError) -> JSONResponse:
        problems = [f"{'.'.join(str(part) for part in each['loc'])}: {each['msg']}" for each in error.errors()]
        return JSONResponse({"error": "; ".join(problems)}, 400)

    @app.exception_handler(HTTPException)
    async def refused(_: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse({"error": error.detail}, error.status_code, headers=error.headers)

    @app.exception_handler(ValueError)  # CatalogError among them: an unknown service
    async def unexpected_value(_: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"error": str(error)}, 404 if isinstance(error, CatalogError) else 400)

    @app.exception_handler(StoreUnavailableError)
    async def store_away(_: Request, error: Exception) -> JSONResponse:
        headers = {"Retry-After": str(RETRY_AFTER_SECONDS)}
        return JSONResponse({"error": f"the store is not available: {error}"}, 503, headers=headers)

    @app.exception_handler(StoreRefusedError)
    async def store_refused(_: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"error": f"the store refused: {error}"}, 400)
