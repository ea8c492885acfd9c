"""The settings of the embedded stack, its secrets, and the environment of each part: composed here and nowhere else.

Every setting is an environment variable (ARCHITECTURE.md lists them). Secrets are made once per data directory, lie in
a file that its owner alone can read, and go to the parts that need them by environment.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from tidegauge.clock import Clock
from tidegauge.part import StackError
from tidegauge.postgres import APP_ROLE, PASSWORD_NAMES, REPLICATION_ROLE, PostgresServer
from tidegauge.valkey import PASSWORD_NAME, ValkeyServer

REPLICAS = {  # purpose: name, its port after the primary's, the region it stands for
    "search": ("replica", 1, "us-east-1"),
    "analytics": ("analytics", 2, "us-west-2"),
    "profiles": ("profiles", 3, "eu-west-1"),
}
READER, READER_PASSWORD = "tidegauge_reader", "TIDEGAUGE_CLICKHOUSE_READER_PASSWORD"  # of the store
MOST_POOLED = 8  # twenty replicas of the app, each with as many, fit into the servers' 200 connections

PortNumber = Annotated[int, Field(ge=1, le=65535)]


class StackSettings(BaseSettings):
    """Ports, paths and the store of one stack; each field is the variable `TIDEGAUGE_<NAME>`."""

    model_config = SettingsConfigDict(env_prefix="TIDEGAUGE_", frozen=True, extra="ignore", env_ignore_empty=True)

    config: Path = Path("tidegauge.yaml")
    data: Path = Path(".tidegauge")
    clickhouse_port: PortNumber = 8123
    clickhouse_url: str = Field(default="", description="another ClickHouse than the embedded one")
    postgres_port: Annotated[int, Field(ge=1, le=65531)] = Field(default=15432, description="the others have the next")
    postgres_replicas: Annotated[int, Field(ge=1, le=3)] = Field(default=3, description="read replicas")
    postgres_standby: bool = Field(default=True, description="a standby in another zone")
    valkey_port: PortNumber = 16379
    collector_port: PortNumber = 9400
    forecaster_port: PortNumber = 9401
    loadgen_port: PortNumber = 9402
    app_port: PortNumber = 8000
    edge_port: PortNumber = 8001
    cluster_port: PortNumber = 8010
    jobs_port: PortNumber = Field(default=8020, description="health and metrics of the reference app's job worker")
    dashboard_port: PortNumber = 8501

    def url(self, port: int) -> str:
        """Return the URL of one of our own servers."""
        return f"http://127.0.0.1:{port}"

    @property
    def primary(self) -> PostgresServer:
        """The PostgreSQL primary."""
        return PostgresServer(self.data.resolve() / "postgres" / "primary", self.postgres_port)

    @property
    def replica(self) -> PostgresServer:
        """The first replica, which searches read, on the port after the primary's."""
        return self.replicas["search"]

    @property
    def replicas(self) -> dict[str, PostgresServer]:
        """The read replicas by purpose, on the ports after the primary's."""
        return {purpose: self._follower(*REPLICAS[purpose][:2]) for purpose in list(REPLICAS)[: self.postgres_replicas]}

    @property
    def standby(self) -> PostgresServer | None:
        """The standby: read by nobody, ready to be promoted."""
        return self._follower("standby", len(REPLICAS) + 1) if self.postgres_standby else None

    def _follower(self, name: str, offset: int) -> PostgresServer:
        return PostgresServer(self.data.resolve() / "postgres" / name, self.postgres_port + offset, self.primary)

    @property
    def valkey(self) -> ValkeyServer:
        """The Valkey server."""
        return ValkeyServer(self.data.resolve() / "valkey", self.valkey_port)


def read_settings(*, data: Path | None = None, config: Path | None = None) -> StackSettings:
    """Return the settings of the environment, with what the command line gave above them.

    Raises StackError naming each variable that is not as expected.
    """
    given = {name: value for name, value in (("data", data), ("config", config)) if value is not None}
    try:
        settings = StackSettings(**given)  # type: ignore[arg-type]  # pydantic checks them
    except ValidationError as error:
        lines = [
            f"TIDEGAUGE_{'_'.join(map(str, problem['loc'])).upper()}: {problem['msg']}, got {problem['input']!r}"
            for problem in error.errors()
        ]
        raise StackError("\n".join(lines)) from None
    return settings.model_copy(update={"data": settings.data.resolve(), "config": settings.config.resolve()})


@dataclass(frozen=True, slots=True, repr=False)
class Secrets:
    """The passwords of the embedded servers. They are never shown: not even by repr."""

    postgres: str
    replication: str
    reference_app: str
    valkey: str
    clickhouse_reader: str


def read_secrets(data: Path) -> Secrets:
    """Return the data directory's secrets, made at first use, in a file that only its owner can read.

    The reader's is added to a file that has none: the store is told it at every start, so that any will do. Raises
    StackError when the file is not one of ours.
    """
    path = data / "secrets.json"
    names = [field.name for field in fields(Secrets)]
    if not path.exists():
        _write_secrets(path, Secrets(**{name: secrets.token_urlsafe(24) for name in names}))
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        kept = {name: str(known[name]) for name in names if name in known}
        found = Secrets(**{"clickhouse_reader": secrets.token_urlsafe(24), **kept})
    except (ValueError, TypeError, OSError):
        raise StackError(
            f"{path}: expected a JSON object with {', '.join(names)}; remove the data directory to begin anew"
        ) from None
    if "clickhouse_reader" not in known:
        _write_secrets(path, found)
    return found


