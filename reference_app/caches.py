"""The caches: L1 in the process, L2 in Redis or Valkey.

L1 is a small mapping with an age and a size limit. L2 is a convenience: when it is slow or dead, the app asks it
nothing for a while and goes on. What is cached, under which key and for how long is decided by the stores.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

log = logging.getLogger(__name__)

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

TIMEOUT_SECONDS = 0.2
REST_SECONDS = 2.0


class RecentValues(Generic[Key, Value]):
    """At most `size` values, each for at most `age_seconds`; the least recently used leaves first."""

    def __init__(self, *, size: int, age_seconds: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._size, self._age, self._monotonic = size, age_seconds, monotonic
        self._entries: OrderedDict[Key, tuple[float, Value]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Key) -> Value | None:
        """Return the value, or None when it is unknown or too old."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry[0] <= self._monotonic():
            del self._entries[key]
            return None
        self._entries.move_to_end(key)
        return entry[1]

    def put(self, key: Key, value: Value) -> None:
        """Keep the value for its time."""
        self._entries[key] = (self._monotonic() + self._age, value)
        self._entries.move_to_end(key)
        if len(self._entries) > self._size:
            self._entries.popitem(last=False)

    def drop(self, key: Key) -> None:
        """Forget the value, if it is there."""
        self._entries.pop(key, None)


class SharedCache:
    """L2. Never raises: a failure is a miss, and gives the server a rest of two seconds."""

    def __init__(self, client: redis.Redis | None, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._client, self._monotonic = client, monotonic
        self._rest_until = 0.0
        self.failures_total = 0

    @classmethod
    def at(cls, url: str | None) -> SharedCache:
        """Return the cache at a `redis://` URL, not yet connected; without one, a cache that always misses."""
        if url is None:
            return cls(None)
        client = redis.Redis.from_url(
            url,
            socket_timeout=TIMEOUT_SECONDS,
            socket_connect_timeout=TIMEOUT_SECONDS,
            max_connections=16,
            retry=Retry(NoBackoff(), 0),
        )
        return cls(client)

    async def get(self, key: str) -> bytes | None:
        """Return the bytes under a key, or None."""
        if (client := self._awake()) is None:
            return None
        try:
            value = await client.get(key)
        except (RedisError, OSError) as error:
            self._rest(error)
            return None
        return value if isinstance(value, bytes) else None

    async def put(self, key: str, value: bytes, *, age_seconds: int) -> None:
        """Keep bytes under a key for `age_seconds`."""
        if (client := self._awake()) is None:
            return
        try:
            await client.set(key, value, ex=age_seconds)
        except (RedisError, OSError) as error:
            self._rest(error)

    async def drop(self, *keys: str) -> None:
        """Forget keys."""
        if (client := self._awake()) is None:
            return
        try:
            await client.unlink(*keys)
        except (RedisError, OSError) as error:
            self._rest(error)

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()

    def _awake(self) -> redis.Redis | None:
        return self._client if self._monotonic() >= self._rest_until else None

    def _rest(self, error: Exception) -> None:
        self.failures_total += 1
        self._rest_until = self._monotonic() + REST_SECONDS
        log.warning("the shared cache failed, doing without it for %g s: %s", REST_SECONDS, type(error).__name__)
