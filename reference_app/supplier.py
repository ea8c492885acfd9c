"""The fare supplier: a simulated outside system that every search and booking asks for live fares.

Its connections are few and its answers take time, so it bounds what one replica carries, and replicas add throughput
even on a small machine. Waiting is bounded too: a request that would wait too long is shed at once or at the deadline.
The latency is drawn from a gamma distribution seeded by the seed and the instance; the fares agree across replicas.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

GAMMA_SHAPE = 4.0  # a coefficient of variation of 1/2: a backend without a heavy tail
FARE_PERIOD_SECONDS = 3600


class SupplierBusy(Exception):  # noqa: N818 - a state, not a fault
    """The wait for a connection to the supplier is too long; come back after `retry_after_seconds`."""

    def __init__(self, reason: str, retry_after_seconds: int) -> None:
        super().__init__(reason)
        self.retry_after_seconds = retry_after_seconds


@dataclass(frozen=True, slots=True)
class SupplierTerms:
    """Connections, mean latency, and how many may wait how long for a connection (real seconds)."""

    concurrency: int = 2
    mean_latency_seconds: float = 0.12
    queue: int = 25
    wait_seconds: float = 1.5


@dataclass(frozen=True, slots=True)
class LiveFares:
    """The supplier's answer: what factor applies to a flight's base price in the hour that was asked about."""

    hour: int

    def price_cents(self, flight_id: int, base_cents: int) -> int:
        """Return the live price in cents: 0.90 to 1.209 of the base price, the same on every replica in that hour."""
        digest = hashlib.blake2b(f"{flight_id}:{self.hour}".encode(), digest_size=4).digest()
        return base_cents * (900 + int.from_bytes(digest) % 310) // 1000


class FareSupplier:
    """Asks for live fares through a pool of fixed size."""

    def __init__(
        self,
        terms: SupplierTerms,
        *,
        seed: int,
        instance: str,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._terms = terms
        self._slots = asyncio.Semaphore(terms.concurrency)
        self._random = random.Random(f"{seed}:{instance}")  # noqa: S311 - a simulation, not a secret
        self._sleep = sleep
        self.waiting = 0
        self.asked_total = 0
        self.shed_total = 0

    async def ask(self, now_seconds: float) -> LiveFares:
        """Return the fares of the hour of `now_seconds` (epoch, of the clock in use). Raises SupplierBusy."""
        await self._acquire()
        try:
            self.asked_total += 1
            await self._sleep(self._draw_latency_seconds())
        finally:
            self._slots.release()
        return LiveFares(hour=int(now_seconds // FARE_PERIOD_SECONDS))

    def _draw_latency_seconds(self) -> float:
        mean = self._terms.mean_latency_seconds
        return self._random.gammavariate(GAMMA_SHAPE, mean / GAMMA_SHAPE) if mean > 0 else 0.0

    async def _acquire(self) -> None:
        if self._slots.locked() and self.waiting >= self._terms.queue:
            raise self._shed(f"{self.waiting} requests wait for the fare supplier already")
        self.waiting += 1
        try:
            async with asyncio.timeout(self._terms.wait_seconds):
                await self._slots.acquire()
        except TimeoutError:
            raise self._shed(f"no connection to the fare supplier within {self._terms.wait_seconds:g} s") from None
        finally:
            self.waiting -= 1

    def _shed(self, reason: str) -> SupplierBusy:
        self.shed_total += 1
        return SupplierBusy(reason, retry_after_seconds=1)
