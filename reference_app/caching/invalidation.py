"""News of changes, through a Redis stream, to every process that caches: L1 of each replica, L2, and the edges.

Published after the commit by whoever relays the outbox, as often as it takes (a repetition costs a few misses). L2 is
told by the publisher, the others follow the stream. A follower that was away goes on where it stopped; when the stream
may not reach back so far, it forgets everything it keeps. While it hears nothing, it keeps things only briefly.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Any, Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from redis.exceptions import ConnectionError, RedisClusterException  # noqa: A004 - redis' own

from reference_app.caching.l2 import FAILURES, Client, change_generations
from reference_app.caching.tags import EVENTS

log = logging.getLogger(__name__)

STREAM = "reference-app:changes"
MOST_ENTRIES = 10_000
BLOCK_MILLISECONDS = 1000
BATCH = 500
REACH_BACK_SECONDS = 15.0  # a new follower hears of changes this old: a database replica may not have them yet
DEAF_SECONDS = 5.0
DEAF_LIMIT_SECONDS = 30.0
_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0)


class Publisher:
    """Tells of changes. client None: nobody is told, and that is no failure (caches age out)."""

    def __init__(
        self,
        client: Client | None,
        *,
        most_entries: int = MOST_ENTRIES,
        now_seconds: Callable[[], float] = time.time,
    ) -> None:
        self._client, self._most_entries, self._now_seconds = client, most_entries, now_seconds
        self.published_total = 0

    async def publish(self, event: str, tags: Collection[str], *, committed_at: float | None = None) -> None:
        """Make stale whatever carries one of these tags, in L2 at once and elsewhere when the stream is read.

        event: inventory.updated, user.updated or pricing.updated. committed_at: epoch seconds of the commit (real
        time), for the measure of how long stale answers lasted; now if not given. Raises ValueError for an unknown
        event; RedisError, OSError or TimeoutError when it has to be published again.
        """
        if event not in EVENTS:
            raise ValueError(f"expected an event of {', '.join(sorted(EVENTS))}, got {event!r}")
        if self._client is None or not tags:
            return
        try:
            await self._tell(self._client, event, list(tags), committed_at)
        except RedisClusterException as error:  # a cluster that is not whole; it is no RedisError
            raise ConnectionError(str(error)) from error

    async def _tell(self, client: Client, event: str, tags: list[str], committed_at: float | None) -> None:
        now = self._now_seconds()
        await change_generations(client, tags, now_seconds=now)
        fields: dict[Any, Any] = {
            "event": event,
            "tags": json.dumps(tags),
            "committed_at": repr(now if committed_at is None else committed_at),
        }
        await client.xadd(STREAM, fields, maxlen=self._most_entries, approximate=True)
        self.published_total += 1

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()


class Forgets(Protocol):
    """What a follower makes forget: a TaggedCache, or another that can forget by tag."""

    limit_seconds: float | None

    def __len__(self) -> int:
        """Return how much is kept."""

    def drop(self, tags: Iterable[str]) -> None:
        """Forget what carries one of these tags."""

    def clear(self) -> None:
        """Forget everything."""


class FollowerMetrics:
    """What a follower tells Prometheus. tier: l1 or edge."""

    def __init__(self, registry: CollectorRegistry, *, tier: str) -> None:
        self.until_forgotten = Histogram(
            "reference_app_invalidation_seconds",
            "From the commit of a change until this process forgot what it made stale",
            ["tier"],
            buckets=_BUCKETS,
            registry=registry,
        ).labels(tier)
        self.changes = Counter(
            "reference_app_changes_heard", "Changes heard of, by event", ["tier", "event"], registry=registry
        )
        self.clears = Counter(
            "reference_app_cache_clears", "Times everything was forgotten for want of news", ["tier"], registry=registry
        ).labels(tier)
        self.following = Gauge(
            "reference_app_following_changes", "1 while this process hears of changes", ["tier"], registry=registry
        ).labels(tier)
        self.tier = tier


class Follower:
    """Follows the stream and makes one cache forget. `following` tells whether it hears of changes now.

    after: the `position` at which another stopped; without one it begins a few seconds ago.
    """

    def __init__(
        self,
        client: Client,
        cache: Forgets,
        metrics: FollowerMetrics,
        *,
        after: str | None = None,
        now_seconds: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._client, self._cache, self._metrics = client, cache, metrics
        self._now_seconds, self._monotonic, self._sleep = now_seconds, monotonic, sleep
        self.position = after or f"{int((now_seconds() - REACH_BACK_SECONDS) * 1000)}-0"
        self._heard_at = monotonic()
        self._seen_any = after is not None
        self.following = False

    async def run(self) -> None:
        """Follow for ever; a server that is away is tried again every half second."""
        try:
            while True:
                try:
                    await self._catch_up()
                    while True:
                        await self.read_once()
                except FAILURES as error:
                    self._deaf(error)
                    await self._sleep(0.5)
        finally:
            await self._client.aclose()

    async def read_once(self) -> int:
        """Wait up to a second for changes and forget what they made stale; return how many came."""
        await self._catch_up_if_late()
        answer = await self._client.xread({STREAM: self.position}, count=BATCH, block=BLOCK_MILLISECONDS)
        entries = _entries(answer)
        for entry_id, fields in entries:
            self._apply(fields)
            self.position, self._seen_any = entry_id, True
        await self._catch_up_if_late()
        self._heard_at = self._monotonic()
        return len(entries)

    async def _catch_up_if_late(self) -> None:
        """When the process stood still, what was trimmed from the stream meanwhile is not known."""
        if self._monotonic() - self._heard_at > DEAF_SECONDS + BLOCK_MILLISECONDS / 1000:
            await self._catch_up()

    async def _catch_up(self) -> None:
        """Go on from our position if the stream reaches back to it, else forget everything."""
        oldest: Any = await self._client.xrange(STREAM, count=1)
        newest: Any = await self._client.xrevrange(STREAM, count=1)
        reaches = bool(oldest) and _order(oldest[0][0]) <= _order(self.position) <= _order(newest[0][0])
        if not reaches and (self._seen_any or len(self._cache)):
            self._metrics.clears.inc()
            self._cache.clear()
            log.warning("changes may have been missed: forgot everything that was cached")
            self._seen_any = False
        self._heard_at = self._monotonic()
        self._cache.limit_seconds = None
        self.following = True
        self._metrics.following.set(1)

    def _apply(self, fields: dict[bytes, bytes]) -> None:
        try:
            tags, committed_at = json.loads(fields[b"tags"]), float(fields[b"committed_at"])
            event = fields[b"event"].decode()
            self._cache.drop([str(tag) for tag in tags])
        except (KeyError, ValueError, TypeError) as error:  # another version's words: better too much than too little
            log.warning("a change was not understood, forgetting everything: %s", type(error).__name__)
            self._cache.clear()
            return
        self._metrics.changes.labels(self._metrics.tier, event if event in EVENTS else "other").inc()
        self._metrics.until_forgotten.observe(max(0.0, self._now_seconds() - committed_at))

    def _deaf(self, error: Exception) -> None:
        if self.following:
            log.warning("not hearing of changes: %s", type(error).__name__)
        self.following = False
        self._metrics.following.set(0)
        if self._cache.limit_seconds is None and self._monotonic() - self._heard_at > DEAF_SECONDS:
            self._cache.limit_seconds = DEAF_LIMIT_SECONDS
            self._cache.clear()


def _order(entry_id: bytes | str) -> tuple[int, int]:
    text = entry_id.decode() if isinstance(entry_id, bytes) else entry_id
    milliseconds, _, number = text.partition("-")
    return int(milliseconds), int(number or 0)


def _entries(answer: Any) -> list[tuple[str, dict[bytes, bytes]]]:
    streams = answer.items() if isinstance(answer, dict) else answer or ()
    found: list[tuple[str, dict[bytes, bytes]]] = []
    for _, entries in streams:
        rows = entries[0] if entries and isinstance(entries[0], list) else entries
        found.extend((entry_id.decode(), fields) for entry_id, fields in rows)
    return found
