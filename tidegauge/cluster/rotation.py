"""Which replica gets the next request: the one with the fewest in flight, in turn among equals.

Only ready replicas are in the rotation. It knows addresses and counts; starting and stopping processes is the fleet's
work, and carrying requests the front's.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass


@dataclass(slots=True, eq=False)
class Backend:
    """One replica as the front sees it: its address, the requests it holds now, and all it was ever given."""

    instance: str
    port: int
    in_flight: int = 0
    given: int = 0


class Rotation:
    """The ready replicas, in the order they became ready."""

    def __init__(self) -> None:
        """Begin empty."""
        self._backends: list[Backend] = []
        self._turn = 0
        self._arrival = asyncio.Event()

    def __len__(self) -> int:
        return len(self._backends)

    def add(self, backend: Backend) -> None:
        """Let a replica take its share from the next request on."""
        self._backends.append(backend)
        self._arrival.set()
        self._arrival = asyncio.Event()

    def remove(self, backend: Backend) -> None:
        """Give a replica no further request. Those it holds go on. Removing one that is not in is nothing."""
        if backend in self._backends:
            self._backends.remove(backend)

    def take(self, *, besides: Backend | None = None) -> Backend | None:
        """Return the replica with the fewest requests in flight, counted as holding one more; None when there is none.

        Among equals the turn goes round. Who takes must give back. besides: a replica not to choose.
        """
        count = len(self._backends)
        chosen: int | None = None
        for step in range(count):
            index = (self._turn + step) % count
            candidate = self._backends[index]
            if candidate is besides:
                continue
            if chosen is None or candidate.in_flight < self._backends[chosen].in_flight:
                chosen = index
        if chosen is None:
            return None
        self._turn = chosen + 1
        backend = self._backends[chosen]
        backend.in_flight += 1
        backend.given += 1
        return backend

    def give_back(self, backend: Backend) -> None:
        """Count one request of the replica as over."""
        backend.in_flight -= 1

    async def take_soon(self, *, within_seconds: float, besides: Backend | None = None) -> Backend | None:
        """Like `take`, but wait up to `within_seconds` (real) for a replica to become ready. None: there was none."""
        deadline = time.monotonic() + within_seconds
        while (backend := self.take(besides=besides)) is None:
            try:
                async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                    await self._arrival.wait()
            except TimeoutError:
                return self.take(besides=besides)
        return backend
