"""The reference app built from settings, as its composition root builds it, so that a measure can be switched off.

Settings come from the environment over the tests' own: REFERENCE_APP_SEAT_LOCK=off pytest ... is without it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import httpx
from fastapi import FastAPI

from reference_app.__main__ import build
from reference_app.database import DatabaseBusy, DatabaseDown, Session
from reference_app.jobs.mail import mailer_at
from reference_app.jobs.queue import JobQueues, Workers
from reference_app.jobs.relay import Relay
from reference_app.jobs.sweep import Sweep
from reference_app.jobs.work import Work
from reference_app.parts import Parts
from reference_app.service_settings import ServiceSettings, service_settings_from_environment
from reference_app.settings import settings_from_environment
from tests.integration.reference_app_fixtures import NOON, as_user

ADMIN_TOKEN = "an-admin-token-of-the-tests"
AS_ADMIN = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
QUICK = {
    "REFERENCE_APP_SUPPLIER_LATENCY_MS": "0",
    "REFERENCE_APP_SUPPLIER_CONCURRENCY": "50",
    "REFERENCE_APP_SUPPLIER_QUEUE": "1000",
    "REFERENCE_APP_PAYMENT_LATENCY_MS": "0",
    "REFERENCE_APP_PAYMENT_TIMEOUT_MS": "1",
    "REFERENCE_APP_ADMIN_TOKEN": ADMIN_TOKEN,
    "REFERENCE_APP_CONCURRENCY": "1000",
    "REFERENCE_APP_DEADLINE_MS": "30000",
    "REFERENCE_APP_POOL_ACQUIRE_MS": "20000",  # a busy machine is not what these tests are about
}


def environment(database_url: str, **own: str) -> dict[str, str]:
    """Return the settings of an app around this database; what the outer environment says of a measure counts most."""
    given = {"REFERENCE_APP_DATABASE_URL": database_url, **QUICK, **own}
    outer = {name: value for name, value in os.environ.items() if name.startswith("REFERENCE_APP_")}
    return {**given, **outer}


class FixedClock:
    """A clock that stands still until it is set."""

    def __init__(self, instant: datetime = NOON) -> None:
        self.instant = instant

    def now(self):
        return self.instant

    def now_seconds(self) -> float:
        return self.instant.timestamp()


@dataclass
class BuiltApp:
    """An app in this process, as it is set."""

    app: FastAPI
    client: httpx.AsyncClient
    parts: Parts
    clock: FixedClock
    service: ServiceSettings

    async def book(self, user: int, key: str, **wish: object) -> httpx.Response:
        body = {"flight_id": 61, "class": "economy", "passengers": 1, **wish}
        return await self.client.post("/api/bookings", json=body, headers=as_user(user, **{"Idempotency-Key": key}))

    async def pay(self, user: int, booking_id: int, key: str, method: str = "card") -> httpx.Response:
        body = {"booking_id": booking_id, "method": method}
        return await self.client.post("/api/payments", json=body, headers=as_user(user, **{"Idempotency-Key": key}))

    async def booking(self, user: int, booking_id: int) -> dict[str, object]:
        found = await self.parts.bookings.current(booking_id, user_id=user, session=Session())
        assert found is not None
        return {name: getattr(found, name) for name in ("status", "payment", "price_cents", "flight_id")}

    def sweep(self) -> Sweep:
        parts = self.parts
        return Sweep(parts.bookings, parts.payments, parts.outbox, terms=self.service.sweep, now=self.clock.now)

    def work(self, folder: Path) -> Work:
        return Work(self.parts.outbox, self.parts.purchases, mailer_at(None, folder))


@asynccontextmanager
async def built_app(database_url: str, *, at: datetime = NOON, **own: str) -> AsyncIterator[BuiltApp]:
    """Run the app as the settings say, without a network between; `at`: where its clock stands."""
    settings = environment(database_url, **own)
    clock, service = FixedClock(at), service_settings_from_environment(settings)
    app, parts = build(settings_from_environment(settings), service, clock)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://app", timeout=60) as client,
    ):
        yield BuiltApp(app, client, parts, clock, service)


@asynccontextmanager
async def working(app: BuiltApp, redis_url: str, folder: Path) -> AsyncIterator[tuple[Relay, JobQueues, Workers]]:
    """Run relay and workers beside the app, in this process."""
    terms = app.service.job_terms
    queues = JobQueues(redis_url, terms)
    run, away = app.work(folder).run, (DatabaseBusy, DatabaseDown)
    workers = Workers(redis_url, terms, run=run, give_up=app.parts.outbox.give_up, not_now=away)

    async def publish(event, tags, *, committed_at=None) -> None:
        return None

    relay = Relay(app.parts.outbox, queues, publish, lost_seconds=terms.lost_seconds)
    workers.start()
    try:
        yield relay, queues, workers
    finally:
        await workers.close()
        await queues.close()


@contextmanager
def jobs_process(settings: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run `python -m reference_app.jobs` with these settings, on a free port."""
    outer = {name: value for name, value in os.environ.items() if not name.startswith(("TIDEGAUGE_", "REFERENCE_"))}
    process = subprocess.Popen(
        [sys.executable, "-m", "reference_app.jobs"], env={**outer, "REFERENCE_APP_JOBS_PORT": "0", **settings}
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(10)
