"""The parts of Tidegauge's embedded stack, as functions of settings, secrets and clock.

`tidegauge up` runs all of them; the demo takes the same parts with its own clock and load. How parts are run is the
supervisor's matter.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from tidegauge import postgres, valkey
from tidegauge.clock import Clock
from tidegauge.part import Part, Port, answers_http
from tidegauge.settings import (
    Secrets,
    StackSettings,
    app_environment,
    common_environment,
    dashboard_environment,
    edge_environment,
    postgres_environment,
    sampler_environment,
    store_environment,
    valkey_environment,
)

OWN_SHAPE_PEAK_RPS = 15.0  # what `up` sends at the height of its day: more than one replica carries, less than two


@dataclass(frozen=True, slots=True)
class StackOf:
    """The makers of the parts of one stack."""

    settings: StackSettings
    secrets: Secrets
    clock: Clock

    def databases(self) -> list[Part]:
        """Return the servers that others made: PostgreSQL with its replicas and its standby, Valkey."""
        return [self.postgres_primary(), *self.postgres_followers(), self.valkey()]

    def platform(self, *, with_app: bool = True) -> list[Part]:
        """Return the store (unless another ClickHouse is set) and the collector."""
        return [*([] if self.settings.clickhouse_url else [self.store()]), self.collector(with_app=with_app)]

    def observed(self) -> list[Part]:
        """Return the reference app: its tables and data, its replicas behind their front, its job worker."""
        return [self.prepare(), self.cluster(), self.jobs()]

    def without_app(self, *, with_dashboard: bool = True) -> list[Part]:
        """Return what watches, for services of one's own: no reference app, none of its servers, nothing observed."""
        dashboard = [self.dashboard()] if with_dashboard else []
        return [*self.platform(with_app=False), self.forecaster(), *dashboard, self.load_desk()]

    def everything(self, *, with_dashboard: bool = True, with_load: bool = True, with_edge: bool = True) -> list[Part]:
        """Return all parts of `tidegauge up`. The demo has no edge: what it counts is what the replicas carry."""
        first, *later = self.postgres_followers()
        databases = [self.postgres_primary(), first, self.valkey()]
        # The app does without the other followers for a moment: they copy the primary when it serves already.
        followers = [replace(part, depends_on=("cluster",)) for part in later]
        parts = [*databases, *self.platform(), *self.observed(), *followers, self.forecaster()]
        if with_edge:
            parts.append(self.edge())
        if with_dashboard:
            parts.append(self.dashboard())
        parts.append(self.load_desk())
        if with_load:
            parts.append(self.load_generator(["--peak-rps", str(OWN_SHAPE_PEAK_RPS)]))
        return parts

    def postgres_primary(self) -> Part:
        """Return the PostgreSQL primary."""
        return self._postgres("postgres-primary", self.settings.primary, "TIDEGAUGE_POSTGRES_PORT")

    def postgres_replica(self) -> Part:
        """Return the streaming replica that searches read: ready when it follows."""
        return self.postgres_followers()[0]

    def postgres_followers(self) -> list[Part]:
        """Return the replicas and the standby. They copy the primary at the same time."""
        standby = self.settings.standby
        servers = [*self.settings.replicas.values(), *([standby] if standby else [])]
        return [self._follower(server) for server in servers]

    def _follower(self, server: postgres.PostgresServer) -> Part:
        name, offset = server.directory.name, server.port - self.settings.postgres_port
        setting = f"TIDEGAUGE_POSTGRES_PORT (the {name} has that plus {offset})"
        part = self._postgres(f"postgres-{name}", server, setting)
        return replace(part, depends_on=("postgres-primary",))

    def _postgres(self, name: str, server: postgres.PostgresServer, setting: str) -> Part:
        return Part(
            name,
            server.argv(),
            postgres_environment(self.secrets),
            ready=partial(postgres.is_ready, server, replication_password=self.secrets.replication),
            ports=(Port(server.port, setting),),
            stop_signal=signal.SIGINT,  # does not wait for clients
            death_signal=signal.SIGQUIT,  # stops its children at once; the next start recovers
        )

    def valkey(self) -> Part:
        """Return Valkey."""
        server = self.settings.valkey
        return Part(
            "valkey",
            server.argv(),
            valkey_environment(self.secrets),
            ready=partial(valkey.is_ready, server, password=self.secrets.valkey),
            ports=(Port(server.port, "TIDEGAUGE_VALKEY_PORT"),),
        )

    def store(self) -> Part:
        """Return chDB behind ClickHouse's HTTP interface."""
        port = self.settings.clickhouse_port
        part = self._server("store", [sys.executable, "-m", "collector.embedded"], port, "TIDEGAUGE_CLICKHOUSE_PORT")
        environment = {**part.environment, **store_environment(self.secrets)}
        return replace(part, environment=environment, death_signal=signal.SIGTERM, stop_seconds=30.0)

    def collector(self, *, with_app: bool = True) -> Part:
        """Return the collector; with the app it samples its databases, cache and replicas."""
        argv = [sys.executable, "-m", "collector"]
        part = self._server("collector", argv, self.settings.collector_port, "TIDEGAUGE_COLLECTOR_PORT")
        samplers = sampler_environment(self.settings, self.secrets) if with_app else {}
        environment = {**part.environment, **samplers}
        return replace(part, environment=environment, depends_on=() if self.settings.clickhouse_url else ("store",))

    def forecaster(self) -> Part:
        """Return the forecaster."""
        argv = [sys.executable, "-m", "forecaster"]
        part = self._server("forecaster", argv, self.settings.forecaster_port, "TIDEGAUGE_FORECASTER_PORT")
        return replace(part, depends_on=("collector",))

    def prepare(self) -> Part:
        """Return the step that makes and fills the reference app's tables."""
        argv = [sys.executable, "-m", "reference_app.prepare"]
        environment = {**common_environment(self.settings, self.clock), **app_environment(self.settings, self.secrets)}
        return Part("prepare", argv, environment, depends_on=("postgres-primary",), restart="once", ready_seconds=300.0)

    def cluster(self) -> Part:
        """Return the local cluster: the front and the replicas of the reference app."""
        settings = self.settings
        part = self._server(
            "cluster", [sys.executable, "-m", "tidegauge.cluster"], settings.cluster_port, "TIDEGAUGE_CLUSTER_PORT"
        )
        return replace(
            part,
            environment={**part.environment, **app_environment(settings, self.secrets)},
            ports=(Port(settings.app_port, "TIDEGAUGE_APP_PORT"), *part.ports),
            url=settings.url(settings.app_port),
            depends_on=("prepare", "postgres-replica", "valkey", "collector"),
            stop_seconds=45.0,  # it lets its replicas finish
            death_signal=signal.SIGTERM,
        )

    def jobs(self) -> Part:
        """Return the reference app's job worker: the outbox relay, the queues' workers and the sweeps."""
        settings = self.settings
        part = self._server(
            "jobs", [sys.executable, "-m", "reference_app.jobs"], settings.jobs_port, "TIDEGAUGE_JOBS_PORT"
        )
        return replace(
            part,
            environment={
                **part.environment,
                **app_environment(settings, self.secrets),
                "REFERENCE_APP_JOBS_PORT": str(settings.jobs_port),
            },
            depends_on=("prepare", "valkey"),
            stop_seconds=30.0,  # it finishes the jobs it has begun; killed with the supervisor, it does them again
        )

    def edge(self) -> Part:
        """Return the caching tier in front of the front."""
        argv = [sys.executable, "-m", "reference_app.edge"]
        part = self._server("edge", argv, self.settings.edge_port, "TIDEGAUGE_EDGE_PORT")
        environment = {**part.environment, **edge_environment(self.settings, self.secrets)}
        return replace(part, environment=environment, depends_on=("cluster", "valkey", "collector"))

    def dashboard(self) -> Part:
        """Return the Streamlit dashboard."""
        port = self.settings.dashboard_port
        argv = [sys.executable, "-m", "dashboard"]
        part = self._server("dashboard", argv, port, "TIDEGAUGE_DASHBOARD_PORT", health="/_stcore/health")
        environment = {**part.environment, **dashboard_environment(self.settings, self.secrets)}
        return replace(
            part, environment=environment, depends_on=("collector", "forecaster"), url=self.settings.url(port)
        )

    def load_desk(self) -> Part:
        """Return the load generator as a server: it sends what it is asked to, and what is scheduled."""
        argv = [sys.executable, "-m", "loadgen", "serve"]
        part = self._server("load-desk", argv, self.settings.loadgen_port, "TIDEGAUGE_LOADGEN_PORT")
        return replace(part, depends_on=("collector",), stop_seconds=30.0, death_signal=signal.SIGTERM)

    def load_generator(self, arguments: Sequence[str]) -> Part:
        """Return the load generator aimed at the app's front, with its further arguments."""
        target = ["--target", self.settings.url(self.settings.app_port), "--out", str(self.settings.data / "load")]
        return Part(
            "load",
            [sys.executable, "-m", "loadgen", *target, *arguments],
            common_environment(self.settings, self.clock),
            depends_on=("cluster", "collector"),
            restart="on_failure",
            stop_seconds=30.0,  # it reports what was under way
            death_signal=signal.SIGTERM,
        )

    def _server(self, name: str, argv: Sequence[str], port: int, setting: str, health: str = "/readyz") -> Part:
        url = self.settings.url(port)
        environment = common_environment(self.settings, self.clock)
        return Part(name, argv, environment, ready=answers_http(url + health), ports=(Port(port, setting),), url=url)