def _write_secrets(path: Path, made: Secrets) -> None:
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(asdict(made), file)
    new.replace(path)


def common_environment(settings: StackSettings, clock: Clock) -> dict[str, str]:
    """Return what every part may know: paths, ports, URLs and the clock. No secret."""
    ports = [name for name in StackSettings.model_fields if name.endswith("_port")]
    return {
        **{f"TIDEGAUGE_{name.upper()}": str(getattr(settings, name)) for name in ports},
        "TIDEGAUGE_CONFIG": str(settings.config),
        "TIDEGAUGE_DATA": str(settings.data),
        "TIDEGAUGE_CLICKHOUSE_URL": settings.clickhouse_url or settings.url(settings.clickhouse_port),
        "TIDEGAUGE_COLLECTOR_URL": settings.url(settings.collector_port),
        "TIDEGAUGE_FORECASTER_URL": settings.url(settings.forecaster_port),
        "TIDEGAUGE_LOADGEN_URL": settings.url(settings.loadgen_port),
        "TIDEGAUGE_CLUSTER_URL": settings.url(settings.cluster_port),
        "TIDEGAUGE_CLOCK": "",
        "PYTHONUNBUFFERED": "1",  # or a part's last words are lost when it is killed
        **clock.to_environment(),
    }


def postgres_environment(known: Secrets) -> Mapping[str, str]:
    """Return the passwords that the PostgreSQL servers give their roles."""
    passwords = {"postgres": known.postgres, REPLICATION_ROLE: known.replication, APP_ROLE: known.reference_app}
    return {PASSWORD_NAMES[role]: password for role, password in passwords.items()}


def valkey_environment(known: Secrets) -> Mapping[str, str]:
    """Return the password that Valkey asks for."""
    return {PASSWORD_NAME: known.valkey}


def store_environment(known: Secrets) -> Mapping[str, str]:
    """Return the password of the account that may only read; one of the environment counts."""
    return {READER_PASSWORD: os.environ.get(READER_PASSWORD) or known.clickhouse_reader}


def dashboard_environment(settings: StackSettings, known: Secrets) -> Mapping[str, str]:
    """Return the account with which the dashboard may read the record and change nothing.

    In a ClickHouse of one's own it is there when its password is set; without, the dashboard uses the other parts'.
    """
    if settings.clickhouse_url and not os.environ.get(READER_PASSWORD):
        return {}
    password = store_environment(known)[READER_PASSWORD]
    return {"TIDEGAUGE_CLICKHOUSE_USER": READER, "TIDEGAUGE_CLICKHOUSE_PASSWORD": password}


def edge_environment(settings: StackSettings, known: Secrets) -> Mapping[str, str]:
    """Return the edge's port, its origin (the app's front) and the Redis that tells it of changes."""
    return {
        "REFERENCE_APP_EDGE_PORT": str(settings.edge_port),
        "REFERENCE_APP_EDGE_ORIGINS": settings.url(settings.app_port),
        "REFERENCE_APP_REDIS_URL": settings.valkey.url(known.valkey),
    }


def app_environment(settings: StackSettings, known: Secrets) -> Mapping[str, str]:
    """Return the reference app's databases, pool size and cache; a pool size of the environment counts."""
    replicas = settings.replicas.items()
    hosts = [server.port for server in (settings.primary, settings.standby) if server]
    primary = settings.primary.url(APP_ROLE, known.reference_app, ports=hosts)
    return {
        "REFERENCE_APP_DATABASE_URL": primary,
        "REFERENCE_APP_REPLICAS": " ".join(
            f"{purpose}@{REPLICAS[purpose][2]}={server.url(APP_ROLE, known.reference_app)}"
            for purpose, server in replicas
        ),
        "REFERENCE_APP_POOL_MAX": os.environ.get("REFERENCE_APP_POOL_MAX")
        or str(min(MOST_POOLED, max(4, 2 * (os.cpu_count() or 1)))),
        "REFERENCE_APP_REDIS_URL": settings.valkey.url(known.valkey),
    }


def sampler_environment(settings: StackSettings, known: Secrets) -> Mapping[str, str]:
    """Return what the collector's samplers ask: both databases, the cache and the replicas of the local cluster."""
    servers = (settings.primary, settings.replica)
    return {
        "TIDEGAUGE_SAMPLE_POSTGRES_URLS": " ".join(
            server.url(REPLICATION_ROLE, known.replication, APP_ROLE) for server in servers
        ),
        "TIDEGAUGE_SAMPLE_REDIS_URLS": settings.valkey.url(known.valkey),
        "TIDEGAUGE_SAMPLE_CLUSTER_URL": settings.url(settings.cluster_port),
        "TIDEGAUGE_SAMPLE_WORKER_URLS": settings.url(settings.jobs_port),
    }
