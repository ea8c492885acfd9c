"""Keeps a schedule: plans each real second ahead, hands its arrivals to the child, books what came of them.

The schedule says when users come by the clock in use; this loop maps that to real instants and never plays what has
passed: arrivals that nobody could send, because the child was dead or this process was late, are unsent. The child is
replaced when it dies or falls silent. Files, reports and summaries are the sink's.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from loadgen.arrivals import Schedule
from loadgen.ledger import Due, Ledger
from loadgen.results import Second
from loadgen.sending.child import Child
from loadgen.sending.iterations import Iterations
from loadgen.sending.protocol import Message, Rows
from tidegauge.clock import Clock

log = logging.getLogger(__name__)

TICK_SECONDS = 0.1
AHEAD_SECONDS = 2.0
LATE_SECONDS = 0.5  # what is due longer ago than this when it is planned was missed
LONGEST_GAP_SECONDS = 300  # a longer pause (a suspended machine, a run resumed hours later) is no load that we owe
SILENCE_SECONDS = 10.0
START_SECONDS = 60.0
DRAIN_SECONDS = 5.0
FIRST_BACKOFF_SECONDS = 0.1
STABLE_SECONDS = 10.0
MOST_FAILED_STARTS = 3

StartChild = Callable[[Mapping[str, Any]], Awaitable[Child]]


class ChildFailedError(RuntimeError):
    """The child can't be started."""


@dataclass(frozen=True, slots=True)
class Health:
    """How the generator itself is. cpu_seconds: the child's, since it was ready, replaced children included."""

    child_ready: bool
    restarts: int
    cpu_seconds: float
    outstanding: int
    in_flight: int


