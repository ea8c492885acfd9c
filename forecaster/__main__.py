"""The composition root of the forecaster: settings, clock, catalog, store, actuator, ticks and API in one process.

`python -m forecaster` listens at once (so that /healthz answers), waits for the store, brings its tables up to date and
then starts the ticks. It stops on SIGTERM when the ticks and answers under way are done.
"""

from __future__ import annotations

import errno
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime

import httpx
import structlog
import uvicorn

from collector.alerts.store import read_posted
from collector.catalog import Catalog, CatalogError, read_catalog
from collector.clickhouse import (
    ClickHouseSettings,
    Client,
    StoreError,
    StoreSettingsError,
    StoreUnavailableError,
    connect,
    migrate,
)
from collector.clickhouse import settings_from_environment as store_settings_from_environment
from collector.security import Guarded, Role, authorization, read_security
from forecaster.actuators.chosen import Outside, choose
from forecaster.api.app import ApiParts, build_app
from forecaster.api.control import ControlParts
from forecaster.calendar.reader import FeedTexts, fetch_calendar
from forecaster.lenders import Lenders
from forecaster.loop.drift_alert import DriftAlert
from forecaster.loop.journal import FOLDER, Journal
from forecaster.loop.leadership import Leads, LedActuator, holder_of
from forecaster.loop.notices import Notices
from forecaster.loop.scheduler import Ticker
from forecaster.loop.world import Memory, World
from forecaster.metrics import ForecasterMetrics
from forecaster.orders import Orders
from forecaster.report.schedule import ReportTimer, report_timer, senders_of
from forecaster.settings import Settings, SettingsError, settings_from_environment
from forecaster.store import SCHEMA_FOLDER, SCHEMA_OWNER
from tidegauge.clock import Clock, clock_from_environment

ROLES: tuple[Role, ...] = ("read", "admin")
_RETRY_STORE_SECONDS = 0.5
_CLUSTER_TIMEOUT_SECONDS = 5.0
_log = structlog.get_logger("forecaster")


