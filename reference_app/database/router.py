"""The database router: reads to the replica, writes and reads after one's own write to the primary.

It owns the pools and knows whether the replica is fit to be read: alive, in recovery, and little behind. What is read
and written is the stores' business; this module sees SQL pass by.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, MutableMapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, LiteralString, TypeVar

import psycopg
from psycopg.rows import class_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from reference_app.lsn import lag_seconds, lsn_from_text

log = logging.getLogger(__name__)

Row = TypeVar("Row")
Connection = psycopg.AsyncConnection[Any]
Pool = AsyncConnectionPool[Connection]

ACQUIRE_SECONDS = 2.0
REPLICA_ACQUIRE_SECONDS = 0.5  # then the primary is asked, which may take ACQUIRE_SECONDS more
STATEMENT_MILLISECONDS = 3000
CONNECT_SECONDS = 3
WATCH_SECONDS = 1.0
REMEMBERED_POSITIONS = 60


class DatabaseBusy(Exception):  # noqa: N818 - a state, not a fault
    """No connection became free in time."""


class DatabaseDown(Exception):  # noqa: N818 - a state, not a fault
    """The primary can't be reached, or gave up on the statement."""


@dataclass(frozen=True, slots=True)
class Session:
    """Who reads: up to which log position they have written, and where to note which server answered."""

    last_write: int | None = None
    trail: MutableMapping[str, str] = field(default_factory=dict)


def open_pool(url: str, *, name: str, read_only: bool = False, min_size: int = 1) -> Pool:
    """Return a pool of 1 to 4 connections, not yet opened."""
    options = f"-c statement_timeout={STATEMENT_MILLISECONDS} -c timezone=UTC"
    if read_only:
        options += " -c default_transaction_read_only=on"
    return AsyncConnectionPool(
        url,
        min_size=min_size,
        max_size=4,
        timeout=ACQUIRE_SECONDS,
        reconnect_timeout=5.0,  # short: a server that comes back is noticed soon
        open=False,
        name=name,
        kwargs={
            "autocommit": True,  # a read is one round trip
            "connect_timeout": CONNECT_SECONDS,
            "application_name": name,
            "options": options,
        },
    )


