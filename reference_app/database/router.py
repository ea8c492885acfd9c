"""The database router: reads to the replica of their purpose, writes and reads after one's own write to the primary.

It watches the servers and chooses among them. What is read and written is the stores' business; this module sees SQL
pass by.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, MutableMapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, LiteralString, TypeVar

import psycopg
from psycopg.rows import class_row
from psycopg_pool import PoolTimeout

from reference_app.database.keeper import PartitionKeeper
from reference_app.database.pools import STATEMENT_MILLISECONDS, Connection, Pool
from reference_app.database.probe import Probe, log_position
from reference_app.database.replica import REPLICA_ACQUIRE_SECONDS, Replica
from reference_app.database.statements import StatementTimings

log = logging.getLogger(__name__)

Row = TypeVar("Row")

WATCH_SECONDS = 1.0
REMEMBERED_POSITIONS = 60
_POSITION = "SELECT pg_current_wal_insert_lsn()::text"


class DatabaseBusy(Exception):  # noqa: N818 - a state, not a fault
    """No connection became free in time."""


class DeadlinePassed(DatabaseBusy):
    """The request's time was over before the database had answered."""


class DatabaseDown(Exception):  # noqa: N818 - a state, not a fault
    """The primary can't be reached."""


@dataclass(frozen=True, slots=True)
class Session:
    """Who reads: up to which log position they have written, and where to note which server answered.

    deadline: when the request's time is over, in seconds of `time.monotonic`; region: where the caller is.
    """

    last_write: int | None = None
    trail: MutableMapping[str, str] = field(default_factory=dict)
    deadline: float | None = None
    region: str = ""


