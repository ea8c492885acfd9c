"""Reads through the caches: L1, then L2, then whoever loads; one loader per key, in this process and across replicas.

A reader who has just written sees neither cache. A load soon after a change is made where the change is sure to be: a
database replica may not have it yet, and what it said would be kept for minutes.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from reference_app.caching.l1 import DEFAULT_SECONDS, TaggedCache
from reference_app.caching.l2 import Asking, Reading, SharedCache
from reference_app.database import Session

Value = TypeVar("Value")

L2_SECONDS = 600
SETTLING_SECONDS = 10.0  # longer than a database replica may lag and still be read
WAIT_SECONDS = 2.0  # for another replica's load, before one loads too
POLL_SECONDS = 0.02
_ALL_WRITES = 2**64 - 1  # a log position that no replica has reached: such a session reads from the primary


@dataclass(frozen=True, slots=True)
class Wanted(Generic[Value]):
    """What is read: its key and tags, how to load it, how it becomes bytes and is read back (None: it can't be).

    Without `to_bytes` it is kept in L1 only. l1_seconds, l2_seconds: how long; L2 adds up to a tenth of jitter, so that
    keys written together do not leave together.
    """

    key: str
    tags: tuple[str, ...]
    load: Callable[[Session], Awaitable[Value]]
    to_bytes: Callable[[Value], bytes] | None = None
    from_bytes: Callable[[bytes], Value | None] | None = None
    l1_seconds: float = DEFAULT_SECONDS
    l2_seconds: int = L2_SECONDS


class Tiers:
    """The two caches of one process, read in order. L2 is asked only if `shared` has a server."""

    def __init__(self, l1: TaggedCache, shared: SharedCache, *, now_seconds: Callable[[], float] = time.time) -> None:
        self.l1, self.shared, self._now_seconds = l1, shared, now_seconds
        self._loading: dict[str, asyncio.Task[Any]] = {}
        self.loads_total = 0

    async def fetch(self, wanted: Wanted[Value], session: Session) -> Value:
        """Return the value, and note on the session's trail which level had it. Raises what the load raises."""
        if session.last_write is not None:
            session.trail["cache_level"] = "db"
            return await wanted.load(session)
        value: Value | None = self.l1.get(wanted.key)
        if value is not None:
            session.trail["cache_level"] = "l1"
            return value
        if (under_way := self._loading.get(wanted.key)) is not None:
            session.trail["cache_level"] = "l1"  # somebody in this process loads it: this request costs nothing more
            shared: Value = await asyncio.shield(under_way)
            return shared
        # A task of its own: when this request is given up, those who wait with it get their answer.
        task = asyncio.create_task(self._find(wanted, session))
        self._loading[wanted.key] = task
        task.add_done_callback(lambda done: self._settled(wanted.key, done))
        return await asyncio.shield(task)

    def _settled(self, key: str, task: asyncio.Task[Value]) -> None:
        self._loading.pop(key, None)
        if not task.cancelled():
            task.exception()  # whoever waits gets it; when nobody does any more, it is no news

    async def _find(self, wanted: Wanted[Value], session: Session) -> Value:
        stamp = self.l1.stamp()
        value = await self._find_beyond_l1(wanted, session)
        self.l1.put(wanted.key, value, tags=wanted.tags, seconds=wanted.l1_seconds, stamp=stamp)
        return value

    async def _find_beyond_l1(self, wanted: Wanted[Value], session: Session) -> Value:
        if wanted.to_bytes is None or not self.shared.available:
            return await self._load(wanted, session, settling=False)
        asking = self.shared.asked_by_one_request()
        reading = await asking.read(wanted.key, wanted.tags)
        mine = False
        deadline = time.monotonic() + WAIT_SECONDS
        while (value := _decoded(wanted, reading, session)) is None:
            if reading.generations is None or time.monotonic() > deadline:
                break
            mine = await asking.lock(wanted.key)
            if mine or not self.shared.available:
                break
            await asyncio.sleep(POLL_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311 - jitter, no secret
            reading = await asking.read(wanted.key, wanted.tags)
        if value is not None:
            return value
        return await self._load_for_all(wanted, session, asking, mine=mine, before=reading)

    async def _load_for_all(
        self, wanted: Wanted[Value], session: Session, asking: Asking, *, mine: bool, before: Reading
    ) -> Value:
        try:
            if mine:  # who had the lock before may have written meanwhile
                before = await asking.read(wanted.key, wanted.tags)
                if (value := _decoded(wanted, before, session)) is not None:
                    return value
            settling = before.changed_within(SETTLING_SECONDS, now_seconds=self._now_seconds())
            value = await self._load(wanted, session, settling=settling)
            if before.generations is not None and wanted.to_bytes is not None:
                seconds = wanted.l2_seconds + random.randint(0, wanted.l2_seconds // 10)  # noqa: S311 - jitter
                data = wanted.to_bytes(value)
                await asking.write(wanted.key, data, generations=before.generations, seconds=seconds)
            return value
        finally:
            if mine:
                await asking.unlock(wanted.key)

    async def _load(self, wanted: Wanted[Value], session: Session, *, settling: bool) -> Value:
        self.loads_total += 1
        session.trail["cache_level"] = "db"
        if settling or self.l1.changed_within(wanted.tags, SETTLING_SECONDS):
            session = replace(session, last_write=_ALL_WRITES)
        return await wanted.load(session)


def _decoded(wanted: Wanted[Value], reading: Reading, session: Session) -> Value | None:
    if reading.value is None or wanted.from_bytes is None:
        return None
    value = wanted.from_bytes(reading.value)
    if value is not None:
        session.trail["cache_level"] = "l2"
    return value
