"""The load generator over HTTP: start, watch and stop a run, and schedule runs. Loopback, without authentication."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import Response

from loadgen.server.desk import BusyError, Desk
from loadgen.server.schedules import Schedule, Schedules

HOSTS = ["127.0.0.1", "localhost", "[::1]"]


class RunIn(BaseModel):
    """POST /v1/runs."""

    model_config = ConfigDict(extra="forbid")
    scenario: str = Field(min_length=1, max_length=200)
    target: str | None = Field(default=None, max_length=500)
    seed: int | None = Field(default=None, ge=0)


class ScheduleIn(BaseModel):
    """PUT /v1/schedules/{name}: nightly "HH:MM" (UTC), or on_new_build_of a service."""

    model_config = ConfigDict(extra="forbid")
    scenario: str = Field(min_length=1, max_length=200)
    target: str | None = Field(default=None, max_length=500)
    nightly: str | None = None
    on_new_build_of: str | None = None


def create_app(desk: Desk, schedules: Schedules, *, hosts: list[str] | None = None) -> FastAPI:
    """Return the app. hosts: names it answers to; another one is a page that rebound its name to this machine."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        schedules.start()
        yield
        schedules.stop()
        await desk.close()

    app = FastAPI(title="Tidegauge load generator", lifespan=lifespan)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts or HOSTS)

    @app.middleware("http")
    async def json_only(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        """Refuse what a form of another site could post: a browser asks before it sends JSON elsewhere."""
        kind = request.headers.get("content-type", "")
        if request.method in ("POST", "PUT") and not kind.startswith("application/json"):
            return _refused(415, f"content-type: expected application/json, got {kind[:80]!r}")
        return await answer(request)

    @app.exception_handler(ValueError)
    async def on_bad_value(_: Request, error: Exception) -> JSONResponse:
        return _refused(400, str(error))

    @app.exception_handler(RequestValidationError)
    async def on_bad_body(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)  # noqa: S101 - what the handler was registered for
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return _refused(400, f"{where}: {first['msg']}, got {str(first.get('input'))[:80]!r}")

    @app.exception_handler(BusyError)
    async def on_busy(_: Request, error: Exception) -> JSONResponse:
        return _refused(409, str(error))

    _add_routes(app, desk, schedules)
    return app


def _add_routes(app: FastAPI, desk: Desk, schedules: Schedules) -> None:
    @app.get("/healthz")
    @app.get("/readyz")
    async def ready() -> dict[str, bool]:
        return {"ready": True}

    @app.get("/v1/scenarios")
    async def scenarios() -> dict[str, list[str]]:
        return {"scenarios": desk.names()}

    @app.get("/v1/runs")
    async def runs() -> dict[str, Any]:
        return {"runs": [run.to_json() for run in reversed(desk.runs.values())]}

    @app.post("/v1/runs", status_code=202)
    async def start(order: RunIn) -> dict[str, Any]:
        return desk.start(order.scenario, target=order.target, seed=order.seed).to_json()

    @app.get("/v1/runs/{run_id}")
    async def one(run_id: str) -> Response:
        run = desk.runs.get(run_id)
        return _unknown("run_id", run_id) if run is None else JSONResponse(run.to_json())

    @app.post("/v1/runs/{run_id}/stop", status_code=202)
    async def stop(run_id: str) -> Response:
        run = desk.stop(run_id)
        return _unknown("run_id", run_id) if run is None else JSONResponse(run.to_json(), 202)

    @app.get("/v1/schedules")
    async def list_schedules() -> dict[str, Any]:
        return {"schedules": schedules.to_json()}

    @app.put("/v1/schedules/{name}")
    async def put_schedule(name: str, order: ScheduleIn) -> dict[str, Any]:
        schedules.put(Schedule(name, **order.model_dump()))
        return {"schedules": schedules.to_json()}

    @app.delete("/v1/schedules/{name}")
    async def remove_schedule(name: str) -> Response:
        if not schedules.remove(name):
            return _unknown("name", name)
        return JSONResponse({"schedules": schedules.to_json()})


def _unknown(where: str, got: str) -> JSONResponse:
    return _refused(404, f"{where}: expected a known one, got {got[:80]!r}")


def _refused(status: int, why: str) -> JSONResponse:
    return JSONResponse({"error": why}, status)