class Databases:
    """The primary and the replicas."""

    def __init__(
        self,
        primary: Pool,
        replicas: Sequence[Replica] | None = None,
        *,
        max_lag_seconds: float = 5.0,
        read_your_writes: bool = True,
        replica_checks: bool = True,
        close_seconds: float = 1.0,
        keeper: PartitionKeeper | None = None,
        timings: Mapping[str, StatementTimings] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.primary, self.replicas, self.keeper = primary, tuple(replicas or ()), keeper
        self.timings = dict(timings or {})
        self._max_lag_seconds = max_lag_seconds if replica_checks else float("inf")
        self._read_your_writes, self._close_seconds, self._monotonic = read_your_writes, close_seconds, monotonic
        self._probe = Probe(primary)
        self._positions: deque[tuple[float, int]] = deque(maxlen=REMEMBERED_POSITIONS)
        self._closing = asyncio.Event()
        self._watch: list[asyncio.Task[None]] = []

    @property
    def replica_fit(self) -> bool:
        """Whether any replica is read."""
        return any(replica.fit for replica in self.replicas)

    async def open(self) -> None:
        """Start connecting; returns at once, so that a dead server delays readiness and not the start."""
        for pool in (self.primary, *(replica.pool for replica in self.replicas)):
            await pool.open(wait=False)
        watches = [self._look_at_primary, *(self._look_at(replica) for replica in self.replicas)]
        self._watch = [asyncio.create_task(self._repeat(look)) for look in watches]

    async def close(self) -> None:
        """Stop watching and close the pools."""
        self._closing.set()
        for task in self._watch:
            task.cancel()
        await asyncio.gather(*self._watch, return_exceptions=True)
        await self._probe.close()
        seconds = self._close_seconds
        await asyncio.gather(self.primary.close(timeout=seconds), *(each.close(seconds) for each in self.replicas))

    async def read(
        self,
        kind: type[Row],
        query: LiteralString,
        parameters: dict[str, Any],
        *,
        session: Session,
        purpose: str = "search",
    ) -> list[Row]:
        """Return the rows from the purpose's replica if the session may read there, else from the primary.

        Raises DatabaseBusy when no connection became free in time, DeadlinePassed when the session's or the
        statement's time is over, DatabaseDown when the primary fails. A replica that fails is taken out.
        """
        replica = self._replica_for(session, purpose)
        if replica is not None:
            try:
                rows = await self._rows(replica.pool, kind, query, parameters, session, REPLICA_ACQUIRE_SECONDS)
            except PoolTimeout:
                log.info("no connection to %s became free, asking the primary", replica.name)
            except psycopg.errors.QueryCanceled as error:  # the primary would take as long
                raise DeadlinePassed(_first_line(error)) from error
            except psycopg.errors.SerializationFailure:
                log.info("%s replayed what removes rows of this read, asking the primary", replica.name)
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                replica.take_out(f"a read failed: {type(error).__name__}")
            else:
                session.trail["database_target"] = replica.name
                return rows
        session.trail["database_target"] = "primary"
        with _translated():
            return await self._rows(self.primary, kind, query, parameters, session, self.primary.timeout)

    @asynccontextmanager
    async def write(self, session: Session) -> AsyncIterator[Connection]:
        """Give a connection to the primary, inside a transaction that commits when the block ends well.

        Each statement may take what is left of the session's time. Raises DatabaseBusy, DeadlinePassed or
        DatabaseDown; after DatabaseDown the caller can't know whether the commit arrived.
        """
        session.trail["database_target"] = "primary"
        with _translated():
            async with self.primary.connection(timeout=self._within(session, self.primary.timeout)) as connection:
                await connection.limit_statements(self._statement_ms(session))
                async with connection.transaction():
                    yield connection

    async def written_position(self) -> int:
        """Return a log position of the primary that covers everything committed before the call."""
        with _translated():
            async with self.primary.connection() as connection:
                return await log_position(connection, _POSITION)

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

    def _replica_for(self, session: Session, purpose: str) -> Replica | None:
        # The replayed position only grows, so an old reading errs towards the primary.
        written = session.last_write if self._read_your_writes and session.last_write is not None else 0
        fit = [each for each in self.replicas if each.fit and each.serves(purpose) and written <= each.replayed]
        near = [each for each in fit if session.region and each.region.startswith(session.region)]
        return next(iter(near or fit), None)

    def _within(self, session: Session, seconds: float) -> float:
        if session.deadline is None:
            return seconds
        left = session.deadline - self._monotonic()
        if left <= 0:
            raise DeadlinePassed("the request's time is over")
        return min(seconds, left)

    def _statement_ms(self, session: Session) -> int:
        return max(1, round(self._within(session, STATEMENT_MILLISECONDS / 1000) * 1000))

    async def _rows(
        self, pool: Pool, kind: type[Row], query: LiteralString, parameters: Any, session: Session, acquire: float
    ) -> list[Row]:
        async with pool.connection(timeout=self._within(session, acquire)) as connection:
            await connection.limit_statements(self._statement_ms(session))
            async with connection.cursor(row_factory=class_row(kind)) as cursor:
                await cursor.execute(query, parameters)
                return await cursor.fetchall()

    async def _repeat(self, look: Callable[[], Any]) -> None:
        # Not by cancelling alone: a connection that arrives at that moment makes the pool swallow the cancellation.
        while not self._closing.is_set():
            await look()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), WATCH_SECONDS)

    async def _look_at_primary(self) -> None:
        try:
            async with self._probe.connection() as connection:
                position = await log_position(connection, _POSITION)
                self._positions.append((self._monotonic(), position))
                if self.keeper is not None:
                    await self.keeper.keep(connection)
        except (psycopg.Error, OSError) as error:
            log.warning("the primary can't be reached: %s", type(error).__name__)
            await self.primary.check()  # replaces the connections that died with it; reads go on from the replicas

    def _look_at(self, replica: Replica) -> Callable[[], Any]:
        async def look() -> None:
            await replica.look(self._positions, now_seconds=self._monotonic(), max_lag_seconds=self._max_lag_seconds)

        return look


class _translated:  # noqa: N801 - reads as a statement
    """Turns the driver's exceptions into ours."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, PoolTimeout):
            raise DatabaseBusy(str(error)) from error
        if isinstance(error, psycopg.errors.QueryCanceled):
            raise DeadlinePassed(_first_line(error)) from error
        if isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError)):
            raise DatabaseDown(f"{type(error).__name__}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else ""
