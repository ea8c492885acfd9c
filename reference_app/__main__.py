"""`python -m reference_app`: the composition root of one replica. It alone reads the environment."""

from __future__ import annotations

import gc
import logging
import os
import sys

import uvloop
from fastapi import FastAPI
from starlette.types import ASGIApp

from collector.instrument import EventClient, RecordRequests
from reference_app.app import SERVICE, create_app
from reference_app.database import databases_of
from reference_app.limits import ALWAYS_ANSWERED
from reference_app.parts import Caches, Parts, caches_of, parts_of
from reference_app.server import serve
from reference_app.service_settings import ServiceSettings, service_settings_from_environment
from reference_app.settings import Settings, settings_from_environment
from reference_app.supplier import FareSupplier, SupplierTerms
from tidegauge.clock import Clock, clock_from_environment


async def run(settings: Settings, service: ServiceSettings, clock: Clock) -> None:
    """Build the parts and serve until a signal has been honoured."""
    plain, parts = build(settings, service, clock)
    app = _recorded(plain, settings, clock)
    gc.collect()
    gc.freeze()  # what start-up made stays: later collections need not walk it
    await serve(
        app,
        port=settings.port,
        readiness=parts.readiness,
        drain_seconds=settings.drain_seconds,
        finish_seconds=service.finish_seconds,
        host=settings.host,
    )


def build(settings: Settings, service: ServiceSettings, clock: Clock) -> tuple[FastAPI, Parts]:
    """Return the application and its parts as they are set, nothing opened yet."""
    parts = _parts(settings, service, clock)
    return create_app(parts, version=settings.version, measures=settings.measures), parts


def _parts(settings: Settings, service: ServiceSettings, clock: Clock) -> Parts:
    databases = databases_of(settings.database, instance=settings.instance, now=clock.now)
    terms = SupplierTerms(
        concurrency=settings.supplier_concurrency,
        mean_latency_seconds=settings.supplier_latency_seconds,
        queue=settings.supplier_queue,
        wait_seconds=settings.supplier_wait_seconds,
    )
    supplier = FareSupplier(terms, seed=settings.supplier_seed, instance=settings.instance)
    return parts_of(
        databases,
        _caches(settings),
        supplier,
        now=clock.now,
        live_fares=settings.measures.live_fares,
        service=service,
        instance=settings.instance,
    )


def _caches(settings: Settings) -> Caches:
    measures = settings.measures
    return caches_of(
        settings.redis_url,
        cluster=measures.redis_cluster,
        l1=measures.l1,
        l2=measures.l2,
        invalidation=measures.invalidation,
    )


def _recorded(app: ASGIApp, settings: Settings, clock: Clock) -> ASGIApp:
    if settings.collector_url is None or not settings.measures.instrument:
        return app
    client = EventClient(settings.collector_url, service=SERVICE, instance=settings.instance)
    return RecordRequests(
        app,
        client=client,
        service=SERVICE,
        instance=settings.instance,
        version=settings.version,
        clock=clock.now_seconds,
        excluded_paths=ALWAYS_ANSWERED,
    )


def main() -> int:
    """Serve as the environment says; return the exit code."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        settings, clock = settings_from_environment(os.environ), clock_from_environment(os.environ)
        service = service_settings_from_environment(os.environ)
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    uvloop.run(run(settings, service, clock))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
