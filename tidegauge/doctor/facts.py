"""What the probes bring home: plain values, so that the checks need no world."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Unreachable:
    """Nobody answered, or with a refusal: says where and why. Never with a secret."""

    why: str


@dataclass(frozen=True, slots=True)
class Disk:
    """The data directory's file system. writable: a file could be made there."""

    path: str
    free_bytes: int
    writable: bool


@dataclass(frozen=True, slots=True)
class StoreReplica:
    """A replicated table of the server that was asked."""

    table: str
    readonly: bool
    delay_seconds: int


@dataclass(frozen=True, slots=True)
class Store:
    """A ClickHouse. settings: of our account, by name. nodes: of the cluster that is set. clock: its epoch seconds."""

    version: str
    timezone: str
    clock: float
    settings: Mapping[str, str] = field(default_factory=dict)
    nodes: int = 0
    macros: frozenset[str] = frozenset()
    replicas: tuple[StoreReplica, ...] = ()


@dataclass(frozen=True, slots=True)
class Follower:
    """A PostgreSQL replica as its primary sees it. lag_seconds None: it has not said yet."""

    name: str
    state: str
    lag_seconds: float | None


@dataclass(frozen=True, slots=True)
class Database:
    """The server that the app writes to."""

    in_recovery: bool
    timezone: str
    followers: tuple[Follower, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer. clock: the server's epoch seconds by its Date header, if any. series: found by a query."""

    status: int
    clock: float | None = None
    series: int | None = None


@dataclass(frozen=True, slots=True)
class Right:
    """Whether we may do something in a Kubernetes cluster."""

    verb: str
    resource: str
    namespace: str
    allowed: bool
