"""What the forecaster tells over HTTP: each service's forecast, plan and decisions, its own health and metrics.

The contract stands in ARCHITECTURE.md. Everything is read from the store or decided anew by the same pure functions
as the ticks use; what changes a floor or a mode is in `control`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from collector.catalog import Catalog, CatalogError
from collector.clickhouse import StoreError
from forecaster import store
from forecaster.api.audit import add_audit
from forecaster.api.control import ControlParts, add_control
from forecaster.api.keda_metric import keda_metric
from forecaster.api.shapes import decision_json, forecasts_json, scores_json
from forecaster.loop.tick import Memory, World, load, look
from forecaster.metrics import ForecasterMetrics
from forecaster.overview import overview_json
from forecaster.report.api import add_reports
from forecaster.scaling.plan import decide
from forecaster.scores.drift import drift_of
from forecaster.scores.score import summarise
from forecaster.scores.score_store import read_scores


@dataclass(frozen=True, slots=True)
class ApiParts:
    """What the API is built from. world: None until the store was reached; why_not_ready: None when it can work."""

    catalog: Catalog
    metrics: ForecasterMetrics
    world: Callable[[], World | None]
    why_not_ready: Callable[[], str | None]
    running: Callable[[], AbstractContextManager[None]]
    control: ControlParts | None = None  # None: nobody can order anything here


def build_app(parts: ApiParts) -> FastAPI:
    """Return the application; `parts.running` is entered when it starts and left when it stops."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        running = parts.running()
        await run_in_threadpool(running.__enter__)
        try:
            yield
        finally:
            await run_in_threadpool(running.__exit__, None, None, None)

    app = FastAPI(title="Tidegauge forecaster", lifespan=lifespan)
    app.add_exception_handler(StoreError, _store_failed)
    app.add_exception_handler(CatalogError, _unknown_service)
    app.add_exception_handler(HTTPException, _refused)
    _add_health(app, parts)
    _add_services(app, parts)
    app.include_router(keda_metric(parts.catalog, lambda: _world(parts)))
    add_reports(app, parts.catalog, parts.world)
    add_audit(app, parts.catalog, world=lambda: _world(parts))
    if parts.control is not None:
        add_control(app, parts.control, catalog=parts.catalog, world=lambda: _world(parts), known=parts.world)
    return app


def _add_health(app: FastAPI, parts: ApiParts) -> None:
    @app.get("/healthz")
    def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/readyz")
    def readyz() -> Response:
        why = parts.why_not_ready()
        if why is not None:
            return JSONResponse({"status": "not ready", "error": why}, status_code=503)
        return JSONResponse({"status": "ready"})

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(parts.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _add_services(app: FastAPI, parts: ApiParts) -> None:
    @app.get("/v1/services")
    def services() -> dict[str, list[str]]:
        return {"services": sorted(parts.catalog.services)}

    @app.get("/v1/services/{service}")
    def overview(service: str) -> dict[str, Any]:
        return overview_json(_world(parts), parts.catalog.service(service))

    @app.get("/v1/services/{service}/forecast")
    def forecast(service: str) -> dict[str, Any]:
        world, known = _world(parts), parts.catalog.service(service)
        newest = store.read_latest_forecast(world.client, known.name, at=world.clock.now())
        if newest is None:
            raise HTTPException(404, f"no forecast of {known.name} has been made yet")
        return forecasts_json(newest.name, newest.step, [newest])

    @app.get("/v1/services/{service}/plan")
    def plan(service: str) -> dict[str, Any]:
        world, known = _world(parts), parts.catalog.service(service)
        if known.scaling is None:
            raise HTTPException(404, f"service {known.name} has no scaling target in the configuration")
        memory = Memory()
        load(world, known, memory)
        return decision_json(decide(look(world, known, memory)))

    @app.get("/v1/services/{service}/scores")
    def scores(service: str, days: Annotated[int, Query(ge=1, le=365)] = 7) -> dict[str, Any]:
        world, known = _world(parts), parts.catalog.service(service)
        now = world.clock.now()
        found = read_scores(world.client, known.name, since=now - timedelta(days=days), until=now)
        return scores_json(known.name, summarise(found), drift_of(found, now=now))


def _world(parts: ApiParts) -> World:
    world = parts.world()
    if world is None:
        raise HTTPException(503, parts.why_not_ready() or "starting")
    return world


def _store_failed(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": f"the store: {str(error).splitlines()[0]}"}, status_code=503)


def _refused(_: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    return JSONResponse({"error": str(error.detail)}, status_code=error.status_code)


def _unknown_service(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, status_code=404)
