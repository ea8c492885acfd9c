"""`python -m reference_app.jobs`: the composition root of a job worker: relay, workers, sweeps and their metrics.

Any number may run. It stops on SIGTERM having finished the jobs it had begun; killed, its jobs are done by another, or
by itself when it comes back.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any

import uvloop

from reference_app.caching.invalidation import Publisher
from reference_app.caching.l2 import connect
from reference_app.database import DatabaseBusy, DatabaseDown, databases_of
from reference_app.jobs.api import create_api
from reference_app.jobs.mail import mailer_at
from reference_app.jobs.metrics import JobMetrics
from reference_app.jobs.queue import JobQueues, Workers
from reference_app.jobs.relay import Relay
from reference_app.jobs.sweep import Sweep
from reference_app.jobs.work import Work
from reference_app.parts import Readiness
from reference_app.payment_provider import PaymentProvider
from reference_app.purchases import Purchases
from reference_app.server import serve
from reference_app.service_settings import ServiceSettings, service_settings_from_environment
from reference_app.settings import SettingError, Settings, settings_from_environment
from reference_app.stores.bookings import BookingStore
from reference_app.stores.outbox import OutboxStore
from reference_app.stores.payments import PaymentStore
from tidegauge.clock import Clock, clock_from_environment

NAME = "reference-app-jobs"
PUBLISH_SECONDS = 2.0


async def run(settings: Settings, service: ServiceSettings, clock: Clock) -> None:
    """Run until a signal has been honoured."""
    if settings.jobs_redis_url is None:
        raise SettingError("REFERENCE_APP_REDIS_URL: expected the URL of Redis or Valkey, where the jobs wait")
    databases = databases_of(replace(settings.database, replicas=()), instance=NAME, now=clock.now)
    outbox, bookings, payments = OutboxStore(databases), BookingStore(databases), PaymentStore(databases)
    provider = PaymentProvider(service.provider, seed=service.provider_seed, instance=NAME)
    purchases = Purchases(bookings, payments, provider, terms=service.purchases, now=clock.now)
    work = Work(outbox, purchases, mailer_at(service.smtp_url, service.mail_folder))
    queues = JobQueues(settings.jobs_redis_url, service.job_terms)
    workers = Workers(
        settings.jobs_redis_url,
        service.job_terms,
        run=work.run,
        give_up=outbox.give_up,
        not_now=(DatabaseBusy, DatabaseDown),
    )
    publisher = _publisher(settings)
    relay = Relay(outbox, queues, publisher.publish, lost_seconds=service.job_terms.lost_seconds)
    sweep = Sweep(bookings, payments, outbox, terms=service.sweep, now=clock.now)
    metrics = JobMetrics(queues, workers, relay, sweep, outbox, purchases)
    loops = [relay.run, sweep.run] if service.hold_sweep else [relay.run]
    await databases.open()
    workers.start()
    try:
        await _serve_beside(loops, metrics, service, settings.host)
    finally:
        await workers.close()
        await queues.close()
        await publisher.close()
        await databases.close()


async def _serve_beside(
    loops: Sequence[Callable[[asyncio.Event], Coroutine[Any, Any, None]]],
    metrics: JobMetrics,
    service: ServiceSettings,
    host: str,
) -> None:
    readiness, stopping = Readiness(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for loop in loops:
            group.create_task(loop(stopping))
        try:
            api = create_api(metrics, readiness)
            await serve(api, port=service.jobs_port, readiness=readiness, drain_seconds=0.0, host=host)
        finally:
            stopping.set()


def _publisher(settings: Settings) -> Publisher:
    if settings.redis_url is None or not settings.measures.invalidation:
        return Publisher(None)
    cluster = settings.measures.redis_cluster
    return Publisher(connect(settings.redis_url, cluster=cluster, timeout_seconds=PUBLISH_SECONDS))


def main() -> int:
    """Work as the environment says; return the exit code."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        settings, clock = settings_from_environment(os.environ), clock_from_environment(os.environ)
        service = service_settings_from_environment(os.environ)
        uvloop.run(run(settings, service, clock))
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
