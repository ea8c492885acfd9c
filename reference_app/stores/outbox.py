"""The outbox: jobs and events of a transaction, written in it, so that they exist exactly when it commits.

A row stays until its job is done (or given up), whatever Redis remembers: what Redis lost is found here and enqueued
again. `done_jobs` is written in the transaction of a job's effect, so that a job that runs twice has one effect.
Instants here are the database's own, not those of the clock in use: the outbox measures real work.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, LiteralString, TypeVar

from psycopg.rows import class_row

from reference_app.database import Databases, Session
from reference_app.database.pools import Connection
from reference_app.jobs.terms import ORDINARY, Task

Row = TypeVar("Row")

_PUT = """
INSERT INTO outbox (queue, name, payload, dedupe_key, priority)
SELECT * FROM unnest(
  %(queues)s::text[], %(names)s::text[], %(payloads)s::jsonb[], %(keys)s::text[], %(priorities)s::int[])
ON CONFLICT (dedupe_key) DO NOTHING
"""
_COLUMNS = "id, queue, name, payload, priority, dedupe_key, round, created_at"
_UNPUBLISHED = f"""
SELECT {_COLUMNS} FROM outbox WHERE published_at IS NULL ORDER BY id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
"""  # noqa: S608 - our own words
_OVERDUE = f"""
SELECT {_COLUMNS} FROM outbox
WHERE published_at < now() - %(seconds)s * interval '1 second' AND failed_at IS NULL
ORDER BY published_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
"""  # noqa: S608 - our own words
_PUBLISHED = "UPDATE outbox SET published_at = now() WHERE id = ANY(%(ids)s)"
_REMOVE = "DELETE FROM outbox WHERE id = ANY(%(ids)s)"
_FAILED = "UPDATE outbox SET failed_at = now(), failure = %(failure)s WHERE id = %(id)s"
_DONE = "INSERT INTO done_jobs (dedupe_key, name) VALUES (%(key)s, %(name)s) ON CONFLICT DO NOTHING RETURNING 1"
_WAS_DONE = "SELECT 1 FROM done_jobs WHERE dedupe_key = %(key)s"
_ORDER_ANEW = """
UPDATE outbox SET failed_at = NULL, published_at = NULL, round = round + 1
WHERE queue = %(queue)s AND failed_at < now() - %(seconds)s * interval '1 second'
"""
_STATE = """
SELECT count(*) FILTER (WHERE published_at IS NULL) AS unpublished,
       count(*) FILTER (WHERE published_at IS NOT NULL AND failed_at IS NULL) AS published,
       count(*) FILTER (WHERE failed_at IS NOT NULL) AS failed,
       coalesce(extract(epoch FROM now() - min(created_at) FILTER (WHERE failed_at IS NULL)), 0)::float8
         AS oldest_seconds
FROM outbox
"""
_FORGET_DONE = "DELETE FROM done_jobs WHERE done_at < now() - interval '7 days'"
_FORGET_FAILED = "DELETE FROM outbox WHERE failed_at < now() - interval '7 days'"


@dataclass(frozen=True, slots=True)
class Message:
    """What is to be done after the commit. Two messages with one `dedupe_key` are one."""

    queue: str
    name: str
    payload: Mapping[str, Any]
    dedupe_key: str
    priority: int = ORDINARY


@dataclass(frozen=True, slots=True)
class OutboxState:
    """How many rows wait to be published, wait to be done, and were given up; the age of the oldest not yet done."""

    unpublished: int
    published: int
    failed: int
    oldest_seconds: float


async def put(connection: Connection, messages: Sequence[Message]) -> None:
    """Write messages in the connection's transaction."""
    if messages:
        columns = {
            "queues": [message.queue for message in messages],
            "names": [message.name for message in messages],
            "payloads": [json.dumps(dict(message.payload)) for message in messages],
            "keys": [message.dedupe_key for message in messages],
            "priorities": [message.priority for message in messages],
        }
        await connection.execute(_PUT, columns)


class OutboxStore:
    """Reads the outbox for the relay and closes what is done. All on the primary."""

    def __init__(self, databases: Databases) -> None:
        self._databases = databases

    @asynccontextmanager
    async def batch(self, *, limit: int, overdue_seconds: float | None = None) -> AsyncIterator[Batch]:
        """Give rows that nobody else has in hand: unpublished ones, or those published that long ago and not done."""
        async with self._databases.write(Session()) as connection:
            query = _UNPUBLISHED if overdue_seconds is None else _OVERDUE
            async with connection.cursor(row_factory=class_row(Task)) as cursor:
                await cursor.execute(query, {"limit": limit, "seconds": overdue_seconds})
                yield Batch(connection, await cursor.fetchall())

    @asynccontextmanager
    async def effect(self, task: Task) -> AsyncIterator[Connection | None]:
        """Give the transaction of a job's effect, which also closes the job; None when it was done before."""
        async with self._databases.write(Session()) as connection:
            row = await (await connection.execute(_DONE, {"key": task.dedupe_key, "name": task.name})).fetchone()
            yield connection if row else None
            await connection.execute(_REMOVE, {"ids": [task.id]})

    async def look_up(self, kind: type[Row], query: LiteralString, parameters: dict[str, Any]) -> Row | None:
        """Return the first row of a query on the primary: a job may run before a replica has what ordered it."""
        async with (
            self._databases.write(Session()) as connection,
            connection.cursor(row_factory=class_row(kind)) as cursor,
        ):
            await cursor.execute(query, parameters)
            return await cursor.fetchone()

    async def was_done(self, task: Task) -> bool:
        """Tell whether the job's effect is there already."""
        async with self._databases.write(Session()) as connection:
            return await (await connection.execute(_WAS_DONE, {"key": task.dedupe_key})).fetchone() is not None

    async def give_up(self, task: Task, failure: str) -> None:
        """Note that the job failed for good; its row stays for a week, for people."""
        async with self._databases.write(Session()) as connection:
            await connection.execute(_FAILED, {"id": task.id, "failure": failure[:500]})

    async def state(self) -> OutboxState:
        """Return what is in the outbox."""
        async with (
            self._databases.write(Session()) as connection,
            connection.cursor(row_factory=class_row(OutboxState)) as cursor,
        ):
            await cursor.execute(_STATE)
            return await cursor.fetchone() or OutboxState(0, 0, 0, 0.0)

    async def order_anew(self, queue: str, *, after_seconds: float) -> int:
        """Have a queue's jobs that were given up that long ago tried again; return how many."""
        async with self._databases.write(Session()) as connection:
            return (await connection.execute(_ORDER_ANEW, {"queue": queue, "seconds": after_seconds})).rowcount

    async def forget(self) -> None:
        """Remove what was done or given up more than a week ago."""
        async with self._databases.write(Session()) as connection:
            await connection.execute(_FORGET_DONE)
            await connection.execute(_FORGET_FAILED)


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows locked by one transaction."""

    _connection: Connection
    tasks: list[Task]

    async def published(self, tasks: Sequence[Task]) -> None:
        """Note that Redis has these; they stay until they are done."""
        await self._connection.execute(_PUBLISHED, {"ids": [task.id for task in tasks]})

    async def done(self, tasks: Sequence[Task]) -> None:
        """Remove these: nothing more is to be done for them."""
        await self._connection.execute(_REMOVE, {"ids": [task.id for task in tasks]})

    async def failed(self, task: Task, failure: str) -> None:
        """Note that Redis has given this one up."""
        await self._connection.execute(_FAILED, {"id": task.id, "failure": failure[:500]})
