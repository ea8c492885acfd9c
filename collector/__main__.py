"""Starts the collector: the composition root. Settings, clock, spool, store and API are built here and nowhere else."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sqlite3
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import uvicorn

from collector.alerts.jobs import alert_jobs
from collector.alerts.outbox import OUTBOX_PATH, Outbox
from collector.alerts.receivers import resolve_heartbeat, resolve_receivers
from collector.api.app import CollectorParts, create_app
from collector.catalog import CatalogError, read_catalog
from collector.clickhouse import ClickHouseSettings, MigrationError, StoreError, settings_from_environment
from collector.exporters.settings import resolve_exporters
from collector.metrics import CollectorMetrics
from collector.samplers.jobs import sample
from collector.samplers.settings import SamplerSettings, read_sampler_settings
from collector.security import Guarded, Security, is_loopback, read_security
from collector.sources.cardinality import CardinalityGuard
from collector.sources.samples_writer import SampleWriter
from collector.sources.spool import DEFAULT_QUOTA_BYTES, Spool, SpoolLockedError
from collector.sources.writer import Flushed, flush_once
from collector.store_link import StoreLink
from tidegauge.clock import clock_from_environment

FLUSH_EVERY_SECONDS = 0.3
LONGEST_PAUSE_SECONDS = 5.0
PULL_EVERY_SECONDS = 15.0
LAST_FLUSH_SECONDS = 3.0
MEGABYTE = 1024 * 1024
LEAST_SPOOL_MB = 16  # a batch may have 8 MB, and must find room beside another
_FINISH_SECONDS = 5
Flush = Callable[[CollectorParts, float], Awaitable[float]]
log = logging.getLogger("tidegauge.collector")


@dataclass(frozen=True, slots=True)
class Settings:
    """What the environment says. spool_bytes: of events; samples get half as many more."""

    host: str
    port: int
    data: Path
    config: Path
    store: ClickHouseSettings
    security: Security
    samplers: SamplerSettings
    spool_bytes: int


class SettingsError(ValueError):
    """An environment variable is not as expected."""


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Return the settings of the environment. Raises SettingsError, StoreSettingsError, SecuritySettingsError."""
    port = environ.get("TIDEGAUGE_COLLECTOR_PORT") or "9400"
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise SettingsError(f"TIDEGAUGE_COLLECTOR_PORT: expected a port, got {port!r}")
    spool = environ.get("TIDEGAUGE_SPOOL_MB") or str(DEFAULT_QUOTA_BYTES // MEGABYTE)
    if not spool.isdecimal() or int(spool) < LEAST_SPOOL_MB:
        raise SettingsError(f"TIDEGAUGE_SPOOL_MB: expected a whole number from {LEAST_SPOOL_MB}, got {spool!r}")
    host = environ.get("TIDEGAUGE_BIND_ADDRESS") or "127.0.0.1"
    return Settings(
        host=host,
        port=int(port),
        data=Path(environ.get("TIDEGAUGE_DATA") or ".tidegauge"),
        config=Path(environ.get("TIDEGAUGE_CONFIG") or "tidegauge.yaml"),
        store=settings_from_environment(environ),
        security=read_security(environ, host=host),
        samplers=read_sampler_settings(environ),
        spool_bytes=int(spool) * MEGABYTE,
    )


def main() -> int:
    """Run the collector until SIGTERM or SIGINT and return the exit code."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        settings = read_settings(os.environ)
        catalog = read_catalog(settings.config)
        clock = clock_from_environment(os.environ)
        listener = _listen(settings)
        exporters = resolve_exporters(catalog.exporters, os.environ)
        receivers = resolve_receivers(catalog.alerts.receivers, os.environ)
        heartbeat = resolve_heartbeat(catalog.alerts.heartbeat, os.environ)
        spool = Spool(settings.data / "spool", quota_bytes=settings.spool_bytes)
        sample_spool = Spool(settings.data / "spool-samples", quota_bytes=settings.spool_bytes // 2)
        guard = CardinalityGuard(settings.data / "cardinality.jsonl", day=lambda: int(clock.now_seconds() // 86400))
        outbox = Outbox(settings.data / OUTBOX_PATH)
    except (SettingsError, StoreError, CatalogError, SpoolLockedError, ValueError, OSError, sqlite3.Error) as error:
        log.error("%s", error)  # noqa: TRY400 - the message says it all: no trace for an operator's mistake
        return 1
    parts = CollectorParts(
        spool=spool,
        store=StoreLink(settings.store),
        catalog=catalog,
        clock=clock,
        metrics=CollectorMetrics(),
        outbox=outbox,
        sample_spool=sample_spool,
        guard=guard,
        receivers=receivers,
        heartbeat=heartbeat,
        exporters=exporters,
    )
    app = create_app(parts, lifespan=lambda _: _running_jobs(parts, settings))
    server = uvicorn.Server(
        uvicorn.Config(
            Guarded(app, settings.security),
            access_log=False,
            log_config=None,
            http="httptools",
            ws="none",
            timeout_graceful_shutdown=_FINISH_SECONDS,
            ssl_certfile=settings.security.certificate,
            ssl_keyfile=settings.security.key,
        )
    )
    # uvicorn raises the signal again when it has finished: this is what it then reaches.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    scheme = "http" if settings.security.certificate is None else "https"
    log.info("serving on %s://%s:%d", scheme, settings.host, settings.port)
    if scheme == "http" and not is_loopback(settings.host):
        log.warning("tokens and events are sent in the clear: set TIDEGAUGE_TLS_CERT and TIDEGAUGE_TLS_KEY")
    server.run(sockets=[listener])
    spool.close()
    sample_spool.close()
    guard.close()
    return 0


def _listen(settings: Settings) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise SettingsError(
            f"cannot listen on {settings.host}:{settings.port} ({error.strerror}): another process has the port;"
            " set TIDEGAUGE_COLLECTOR_PORT to a free one"
        ) from error
    return listener


@asynccontextmanager
async def _running_jobs(parts: CollectorParts, settings: Settings) -> AsyncIterator[None]:
    stopping = asyncio.Event()
    jobs = [asyncio.create_task(_open_store(parts, stopping)), asyncio.create_task(_write(parts, stopping, _flush))]
    jobs.append(asyncio.create_task(_write(parts, stopping, _sample_flush())))
    jobs += [asyncio.create_task(job) for job in alert_jobs(parts, stopping)]
    if parts.exporters:
        from collector.exporters.jobs import exporter_jobs  # loads what it sends with: only where there is one

        jobs += [asyncio.create_task(job) for job in exporter_jobs(parts, settings.data, stopping)]
    if any(service.prometheus is not None for service in parts.catalog.services.values()):
        jobs.append(asyncio.create_task(_pull(parts, stopping)))
    if settings.samplers.wanted:
        jobs.append(asyncio.create_task(sample(parts, settings.samplers, stopping)))
    try:
        yield
    finally:
        stopping.set()
        await asyncio.wait(jobs, timeout=LAST_FLUSH_SECONDS)
        parts.store.close()


async def _open_store(parts: CollectorParts, stopping: asyncio.Event) -> None:
    pause = 0.2
    while not stopping.is_set():
        try:
            applied = await asyncio.to_thread(parts.store.open_once)
        except MigrationError:
            log.exception("the store's tables cannot be brought up to date; events stay in the spool")
            pause = LONGEST_PAUSE_SECONDS
        except StoreError as error:
            log.warning("waiting for the store: %s", error)
            pause = min(LONGEST_PAUSE_SECONDS, pause * 2)
        else:
            log.info("the store is there; migrations applied: %s", ", ".join(applied) or "none")
            return
        await _pause(stopping, pause)


async def _write(parts: CollectorParts, stopping: asyncio.Event, flush: Flush) -> None:
    """Flush while anything waits, and once more when stopping."""
    pause, last = FLUSH_EVERY_SECONDS, False
    while True:
        if parts.store.ready:
            pause = await flush(parts, pause)
        if last:
            return
        await _pause(stopping, pause)
        last = stopping.is_set()


async def _flush(parts: CollectorParts, pause: float) -> float:
    """Run one tick of the events' writer and return the seconds to the next."""
    return await _flushed(parts, pause, lambda: flush_once(parts.spool, parts.store.client()), parts.metrics.flushed)


def _sample_flush() -> Flush:
    writer = SampleWriter()

    async def flush(parts: CollectorParts, pause: float) -> float:
        def once() -> Flushed:
            return flush_once(parts.sample_spool, parts.store.client(), send=writer.send)

        return await _flushed(parts, pause, once, parts.metrics.samples_flushed)

    return flush


async def _flushed(
    parts: CollectorParts, pause: float, once: Callable[[], Flushed], count: Callable[[Flushed], None]
) -> float:
    try:
        flushed = await asyncio.to_thread(once)
    except StoreError as error:
        parts.metrics.flush_failed()
        log.warning("the store is away, events wait in the spool: %s", error)
        return min(LONGEST_PAUSE_SECONDS, max(FLUSH_EVERY_SECONDS, pause) * 2)
    except (OSError, ValueError):  # ValueError: a plan that is no JSON, which no kill leaves but a broken disk may
        parts.metrics.flush_failed()
        log.exception("the spool cannot be read or written")
        return LONGEST_PAUSE_SECONDS
    count(flushed)
    return 0.0 if flushed.more_waits else FLUSH_EVERY_SECONDS


async def _pull(parts: CollectorParts, stopping: asyncio.Event) -> None:
    from collector.pulls import pull_services_once  # loads the Prometheus client: only where there is such a service

    watermarks: dict[str, datetime] = {}
    while not stopping.is_set():
        if parts.store.ready:
            try:
                client, now = parts.store.client(), parts.clock.now()
                await asyncio.to_thread(
                    pull_services_once, client, parts.catalog, parts.guard, now=now, watermarks=watermarks
                )
            except (StoreError, ValueError) as error:
                log.warning("a pull could not be stored and is repeated: %s", error)
        await _pause(stopping, PULL_EVERY_SECONDS if parts.store.ready else 1.0)


async def _pause(stopping: asyncio.Event, seconds: float) -> None:
    try:
        if seconds > 0:
            await asyncio.wait_for(stopping.wait(), seconds)
    except TimeoutError:
        return


if __name__ == "__main__":
    raise SystemExit(main())
