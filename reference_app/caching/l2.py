"""L2: bytes in Redis or Valkey, shared by all replicas; one server or a cluster. It never raises: a failure is a miss.

A request may try again three times in all; then the server is given a rest of two seconds, in which nobody asks it.
What carries a tag is forgotten by giving the tag a new generation: a value is good while its tags have the generations
that it was written under, which were read before it was loaded. So nothing has to be searched for, in a cluster either.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisClusterException, RedisError

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")
Client = redis.Redis | redis.RedisCluster

TIMEOUT_SECONDS = 0.2
REST_SECONDS = 2.0
MOST_RETRIES = 3  # a request
MOST_AT_ONCE = 64  # questions of one process; more wait for these
MOST_CONNECTIONS = 256  # running out of them would be a failure: never before MOST_AT_ONCE
LOCK_SECONDS = 3.0
GENERATION_SECONDS = 3600  # longer than any value is kept
_FORMAT = b"1"
_UNLOCK = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"
FAILURES = (RedisError, RedisClusterException, OSError, TimeoutError)  # the second is no RedisError


def connect(url: str, *, cluster: bool, timeout_seconds: float = TIMEOUT_SECONDS) -> Client:
    """Return a client for a `redis://` URL (with its password), not yet connected, that does not retry by itself."""
    options: dict[str, Any] = {
        "socket_timeout": timeout_seconds,
        "socket_connect_timeout": timeout_seconds,
        "retry": Retry(NoBackoff(), 0),
        "max_connections": MOST_CONNECTIONS,
    }
    if cluster:
        found: redis.RedisCluster = redis.RedisCluster.from_url(url, **options)
        return found
    return redis.Redis.from_url(url, **options)


@dataclass(frozen=True, slots=True)
class Reading:
    """What L2 said of a key: the value (None: a miss), its tags' generations (None: L2 did not answer)."""

    value: bytes | None
    generations: tuple[bytes, ...] | None

    def changed_within(self, seconds: float, *, now_seconds: float) -> bool:
        """Tell whether a tag got its generation in the last `seconds`."""
        born = (int(generation.partition(b"-")[0]) for generation in self.generations or () if generation)
        return any(milliseconds / 1000 > now_seconds - seconds for milliseconds in born)


class SharedCache:
    """The shared cache of one process. client None: it always misses."""

    def __init__(self, client: Client | None, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._client, self._monotonic = client, monotonic
        self._rest_until = 0.0
        self.at_once = asyncio.Semaphore(MOST_AT_ONCE)
        self.failures_total = self.retries_total = 0

    @classmethod
    def at(cls, url: str | None, *, cluster: bool = False) -> SharedCache:
        """Return the cache at a `redis://` URL; without one, a cache that always misses."""
        return cls(None if url is None else connect(url, cluster=cluster))

    def asked_by_one_request(self) -> Asking:
        """Return the cache as one request sees it, with its three retries."""
        return Asking(self)

    @property
    def available(self) -> bool:
        """Whether there is a server that is not being given a rest."""
        return self._client is not None and self._monotonic() >= self._rest_until

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()

    def client_if_awake(self) -> Client | None:
        """Return the client, or None while the server has its rest."""
        return self._client if self.available else None

    def rest(self, error: Exception) -> None:
        """Ask nothing for two seconds."""
        self.failures_total += 1
        self._rest_until = self._monotonic() + REST_SECONDS
        log.warning("the shared cache failed, doing without it for %g s: %s", REST_SECONDS, type(error).__name__)


class Asking:
    """One request's use of the shared cache."""

    def __init__(self, cache: SharedCache) -> None:
        self._cache, self._retries_left = cache, MOST_RETRIES
        self._token = secrets.token_hex(8)

    async def read(self, key: str, tags: Sequence[str]) -> Reading:
        """Return what lies under the key, if its tags have not changed since it was written."""
        found: list[bytes | None] | None = await self._attempt(
            lambda client: _get_all(client, [key, *map(_name, tags)])
        )
        if found is None:
            return Reading(None, None)
        generations = tuple(generation or b"" for generation in found[1:])
        return Reading(_opened(found[0], generations), generations)

    async def write(self, key: str, value: bytes, *, generations: Sequence[bytes], seconds: int) -> None:
        """Keep the value for `seconds`, under the generations that were read before it was loaded."""
        sealed = b"\n".join((_FORMAT, b",".join(generations), value))
        await self._attempt(lambda client: client.set(key, sealed, ex=seconds))

    async def lock(self, key: str) -> bool:
        """Take the right to load this key, for three seconds; False when another has it or L2 does not answer."""
        milliseconds = int(LOCK_SECONDS * 1000)
        name = f"lock:{key}"
        return bool(await self._attempt(lambda client: client.set(name, self._token, nx=True, px=milliseconds)))

    async def unlock(self, key: str) -> None:
        """Give the right back, if it is still ours."""
        await self._attempt(lambda client: client.eval(_UNLOCK, 1, f"lock:{key}", self._token))

    async def _attempt(self, ask: Callable[[Any], Awaitable[Answer]]) -> Answer | None:
        while (client := self._cache.client_if_awake()) is not None:
            try:
                async with self._cache.at_once:
                    return await ask(client)
            except FAILURES as error:
                if not self._retries_left:
                    self._cache.rest(error)
                    return None
            self._retries_left -= 1
            self._cache.retries_total += 1
            await asyncio.sleep(random.uniform(0.005, 0.02))  # noqa: S311 - jitter, no secret
        return None


async def change_generations(client: Client, tags: Sequence[str], *, now_seconds: float) -> None:
    """Give tags a new generation: what was written under the old one is forgotten. Raises redis' exceptions."""
    generation = f"{int(now_seconds * 1000)}-{secrets.token_hex(4)}"
    pipeline: Any = client.pipeline(transaction=False)
    for tag in tags:
        pipeline.set(_name(tag), generation, ex=GENERATION_SECONDS)
    await pipeline.execute()


async def _get_all(client: Any, keys: Sequence[str]) -> list[bytes | None]:
    pipeline = client.pipeline(transaction=False)
    for key in keys:
        pipeline.get(key)
    found: list[bytes | None] = await pipeline.execute()
    return found


def _name(tag: str) -> str:
    return f"tag:{tag}"


def _opened(sealed: bytes | None, generations: Sequence[bytes]) -> bytes | None:
    head, _, rest = (sealed or b"").partition(b"\n")
    written, _, value = rest.partition(b"\n")
    return value if head == _FORMAT and written == b",".join(generations) else None