@dataclass(slots=True)
class Generator:
    """One run. `child_plan` is what a child is started with; `sink` gets each second once, when all is known of it."""

    clock: Clock
    iterations: Iterations
    child_plan: Mapping[str, Any]
    start_child: StartChild
    sink: Callable[[list[Second]], None]
    tick_seconds: float = TICK_SECONDS
    backoff_seconds: float = FIRST_BACKOFF_SECONDS
    ledger: Ledger = field(init=False)
    child: Child | None = None
    _tending: asyncio.Task[None] | None = None
    _ready: bool = False
    _stopping: bool = False
    _heard_at: float = 0.0
    _ticked_at: float = 0.0
    _starts: int = 0
    _cpu_before: float = 0.0
    _cpu_at_ready: float = 0.0
    _cpu_now: float = 0.0
    _in_flight: int = 0

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.iterations.routes, lambda number: self.iterations.first_route(0, number))

    def health(self) -> Health:
        """Return how the generator is now."""
        cpu = self._cpu_before + self._cpu_now - self._cpu_at_ready
        outstanding = len(self.ledger.outstanding())
        return Health(self._ready, max(0, self._starts - 1), cpu, outstanding, self._in_flight)

    async def start(self, stop: asyncio.Event) -> None:
        """Start the child; return when it is ready or `stop` is set. Raises ChildFailedError when it never will be."""
        self._tending = asyncio.create_task(self._tend_child())
        while not (self._ready or stop.is_set() or self._tending.done()):
            await asyncio.sleep(self.tick_seconds)
        if self._tending.done():
            await self._tending

    async def follow(
        self,
        schedule: Schedule,
        stop: asyncio.Event,
        *,
        first_second: int,
        until_clock: float = math.inf,
        already_settled: Collection[int] = (),
    ) -> None:
        """Keep the schedule from `first_second` (real epoch second) until `stop` or `until_clock`, then drain.

        already_settled: real seconds that another process has booked. Raises ChildFailedError.
        """
        until_real = self.clock.real_at(until_clock) if math.isfinite(until_clock) else math.inf
        next_second = first_second
        while not stop.is_set() and self.clock.read_real() < until_real and not self._tending_failed():
            now = self._tick_time()
            if now - next_second > LONGEST_GAP_SECONDS:
                log.warning("skipped %.0f s: too long ago to be owed", now - next_second)
                next_second = math.ceil(now)
            while next_second < min(now + AHEAD_SECONDS, until_real - 0.001):  # a rounding error is no second
                if next_second not in already_settled:
                    self._plan(schedule, next_second, until_clock, now)
                next_second += 1
            self._book(now)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), self.tick_seconds)
        await self._drain()

    async def close(self) -> None:
        """End the child, whatever state it is in. Raises what broke its tending."""
        self._stopping = True
        if self._tending is not None:
            self._tending.cancel()
            with suppress(asyncio.CancelledError):
                await self._tending

    def _tick_time(self) -> float:
        """Return the present; a pause of our own, in which nobody listened, is no silence of the child."""
        now = self.clock.read_real()
        if now - self._ticked_at > SILENCE_SECONDS / 2:
            self._heard_at = now
        self._ticked_at = now
        return now

    def _tending_failed(self) -> bool:
        return self._tending is None or self._tending.done()

    def _book(self, now: float) -> None:
        if not self._ready:
            self.ledger.lose([arrival for arrival in self.ledger.outstanding() if arrival.due_seconds < now])
        self._check_silence(now)
        if complete := self.ledger.take_complete(now):
            self.sink(complete)

    def _plan(self, schedule: Schedule, real_second: int, until_clock: float, now: float) -> None:
        begins, ends = self.clock.at_real(real_second), self.clock.at_real(real_second + 1)
        found = schedule.between(begins, max(begins, min(ends, until_clock)))
        latest = real_second + 1 - 1e-6  # rounding may not carry an arrival into the next second
        arrivals = [
            Due(int(number), min(max(self.clock.real_at(float(at)), real_second), latest))
            for number, at in zip(found.numbers, found.at_seconds, strict=True)
        ]
        # Rounded first: where the clock runs at speed 1 a hair's breadth must not put two seconds under one key.
        self.ledger.plan(Second(real_second, math.floor(round(begins, 3)), ends - begins), arrivals)
        missed = [arrival for arrival in arrivals if arrival.due_seconds < now - LATE_SECONDS]
        self.ledger.lose(missed)
        if self._ready:
            self._feed(arrivals[len(missed) :])

    def _feed(self, arrivals: list[Due]) -> None:
        if self.child is None or not arrivals:
            return
        first = self.clock.at_real(arrivals[0].due_seconds)
        numbers = [arrival.number for arrival in arrivals]
        self.child.say({
            "arrivals": {
                "part": 0, "keys": numbers, "numbers": numbers,
                "due": [round(arrival.due_seconds, 6) for arrival in arrivals],
                "today": datetime.fromtimestamp(first, UTC).date().isoformat(),
            }
        })  # fmt: skip

    def _check_silence(self, now: float) -> None:
        allowed = SILENCE_SECONDS if self._ready else START_SECONDS
        if self.child is not None and now - self._heard_at > allowed:
            log.error("the child was silent for %.0f s and is replaced", allowed)
            self._heard_at = now
            self.child.kill()

    async def _tend_child(self) -> None:
        """Start the child, listen to it, and replace it whenever it is gone; ends when the run is stopping."""
        backoff, failures = self.backoff_seconds, 0
        while True:
            started = self._heard_at = self.clock.read_real()
            self._starts += 1
            self.child = await self.start_child(self.child_plan)
            try:
                async for message in self.child.messages():
                    self._hear(message)
            finally:
                was_ready, self._ready = self._ready, False
                self._cpu_before += self._cpu_now - self._cpu_at_ready
                self._cpu_at_ready = self._cpu_now = 0.0
                child, self.child = self.child, None
                await child.end()
            if self._stopping:
                return
            failures = failures + 1 if not was_ready else 0
            if failures == MOST_FAILED_STARTS:
                raise ChildFailedError(f"the child was gone {failures} times before it was ready: see its messages")
            lived_seconds = self.clock.read_real() - started
            backoff = self.backoff_seconds if lived_seconds > STABLE_SECONDS else min(backoff * 2, 5.0)
            log.error("the child is gone; another one is started in %.1f s", backoff)
            await asyncio.sleep(backoff)

    def _hear(self, message: Message) -> None:
        self._heard_at = now = self.clock.read_real()
        if isinstance(message, Rows):
            unknown = self.ledger.unknown_results
            self.ledger.settle(message)
            if self.ledger.unknown_results != unknown:
                log.warning("%d results of arrivals that were settled before", self.ledger.unknown_results - unknown)
            return
        if not isinstance(message, dict):
            raise TypeError(f"expected rows or a status, got {type(message).__name__}")
        self._cpu_now, self._in_flight = float(message["cpu_seconds"]), int(message["in_flight"])
        if message["state"] == "ready":
            self._cpu_at_ready = self._cpu_now
            self._ready = True
            outstanding = self.ledger.outstanding()
            self.ledger.lose([arrival for arrival in outstanding if arrival.due_seconds < now])
            self._feed([arrival for arrival in outstanding if arrival.due_seconds >= now])

    async def _drain(self) -> None:
        """Let the child finish what was due, take back what was not, and settle the rest."""
        self._stopping = True
        stopped_at = self.clock.read_real()
        if self._ready and self.child is not None and self._tending is not None:
            self.child.say({"stop": DRAIN_SECONDS})
            await asyncio.wait([self._tending], timeout=DRAIN_SECONDS + 3)
        outstanding = self.ledger.outstanding()
        self.ledger.lose([arrival for arrival in outstanding if arrival.due_seconds < stopped_at])
        self.ledger.cancel([arrival for arrival in outstanding if arrival.due_seconds >= stopped_at])
        complete = [second for second in self.ledger.take_complete(math.inf) if second.real_second < stopped_at]
        if complete:
            self.sink(complete)
