"""What is set about the databases: the servers, the pools, and the switches by which each measure can be left out."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from reference_app.environment import SettingError, number, switch

DEFAULT_DATABASE_URL = "postgresql://postgres@127.0.0.1:15432/postgres"
PURPOSES = ("search", "analytics", "profiles")
_REPLICA = re.compile(r"(?P<purpose>[a-z]+)@(?P<region>[a-z0-9-]+)=(?P<url>\S+)")


@dataclass(frozen=True, slots=True)
class ReplicaSetting:
    """A read replica: what it is read for (empty: everything), in which region it stands, and its URL."""

    purpose: str
    region: str
    url: str


@dataclass(frozen=True, slots=True)
class PoolTerms:
    """The pool of one server: its size, and how long to wait for what (seconds)."""

    min_size: int = 2
    max_size: int = max(4, 2 * (os.cpu_count() or 1))
    acquire_seconds: float = 2.0
    connect_seconds: float = 5.0
    close_seconds: float = 1.0
    idle_seconds: float = 30.0
    retry_seconds: float = 0.2


@dataclass(frozen=True, slots=True)
class DatabaseSettings:
    """The servers, the pools and the switches."""

    primary_url: str = DEFAULT_DATABASE_URL
    replicas: tuple[ReplicaSetting, ...] = ()
    max_lag_seconds: float = 5.0
    pool: PoolTerms = PoolTerms()
    read_replicas: bool = True
    read_your_writes: bool = True
    replica_checks: bool = True
    make_partitions: bool = True
    partition_pruning: bool = True
    index_scans: bool = True
    statement_timings: bool = True

    @property
    def session_options(self) -> str:
        """Options of every session for what is switched off: the planner's own switches."""
        off = [] if self.partition_pruning else ["enable_partition_pruning"]
        off += [] if self.index_scans else ["enable_indexscan", "enable_indexonlyscan", "enable_bitmapscan"]
        return "".join(f" -c {name}=off" for name in off)


def database_settings(environ: Mapping[str, str]) -> DatabaseSettings:
    """Return the settings. Raises SettingError naming the variable, what was expected and what came."""
    return DatabaseSettings(
        primary_url=environ.get("REFERENCE_APP_DATABASE_URL") or DEFAULT_DATABASE_URL,
        replicas=_replicas(environ),
        max_lag_seconds=number(environ, "REFERENCE_APP_REPLICA_MAX_LAG_SECONDS", "5", float, at_least=0.1),
        pool=_pool(environ),
        read_replicas=switch(environ, "REFERENCE_APP_READ_REPLICAS"),
        read_your_writes=switch(environ, "REFERENCE_APP_READ_YOUR_WRITES"),
        replica_checks=switch(environ, "REFERENCE_APP_REPLICA_CHECKS"),
        make_partitions=switch(environ, "REFERENCE_APP_MAKE_PARTITIONS"),
        partition_pruning=switch(environ, "REFERENCE_APP_PARTITION_PRUNING"),
        index_scans=switch(environ, "REFERENCE_APP_INDEX_SCANS"),
        statement_timings=switch(environ, "REFERENCE_APP_STATEMENT_TIMINGS"),
    )


def _replicas(environ: Mapping[str, str]) -> tuple[ReplicaSetting, ...]:
    found = []
    for place, text in enumerate((environ.get("REFERENCE_APP_REPLICAS") or "").split(), start=1):
        match = _REPLICA.fullmatch(text)
        if match is None or match["purpose"] not in PURPOSES:  # not shown whole: there is a password in it
            raise SettingError(
                "REFERENCE_APP_REPLICAS: expected <purpose>@<region>=<url> with spaces between, purpose one of "
                f"{', '.join(PURPOSES)}; got something else in place {place}"
            )
        found.append(ReplicaSetting(match["purpose"], match["region"], match["url"]))
    if url := environ.get("REFERENCE_APP_REPLICA_URL"):
        found.append(ReplicaSetting("", "", url))
    return tuple(found)


def _pool(environ: Mapping[str, str]) -> PoolTerms:
    usual = PoolTerms()
    min_size = number(environ, "REFERENCE_APP_POOL_MIN", str(usual.min_size), int, at_least=0)
    return PoolTerms(
        min_size=min_size,
        max_size=number(environ, "REFERENCE_APP_POOL_MAX", str(usual.max_size), int, at_least=max(1, min_size)),
        acquire_seconds=_seconds(environ, "REFERENCE_APP_POOL_ACQUIRE_MS", usual.acquire_seconds),
        connect_seconds=_seconds(environ, "REFERENCE_APP_POOL_CONNECT_MS", usual.connect_seconds),
        close_seconds=_seconds(environ, "REFERENCE_APP_POOL_CLOSE_MS", usual.close_seconds),
        idle_seconds=_seconds(environ, "REFERENCE_APP_POOL_IDLE_MS", usual.idle_seconds),
        retry_seconds=_seconds(environ, "REFERENCE_APP_POOL_RETRY_MS", usual.retry_seconds),
    )


def _seconds(environ: Mapping[str, str], name: str, default_seconds: float) -> float:
    return number(environ, name, str(default_seconds * 1000), float, at_least=1) / 1000
