"""The reference app for tests: in process around real servers, or as the process that a cluster starts."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from fastapi import FastAPI

from reference_app.app import create_app
from reference_app.database import database_settings, databases_of
from reference_app.parts import Parts, caches_of, parts_of
from reference_app.prepare import SeedTerms, prepare
from reference_app.settings import measures_from_environment
from reference_app.supplier import FareSupplier, SupplierTerms
from reference_app.tokens import token_of_user

NOON = datetime(2030, 5, 1, 12, tzinfo=UTC)  # what the app under test takes for now
TOMORROW = (NOON + timedelta(days=1)).date()
QUICK = SupplierTerms(concurrency=20, mean_latency_seconds=0.0, queue=1000)


def seed(url: str) -> None:
    """Migrate and seed a database for the day of NOON, on which nobody has booked yet."""
    prepare(url, today=NOON.date(), terms=SeedTerms(bookings=False))


@dataclass
class RunningApp:
    """An app in this process, with the trail that its middleware would see."""

    client: httpx.AsyncClient
    parts: Parts
    trails: list[dict[str, str]]
    asgi: Callable[..., Any]


@asynccontextmanager
async def running_app(
    database_url: str,
    *,
    replica_url: str | None = None,
    redis_url: str | None = None,
    terms: SupplierTerms = QUICK,
    now: Callable[[], datetime] = lambda: NOON,
    environ: Mapping[str, str] | None = None,
    **more: str,
) -> AsyncIterator[RunningApp]:
    """Run the app around these servers; the client speaks to it without a network.

    environ, more: measures and database settings that the test sets; others come from the environment, so that a
    measure can be switched off for a whole run of tests.
    """
    outer = {name: value for name, value in os.environ.items() if name.startswith("REFERENCE_APP_")}
    measures = measures_from_environment({**outer, **(environ or {})})
    caches = caches_of(
        redis_url,
        cluster=measures.redis_cluster,
        l1=measures.l1,
        l2=measures.l2,
        invalidation=measures.invalidation,
    )
    given = {"REFERENCE_APP_DATABASE_URL": database_url, "REFERENCE_APP_REPLICA_URL": replica_url or "", **more}
    databases = databases_of(database_settings({**outer, **given}), instance="test", now=now)
    supplier = FareSupplier(terms, seed=1, instance="test")
    parts = parts_of(databases, caches, supplier, now=now, live_fares=measures.live_fares)
    app = create_app(parts, version="test", measures=measures)
    trails: list[dict[str, str]] = []
    noting = _noting_trails(app, trails)
    transport = httpx.ASGITransport(noting, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://app", timeout=20) as client,
    ):
        yield RunningApp(client, parts, trails, noting)


def _noting_trails(app: FastAPI, trails: list[dict[str, str]]) -> Callable[..., Any]:
    async def noting(scope: Any, receive: Any, send: Any) -> None:
        scope.setdefault("tidegauge", {})
        trails.append(scope["tidegauge"])
        await app(scope, receive, send)

    return noting


def as_user(number: int, **headers: str) -> dict[str, str]:
    """Return the headers of a seeded user."""
    return {"Authorization": f"Bearer {token_of_user(number)}", **headers}


async def poll(question: Callable[[], Any], *, what: str, seconds: float = 30.0) -> None:
    """Wait for a true answer; fail naming what was awaited."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not question():
        assert asyncio.get_running_loop().time() < deadline, f"waited {seconds:g} s for {what}"
        await asyncio.sleep(0.02)


@contextmanager
def app_process(environment: dict[str, str]) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run `python -m reference_app` on a free port; gives its base URL and process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    outer = {name: value for name, value in os.environ.items() if not name.startswith(("TIDEGAUGE_", "REFERENCE_"))}
    process = subprocess.Popen(
        [sys.executable, "-m", "reference_app"],
        env={**outer, "REFERENCE_APP_PORT": str(port), **environment},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield f"http://127.0.0.1:{port}", process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=10)
