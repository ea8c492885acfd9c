"""`python -m reference_app.edge`: the composition root of one edge process. It alone reads the environment."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import uvloop
from prometheus_client import CollectorRegistry, ProcessCollector
from starlette.routing import Router
from starlette.types import ASGIApp

from collector.instrument import EventClient, RecordRequests
from reference_app.background import in_background
from reference_app.caching.invalidation import Follower, FollowerMetrics
from reference_app.caching.l2 import connect
from reference_app.edge.app import Edge
from reference_app.edge.nginx_cache import NginxCache
from reference_app.edge.origin import Origins, open_client
from reference_app.edge.settings import EdgeSettings, edge_settings_from_environment
from reference_app.edge.shelves import Shelves
from reference_app.environment import SettingError
from reference_app.parts import FOLLOW_SECONDS, Readiness
from reference_app.regions import in_region, profile_from
from reference_app.request_metrics import observed, request_histogram
from reference_app.server import serve
from tidegauge.clock import Clock, clock_from_environment

SERVICE = "reference-app"
_NOT_DEMAND = frozenset({"/healthz", "/readyz", "/metrics", "/edge/purge"})


def edge_app(settings: EdgeSettings, clock: Clock, readiness: Readiness, client: EventClient | None = None) -> ASGIApp:
    """Return the edge with everything around it. client: where events go; None: as the settings say."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    shelves = Shelves(enabled=settings.caches, least_uses=settings.least_uses)
    edge = Edge(
        shelves,
        lambda: Origins(settings.origins, open_client()),
        registry,
        readiness,
        purge_token=settings.purge_token,
    )
    measures = settings.measures
    app: ASGIApp = Router(default=edge, lifespan=_lifespan(edge, settings, registry))
    profile = profile_from(measures.network)
    app = in_region(app, own=measures.region, profile=profile, by_request=measures.regions)
    app = observed(app, request_histogram(registry))
    return _recorded(app, settings, clock, client)


def _lifespan(
    edge: Edge, settings: EdgeSettings, registry: CollectorRegistry
) -> Callable[[Any], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def opened(_: object) -> AsyncIterator[None]:
        await edge.open()
        cache = edge.shelves.cache
        work = [cache.sweep_every()]
        if settings.redis_url is not None and settings.measures.invalidation:
            cluster = settings.measures.redis_cluster
            redis = connect(settings.redis_url, cluster=cluster, timeout_seconds=FOLLOW_SECONDS)
            follower = Follower(redis, cache, FollowerMetrics(registry, tier="edge"))
            work.append(follower.run())
        try:
            async with in_background(*work):
                yield
        finally:
            await edge.close()

    return opened


def _recorded(app: ASGIApp, settings: EdgeSettings, clock: Clock, client: EventClient | None) -> ASGIApp:
    if not settings.measures.instrument:
        return app
    if client is None:
        if settings.collector_url is None:
            return app
        client = EventClient(settings.collector_url, service=SERVICE, instance=settings.instance)
    return RecordRequests(
        app,
        client=client,
        service=SERVICE,
        instance=settings.instance,
        version=settings.version,
        clock=clock.now_seconds,
        excluded_paths=_NOT_DEMAND,
    )


async def run(settings: EdgeSettings, clock: Clock) -> None:
    """Serve until a signal has been honoured."""
    readiness = Readiness()
    app = edge_app(settings, clock, readiness)
    await serve(app, port=settings.port, readiness=readiness, drain_seconds=settings.drain_seconds, host=settings.host)


async def forget_in(folder: Path, settings: EdgeSettings) -> None:
    """Follow the changes for ever and remove from nginx's cache folder what they make stale.

    Raises SettingError without a Redis to hear of changes from.
    """
    if settings.redis_url is None:
        raise SettingError("REFERENCE_APP_REDIS_URL: expected the Redis that tells of changes, got none")
    cache = NginxCache(folder)
    redis = connect(settings.redis_url, cluster=settings.measures.redis_cluster, timeout_seconds=FOLLOW_SECONDS)
    follower = Follower(redis, cache, FollowerMetrics(CollectorRegistry(), tier="nginx"))
    async with in_background(follower.run()):
        while True:
            await asyncio.sleep(1.0)
            cache.drop_again()


def main(arguments: Sequence[str] = ()) -> int:
    """Serve as the environment says, or with `--forget-in FOLDER` forget for nginx; return the exit code."""
    parser = argparse.ArgumentParser(prog="tidegauge edge", description=__doc__)
    parser.add_argument("--forget-in", type=Path, metavar="FOLDER", help="run no server, follow changes for nginx")
    asked = parser.parse_args(arguments)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        settings, clock = edge_settings_from_environment(os.environ), clock_from_environment(os.environ)
        profile_from(settings.measures.network)
        with suppress(KeyboardInterrupt):
            uvloop.run(forget_in(asked.forget_in, settings) if asked.forget_in else run(settings, clock))
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
