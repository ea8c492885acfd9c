"""Tells the collector from when to when we send, for what keeps no seconds: a capacity search.

So that the record can tell our demand from that of users: the forecaster leaves the span of a load run out of what it
learns from. The run is told again and again while it lasts, with its end so far: killed, it ends where it was told of
last. A collector that is away stops nothing; what was sent then is not masked, and a warning says so.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import httpx

from loadgen.runs.reporting import load_run_batch, post_run
from loadgen.runs.summary import iso

EVERY_SECONDS = 5.0


@dataclass(slots=True)
class Announced:
    """A run under way. outcome: what to add to its summary when it is over; without `status` in it, it failed."""

    outcome: Mapping[str, Any]


@asynccontextmanager
async def announced(
    collector_url: str | None, run: Mapping[str, str], warn: Callable[[str], None], *, every: float = EVERY_SECONDS
) -> AsyncIterator[Announced]:
    """Tell of a run from here to the end of the block; without a collector, tell nobody.

    run: `run_id`, `service`, `scenario` and `target`.
    """
    under_way, started_at, told = Announced({}), iso(time.time()), _Warnings(warn)
    if collector_url is None:
        yield under_way
        return

    async def tell(client: httpx.AsyncClient, more: Mapping[str, Any]) -> None:
        known = {**run, "started_at": started_at, "ended_at": iso(time.time()), **more}
        body = load_run_batch(known, [], run_id=run["run_id"], batch=(0, 0)) | {"batch_id": str(uuid.uuid4())}
        try:
            await post_run(client, collector_url, body)
        except httpx.HTTPError as error:
            told.once(f"the collector at {collector_url} did not take the run, so what it sends passes for users'"
                      f" demand there: {error or type(error).__name__}")  # fmt: skip

    async def tell_for_ever(client: httpx.AsyncClient) -> None:
        while True:
            await tell(client, {"status": "running"})
            await asyncio.sleep(every)

    async with httpx.AsyncClient(trust_env=False) as client:
        telling = asyncio.create_task(tell_for_ever(client))
        try:
            yield under_way
        finally:
            telling.cancel()
            with suppress(asyncio.CancelledError):
                await telling
            await tell(client, {"status": "failed", **under_way.outcome})


@dataclass(slots=True)
class _Warnings:
    warn: Callable[[str], None]
    given: bool = False

    def once(self, text: str) -> None:
        if not self.given:
            self.given = True
            self.warn(text)