class Forecaster:
    """One running forecaster: reaches the store, then ticks, until it is left."""

    def __init__(
        self,
        settings: Settings,
        store: ClickHouseSettings,
        catalog: Catalog,
        clock: Clock,
        *,
        alerts: Mapping[str, str],
        environ: Mapping[str, str],
    ) -> None:
        self._settings, self._store, self._catalog, self._clock = settings, store, catalog, clock
        self._alerts = alerts  # the header that the collector asks for
        self._senders = senders_of(catalog.reports, environ)
        self._reports: ReportTimer | None = None
        self._orders = Orders(settings.data, now=lambda: datetime.now(UTC))
        self._journal = Journal(settings.data / FOLDER)
        self._memories = {name: Memory() for name in catalog.services}  # until the ticks have theirs
        self._http = httpx.Client(timeout=_CLUSTER_TIMEOUT_SECONDS)
        self._holder, self._let_holder_go = holder_of(settings.data)
        self._lease: Leads | None = None
        outside = Outside(settings.cluster_url, self._http, environ, self._holder, time.monotonic)
        self._chosen = choose(catalog, outside)
        self._actuator = self._chosen.actuator
        self._metrics = ForecasterMetrics(clock, settings)
        self._stopping = threading.Event()
        self._world: World | None = None
        self._why_not_ready: str | None = "starting"
        self._ticker: Ticker | None = None
        self.failed = False

    def parts(self) -> ApiParts:
        """Return what the API is built from."""
        return ApiParts(
            catalog=self._catalog,
            metrics=self._metrics,
            world=lambda: self._world,
            why_not_ready=self.why_not_ready,
            running=self.running,
            control=ControlParts(
                orders=self._orders,
                actuator=self._actuator,
                memory=self._memory_of,
                leads=self._holds_lead,
                journal=self._journal,
            ),
        )

    def _memory_of(self, service: str) -> Memory:
        ticker = self._ticker
        return self._memories[service] if ticker is None else ticker.memories[service]

    def _holds_lead(self) -> bool:
        """Return whether we may decide and act."""
        return self._lease is not None and self._lease.holds()

    def why_not_ready(self) -> str | None:
        """Return why no work can be done now, None when it can: the store answers and the ticks run."""
        world = self._world
        if world is None:
            return self._why_not_ready
        try:
            world.client.query_rows("SELECT 1")
        except StoreError as error:
            return f"the store: {str(error).splitlines()[0]}"
        return None

    @contextmanager
    def running(self) -> Iterator[None]:
        """Wait for the store and start the ticks in the background; when left, stop them and close what is open."""
        starter = threading.Thread(target=self._start, name="start")
        starter.start()
        try:
            yield
        finally:
            self._stopping.set()
            starter.join()
            if self._reports is not None:
                self._reports.stop()
            if self._ticker is not None:
                self._ticker.stop()
            if self._lease is not None:
                self._lease.release()
            if self._world is not None:
                self._world.client.close()
            self._chosen.close()
            self._http.close()
            self._let_holder_go()

    def _start(self) -> None:
        client = self._reach_store()
        if client is None:
            return
        self._lease = self._chosen.lease(client)
        actuator = LedActuator(self._actuator, self._lease)
        feeds = FeedTexts(lambda address: fetch_calendar(address, self._http), time.monotonic)
        world = World(
            client, self._clock, actuator, self._settings, feeds,
            orders=self._orders, journal=self._journal, catalog=self._catalog, lenders=Lenders(),
        )  # fmt: skip
        collector, http = self._settings.collector_url, self._http
        tell_drift = DriftAlert(collector, http, headers=self._alerts)
        tell = Notices(collector, http, headers=self._alerts, posted=lambda now: read_posted(client, now=now))
        services = list(self._catalog.services.values())
        ticker = Ticker(world, services, self._metrics, lease=self._lease, tell_drift=tell_drift, tell=tell)
        for name, memory in self._memories.items():
            ticker.memories[name].unsaved = memory.unsaved
        self._ticker = ticker
        ticker.start()
        self._reports = report_timer(self._catalog, self._senders, world, leads=self._lease.holds)
        self._world = world
        _log.info("ready", services=sorted(self._catalog.services), speed=self._clock.speed_now())

    def _reach_store(self) -> Client | None:
        """Return a client of a store whose tables are up to date; None when the process was stopped before."""
        while not self._stopping.is_set():
            try:
                client = connect(self._store)
                applied = migrate(client, SCHEMA_FOLDER, owner=SCHEMA_OWNER)
            except StoreUnavailableError as error:
                self._why_not_ready = f"the store at {self._store.url}: {str(error).splitlines()[0]}"
                self._stopping.wait(_RETRY_STORE_SECONDS)
            except StoreError as error:
                self._why_not_ready = f"the store at {self._store.url}: {error}"
                _log.exception("the store cannot be used")
                self.failed = True
                signal.raise_signal(signal.SIGTERM)
                return None
            else:
                _log.info("store reached", url=self._store.url, migrations=applied)
                return client
        return None


def main(environ: Mapping[str, str]) -> int:
    """Run until SIGTERM or SIGINT.

    Returns 0, 1 when the port is taken or the store refuses us, 2 when a setting or the catalog is wrong.
    """
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it tells every request, with its address
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    try:
        settings = settings_from_environment(environ)
        store = store_settings_from_environment(environ)
        clock = clock_from_environment(environ)
        catalog = read_catalog(settings.config)
        security = read_security(environ, host=settings.host, roles=ROLES)
        alerts = authorization(environ, "ingest")
    except (SettingsError, StoreSettingsError, CatalogError, ValueError) as error:
        print(f"forecaster: {error}", file=sys.stderr)  # noqa: T201 (the one line a person reads)
        return 2
    try:
        listener = _listen(settings)
    except OSError as error:
        print(f"forecaster: {_why_not_listening(settings, error)}", file=sys.stderr)  # noqa: T201 (as above)
        return 1
    # uvicorn raises the signal again when it is done; without these that would end the process as if killed by it.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    try:
        forecaster = Forecaster(settings, store, catalog, clock, alerts=alerts, environ=environ)
    except ValueError as error:  # a cluster that cannot be connected to
        listener.close()
        print(f"forecaster: {error}", file=sys.stderr)  # noqa: T201 (as above)
        return 2
    app = Guarded(build_app(forecaster.parts()), security)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=10))
    server.run(sockets=[listener])
    return 1 if forecaster.failed else 0


def _listen(settings: Settings) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError:
        listener.close()
        raise
    listener.listen(128)
    return listener


def _why_not_listening(settings: Settings, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {settings.port} is in use; choose another with TIDEGAUGE_FORECASTER_PORT"
    return f"cannot listen on {settings.host} port {settings.port} (TIDEGAUGE_FORECASTER_PORT): {error.strerror}"


if __name__ == "__main__":
    sys.exit(main(os.environ))
