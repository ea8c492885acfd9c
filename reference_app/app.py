"""The application: routes, problems and limits around the parts. Who builds the parts is the composition root."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from fastapi import FastAPI, Request, Response

from reference_app.background import in_background
from reference_app.caching.answers import Answers, Terms
from reference_app.caching.compression import compressed
from reference_app.caching.invalidation import Follower, FollowerMetrics
from reference_app.database import DatabaseBusy, DatabaseDown, DeadlinePassed
from reference_app.limits import with_body_limit
from reference_app.metrics import Metrics
from reference_app.openapi import describe
from reference_app.parts import Parts
from reference_app.problems import Problem, busy, install, problem_response
from reference_app.regions import in_region, profile_from
from reference_app.routes import admin, bookings, flights, health, internal, payments, users
from reference_app.settings import Measures
from reference_app.supplier import SupplierBusy

SERVICE = "reference-app"


def create_app(parts: Parts, *, version: str, measures: Measures | None = None) -> FastAPI:
    """Return the application. It opens the parts' connections at start-up and closes them at shutdown.

    measures: what stands around the routes; all of them if not given. Raises ValueError for a bad network profile.
    """
    measures = measures or Measures()
    metrics = Metrics(parts)
    app = FastAPI(
        title="Reference booking API",
        version=version,
        summary="Flights, searched and booked: the service that Tidegauge proves itself on.",
        lifespan=_lifespan(parts, metrics),
    )
    app.state.parts, app.state.metrics = parts, metrics
    for module in (flights, bookings, payments, users, admin, health, internal):
        app.include_router(module.router)
    install(app)
    describe(app)
    app.add_exception_handler(SupplierBusy, _on_supplier_busy)
    app.add_exception_handler(DatabaseBusy, _on_database_busy)
    app.add_exception_handler(DatabaseDown, _on_database_down)
    app.add_middleware(with_body_limit)
    if measures.compression:
        app.add_middleware(compressed)
    app.add_middleware(parts.admission.admitted)  # inside the kept answers: those cost next to nothing
    terms = Terms(measures.http_cache, parts.caches.l1.enabled, measures.s_maxage_seconds)
    app.add_middleware(Answers, l1=parts.caches.l1, now=parts.now, terms=terms)
    app.add_middleware(
        in_region,
        own=measures.region,
        profile=profile_from(measures.network),
        by_request=measures.regions,
        stands_in=measures.region,
    )
    app.add_middleware(metrics.observed)
    return app


def _lifespan(parts: Parts, metrics: Metrics) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def opened(_: FastAPI) -> AsyncIterator[None]:
        await parts.databases.open()
        work = [parts.caches.l1.sweep_every()]
        if parts.caches.follow is not None:
            told = FollowerMetrics(metrics.registry, tier="l1")
            work.append(Follower(parts.caches.follow(), parts.caches.l1, told).run())
        try:
            async with in_background(*work):
                yield
        finally:
            await parts.databases.close()
            await parts.caches.close()

    return opened


async def _on_supplier_busy(_: Request, error: Exception) -> Response:
    seconds = error.retry_after_seconds if isinstance(error, SupplierBusy) else 1
    return problem_response(busy("overloaded", str(error), retry_after_seconds=seconds))


async def _on_database_busy(_: Request, error: Exception) -> Response:
    if isinstance(error, DeadlinePassed):
        return problem_response(
            Problem(504, "deadline-exceeded", "the request's time was over before the database's answer")
        )
    return problem_response(busy("database-busy", "no database connection became free in time", retry_after_seconds=1))


async def _on_database_down(_: Request, __: Exception) -> Response:
    return problem_response(busy("database-down", "the database can't be reached", retry_after_seconds=2))
