"""The application: routes, problems and limits around the parts. Who builds the parts is the composition root."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from fastapi import FastAPI, Request, Response

from reference_app.database import DatabaseBusy, DatabaseDown
from reference_app.limits import with_body_limit
from reference_app.metrics import Metrics
from reference_app.parts import Parts
from reference_app.problems import busy, install, problem_response
from reference_app.routes import bookings, flights, health, internal, users
from reference_app.supplier import SupplierBusy

SERVICE = "reference-app"


def create_app(parts: Parts, *, version: str) -> FastAPI:
    """Return the application. It opens the parts' connections at start-up and closes them at shutdown."""
    app = FastAPI(
        title="Reference booking API",
        version=version,
        summary="Flights, searched and booked: the service that Tidegauge proves itself on.",
        lifespan=_lifespan(parts),
    )
    metrics = Metrics(parts)
    app.state.parts, app.state.metrics = parts, metrics
    for module in (flights, bookings, users, health, internal):
        app.include_router(module.router)
    install(app)
    app.add_exception_handler(SupplierBusy, _on_supplier_busy)
    app.add_exception_handler(DatabaseBusy, _on_database_busy)
    app.add_exception_handler(DatabaseDown, _on_database_down)
    app.add_middleware(with_body_limit)
    app.add_middleware(metrics.observed)
    return app


def _lifespan(parts: Parts) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def opened(_: FastAPI) -> AsyncIterator[None]:
        await parts.databases.open()
        try:
            yield
        finally:
            await parts.databases.close()
            await parts.shared.close()

    return opened


async def _on_supplier_busy(_: Request, error: Exception) -> Response:
    seconds = error.retry_after_seconds if isinstance(error, SupplierBusy) else 1
    return problem_response(busy("overloaded", str(error), retry_after_seconds=seconds))


async def _on_database_busy(_: Request, __: Exception) -> Response:
    return problem_response(busy("database-busy", "no database connection became free in time", retry_after_seconds=1))


async def _on_database_down(_: Request, __: Exception) -> Response:
    return problem_response(busy("database-down", "the database can't be reached", retry_after_seconds=2))
