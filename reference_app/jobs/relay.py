"""The outbox relay: takes what transactions left, puts jobs into Redis and publishes events; at least once.

Several may run: each takes rows that no other has in hand. A row that Redis had and has lost (it was killed, or its
memory was cleared) is put in again. What is done about a job is the workers' business.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from typing import Protocol

from redis.exceptions import RedisError

from reference_app.database import DatabaseBusy, DatabaseDown
from reference_app.jobs.queue import QueueDown
from reference_app.jobs.terms import EVENTS, Task
from reference_app.stores.outbox import Batch, OutboxStore

log = logging.getLogger(__name__)

BATCH = 200
IDLE_SECONDS = 0.1
LOST_CHECK_SECONDS = 5.0
REST_SECONDS = 1.0


class Publish(Protocol):
    """Tells the caches of a change: whatever carries one of the tags is stale. committed_at: epoch seconds."""

    async def __call__(self, event: str, tags: Collection[str], *, committed_at: float | None = None) -> None:
        """Publish; raises redis' exceptions, and then is called again."""


class Enqueuer(Protocol):
    """Where jobs are put: the queues on Redis."""

    async def add(self, tasks: Sequence[Task]) -> None:
        """Enqueue tasks; one that is there stays as it is."""

    async def state(self, task: Task) -> str:
        """Return where the job is; `unknown` when it is nowhere."""


class Relay:
    """Moves rows of the outbox."""

    def __init__(self, outbox: OutboxStore, queues: Enqueuer, publish: Publish, *, lost_seconds: float) -> None:
        self._outbox, self._queues, self._publish, self._lost_seconds = outbox, queues, publish, lost_seconds
        self.enqueued_total = 0
        self.events_total = 0
        self.found_lost_total = 0
        self.healthy = False

    async def run(self, stopping: asyncio.Event) -> None:
        """Relay until told to stop. A database or Redis that is away is waited for."""
        loop = asyncio.get_running_loop()
        next_check = loop.time()
        while not stopping.is_set():
            rest = IDLE_SECONDS
            try:
                moved = await self.relay_once()
                if loop.time() >= next_check:
                    await self.find_lost_once()
                    next_check = loop.time() + LOST_CHECK_SECONDS
                rest = 0.0 if moved == BATCH else IDLE_SECONDS
                self.healthy = True
            except (DatabaseBusy, DatabaseDown, QueueDown, RedisError, OSError) as error:
                log.warning("the outbox waits: %s: %s", type(error).__name__, error)
                self.healthy, rest = False, REST_SECONDS
            with suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), rest)

    async def relay_once(self) -> int:
        """Move at most 200 rows; return how many. Raises when the database or Redis is away: nothing is lost by it."""
        async with self._outbox.batch(limit=BATCH) as batch:
            events = [task for task in batch.tasks if task.queue == EVENTS]
            jobs = [task for task in batch.tasks if task.queue != EVENTS]
            if events:
                await self._publish_all(events)
                await batch.done(events)
            if jobs:
                await self._queues.add(jobs)
                await batch.published(jobs)
            self.enqueued_total += len(jobs)
            self.events_total += len(events)
            return len(batch.tasks)

    async def find_lost_once(self) -> None:
        """Look for jobs that should be long done; enqueue those that Redis does not know any more."""
        async with self._outbox.batch(limit=BATCH, overdue_seconds=self._lost_seconds) as batch:
            await self._find_lost(batch)

    async def _find_lost(self, batch: Batch) -> None:
        for task in batch.tasks:
            state = await self._queues.state(task)
            if state == "failed":
                await batch.failed(task, "its attempts failed")
            elif state == "unknown":
                self.found_lost_total += 1
                await self._queues.add([task])
        await batch.published(batch.tasks)  # looked at: the next look is due as long after

    async def _publish_all(self, events: Iterable[Task]) -> None:
        by_name: dict[str, list[Task]] = {}
        for task in events:
            by_name.setdefault(task.name, []).append(task)
        for name, group in by_name.items():
            tags = list(dict.fromkeys(tag for task in group for tag in task.payload["tags"]))
            committed_at = min(task.created_at for task in group).timestamp()
            await self._publish(name, tags, committed_at=committed_at)