class Databases:
    """The primary and, when it is fit, the replica."""

    def __init__(
        self,
        primary: Pool,
        replica: Pool | None,
        *,
        max_lag_seconds: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.primary, self.replica = primary, replica
        self._max_lag_seconds, self._monotonic = max_lag_seconds, monotonic
        self._positions: deque[tuple[float, int]] = deque(maxlen=REMEMBERED_POSITIONS)
        self._closing = asyncio.Event()
        self._watch: asyncio.Task[None] | None = None
        self.replica_fit = False
        self.replica_replayed = 0
        self.replica_lag_seconds: float | None = None

    async def open(self) -> None:
        """Start connecting; returns at once, so that a dead server delays readiness and not the start."""
        await self.primary.open(wait=False)
        if self.replica is not None:
            await self.replica.open(wait=False)
        self._watch = asyncio.create_task(self._watch_servers())

    async def close(self) -> None:
        """Stop watching and close the pools."""
        self._closing.set()
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        for pool in (self.primary, self.replica):
            if pool is not None:
                await pool.close(timeout=1.0)

    async def read(
        self, kind: type[Row], query: LiteralString, parameters: dict[str, Any], *, session: Session
    ) -> list[Row]:
        """Return the rows from the replica if the session may read there, else, or if it fails, from the primary.

        Raises DatabaseBusy when no connection became free in time, DatabaseDown when the primary fails.
        """
        replica = self._replica_for(session)
        if replica is not None:
            try:
                rows = await _rows(replica, kind, query, parameters, acquire_seconds=REPLICA_ACQUIRE_SECONDS)
            except PoolTimeout:
                log.info("no connection to the replica became free, asking the primary")
            except psycopg.OperationalError as error:
                self._unfit(f"a read failed: {type(error).__name__}")
            else:
                session.trail["database_target"] = "replica"
                return rows
        session.trail["database_target"] = "primary"
        with _translated():
            return await _rows(self.primary, kind, query, parameters, acquire_seconds=ACQUIRE_SECONDS)

    @asynccontextmanager
    async def write(self, session: Session) -> AsyncIterator[Connection]:
        """Give a connection to the primary, inside a transaction that commits when the block ends well.

        Raises DatabaseBusy or DatabaseDown; after DatabaseDown the caller can't know whether the commit arrived.
        """
        session.trail["database_target"] = "primary"
        with _translated():
            async with self.primary.connection() as connection, connection.transaction():
                yield connection

    async def written_position(self) -> int:
        """Return a log position of the primary that covers everything committed before the call."""
        with _translated():
            async with self.primary.connection() as connection:
                return await _position(connection, "SELECT pg_current_wal_insert_lsn()::text")

    async def schema_version(self) -> int:
        """Return the primary's last migration, 0 before the first. Raises DatabaseBusy or DatabaseDown."""
        with _translated():
            async with self.primary.connection(timeout=1.0) as connection:
                try:
                    cursor = await connection.execute("SELECT coalesce(max(version), 0) FROM schema_migrations")
                except psycopg.errors.UndefinedTable:
                    return 0
                row = await cursor.fetchone()
        return int(row[0]) if row else 0

    def _replica_for(self, session: Session) -> Pool | None:
        if not self.replica_fit:
            return None
        # The replayed position only grows, so an old reading errs towards the primary.
        return self.replica if session.last_write is None or session.last_write <= self.replica_replayed else None

    async def _watch_servers(self) -> None:
        # Not by cancelling alone: a connection that arrives at that moment makes the pool swallow the cancellation.
        while not self._closing.is_set():
            await self._look_at_primary()
            if self.replica is not None:
                await self._look_at_replica(self.replica)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), WATCH_SECONDS)

    async def _look_at_primary(self) -> None:
        try:
            async with self.primary.connection(timeout=1.0) as connection:
                position = await _position(connection, "SELECT pg_current_wal_insert_lsn()::text")
        except (psycopg.Error, PoolTimeout, OSError) as error:
            log.warning("the primary can't be reached: %s", type(error).__name__)
            await self.primary.check()  # replaces the connections that died with it; reads go on from the replica
        else:
            self._positions.append((self._monotonic(), position))

    async def _look_at_replica(self, replica: Pool) -> None:
        try:
            async with replica.connection(timeout=1.0) as connection:
                query: LiteralString = "SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()::text END"
                replayed = await _position(connection, query)
        except (psycopg.Error, PoolTimeout, OSError) as error:
            self._unfit(f"it can't be reached: {type(error).__name__}")
            self.replica_lag_seconds = None
            await replica.check()
            return
        self.replica_replayed = replayed
        self.replica_lag_seconds = lag_seconds(self._positions, replayed, now_seconds=self._monotonic())
        if self.replica_lag_seconds is None or self.replica_lag_seconds > self._max_lag_seconds:
            self._unfit("it lags")
        elif not self.replica_fit:
            self.replica_fit = True
            log.info("reading from the replica")

    def _unfit(self, reason: str) -> None:
        if self.replica_fit:
            log.warning("reading from the primary, not the replica: %s", reason)
        self.replica_fit = False
        self.replica_replayed = 0


class _translated:  # noqa: N801 - reads as a statement
    """Turns the driver's exceptions into ours."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, PoolTimeout):
            raise DatabaseBusy(str(error)) from error
        if isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError)):
            raise DatabaseDown(f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}") from error


async def _rows(
    pool: Pool, kind: type[Row], query: LiteralString, parameters: dict[str, Any], *, acquire_seconds: float
) -> list[Row]:
    async with (
        pool.connection(timeout=acquire_seconds) as connection,
        connection.cursor(row_factory=class_row(kind)) as cursor,
    ):
        await cursor.execute(query, parameters)
        return await cursor.fetchall()


async def _position(connection: Connection, query: LiteralString) -> int:
    row = await (await connection.execute(query)).fetchone()
    if row is None or row[0] is None:
        raise psycopg.OperationalError("expected a log position: is this server a streaming replica?")
    return lsn_from_text(row[0])
