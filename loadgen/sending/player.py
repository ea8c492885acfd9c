"""Plays scenarios within the child: arrivals served when they are due, users that come and go, rows of what came of it.

An arrival gets a user of its own at once, up to the scenario's `most_users`; beyond it waits, and its waiting counts as
the response's. What a user does is its `Actor`'s: declared journeys (`declared`) or a Locust class (`user_class`).
Needs gevent; decides nothing.
"""

from __future__ import annotations

import os
import resource
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from time import perf_counter
from typing import Any, Protocol

import gevent
import gevent.event

from loadgen.sending.protocol import ROWS, Outcome, Row, Rows, frame, status_frame

FLUSH_SECONDS = 0.25
LONGEST_WAIT_SECONDS = 0.5
PROBE_SECONDS = 0.05
REFUSED_PAUSE_SECONDS = 0.1  # a user whose connection is refused at once would otherwise try for ever without a breath
VU_NUMBERS = 1 << 40  # iterations of users are numbered beyond all arrivals


@dataclass(slots=True)
class Item:
    """An arrival: its key, number, when it is due (perf_counter s and epoch s) and the day it takes place on.

    late: how long after that the scheduler came round.
    """

    key: int
    number: int
    due: float
    second: int
    today: date
    late: float = 0.0


class Actor(Protocol):
    """What a user does."""

    def play(self, part: int, number: int, today: date, item: Item | None) -> bool:
        """Go through one iteration, and note each request; return whether the server could be reached at all."""

    def rest(self) -> None:
        """Wait as a user of the closed model does between two iterations."""

    def first_route(self, part: int, number: int) -> int:
        """Return the route that an arrival is booked under when nobody sends it."""

    def new_routes(self) -> list[str] | None:
        """Return all routes by index when there are new ones since the last time; None where they never change."""


@dataclass(slots=True)
class Part:
    """One scenario: arrivals that are to come and that wait, how many are served, and which users are wanted."""

    index: int
    most_users: int
    most_waiting: int
    pending: deque[Item] = field(default_factory=deque)
    waiting: deque[Item] = field(default_factory=deque)
    busy: int = 0
    more: Any = field(default_factory=gevent.event.Event)
    wanted_users: int = 0
    live_slots: set[int] = field(default_factory=set)


@dataclass(slots=True, repr=False)
class Player:
    """Everything that is going on. spawn_users(n) starts n closed-model users, each of which calls `live` once.

    epoch: the real time, which on another machine is not this one's.
    """

    actor: Actor
    parts: list[Part]
    share: tuple[int, int]
    spawn_users: Callable[[int], None]
    rows: list[Row] = field(default_factory=list)
    sending: dict[int, tuple[Item | None, int, float]] = field(default_factory=dict)
    checks: dict[str, list[int]] = field(default_factory=dict)
    lates_ms: list[float] = field(default_factory=list)
    stopping: bool = False
    epoch: Callable[[], float] = time.time
    offset: float = field(default_factory=lambda: time.time() - perf_counter())
    _tickets: int = 0
    _slots: deque[tuple[int, int]] = field(default_factory=deque)

    def take(self, arrivals: Mapping[str, Any]) -> None:
        """Add arrivals to come. Real time is mapped to the monotonic clock anew, so that drift stays small."""
        part = self.parts[arrivals["part"]]
        self.offset = self.epoch() - perf_counter()
        today = date.fromisoformat(arrivals["today"])
        for key, number, due in zip(arrivals["keys"], arrivals["numbers"], arrivals["due"], strict=True):
            part.pending.append(Item(key, number, due - self.offset, int(due), today))
        part.more.set()

    def schedule(self, part: Part) -> None:
        """Serve each arrival of the scenario when it is due, for ever; never sleep after sleep."""
        while True:
            if not part.pending:
                part.more.clear()
                part.more.wait()
                continue
            delay = part.pending[0].due - perf_counter()
            if delay > 0:
                gevent.sleep(min(delay, LONGEST_WAIT_SECONDS))
                continue
            item = part.pending.popleft()
            item.late = perf_counter() - item.due
            if part.busy < part.most_users:
                part.busy += 1
                gevent.spawn(self._serve, part, item)
            elif len(part.waiting) < part.most_waiting:
                part.waiting.append(item)
            else:
                self._unsent(part, item, Outcome.UNSENT_LIMIT)

    def _serve(self, part: Part, item: Item) -> None:
        while True:
            self.actor.play(part.index, item.number, item.today, item)
            if not part.waiting:
                part.busy -= 1
                return
            item = part.waiting.popleft()

    def _unsent(self, part: Part, item: Item, outcome: Outcome) -> None:
        route = self.actor.first_route(part.index, item.number)
        self.rows.append((item.key, item.second, route, outcome, 0, 0.0, 0.0, 0.0, 0.0, 0, 0, 0.0))

    def want(self, part: Part, users: int) -> None:
        """Have so many users; more are started now, fewer leave after their iterations."""
        part.wanted_users = users
        self.offset = self.epoch() - perf_counter()
        missing = [slot for slot in range(users) if slot not in part.live_slots]
        if missing:
            part.live_slots.update(missing)
            self._slots.extend((part.index, slot) for slot in missing)
            self.spawn_users(len(missing))

    def live(self) -> None:
        """Be one user of the closed model until not wanted any more."""
        index, slot = self._slots.popleft()
        part, number = self.parts[index], 0
        first = VU_NUMBERS + ((slot * self.share[1] + self.share[0]) << 24)
        today = datetime.now(UTC).date()
        try:
            while slot < part.wanted_users and not self.stopping:
                if not number % 100:
                    today = datetime.now(UTC).date()
                if not self.actor.play(index, first + number, today, None):
                    gevent.sleep(REFUSED_PAUSE_SECONDS)
                self.actor.rest()
                number += 1
        finally:
            part.live_slots.discard(slot)

    def begin(self, item: Item | None, route: int, sent: float) -> int:
        """Note a request that is on its way; return its ticket."""
        self._tickets = ticket = self._tickets + 1
        self.sending[ticket] = (item, route, sent)
        return ticket

    def end(
        self, ticket: int, outcome: int, status: int, first_byte: float, done: float,
        checked: list[tuple[str, bool]],
    ) -> None:  # fmt: skip
        """Note what came of it; what was given up meanwhile was told before. Times: perf_counter seconds."""
        begun = self.sending.pop(ticket, None)
        if begun is None:
            return
        item, route, sent = begun
        passed = failed = 0
        if checked:
            for name, held in checked:
                self.checks.setdefault(name, [0, 0])[0 if held else 1] += 1
            passed = sum(held for _, held in checked)
            failed = len(checked) - passed
        at = sent + self.offset
        if item is None:
            key, second, lag, late = -1, int(at), 0.0, 0.0
        else:
            key, second, lag, late = item.key, item.second, sent - item.due, item.late
        self.rows.append(
            (key, second, route, outcome, status, lag, late, first_byte - sent, done - sent, passed, failed, at)
        )  # fmt: skip

    def probe(self) -> None:
        """Measure how late this process comes round, for ever: a closed model has no schedule that would show it."""
        while True:
            before = perf_counter()
            gevent.sleep(PROBE_SECONDS)
            self.lates_ms.append(round((perf_counter() - before - PROBE_SECONDS) * 1000, 2))

    def in_flight(self) -> int:
        """Return how many requests and waiting arrivals there are."""
        return len(self.sending) + sum(len(part.waiting) for part in self.parts)

    def drain(self, seconds: float) -> None:
        """Take back what is not due yet, let the rest be served for so long, then settle what is left."""
        self.stopping = True
        for part in self.parts:
            part.wanted_users = 0
            while part.pending:
                item = part.pending.popleft()
                self.rows.append((item.key, item.second, 0, Outcome.CANCELLED, 0, 0.0, 0.0, 0.0, 0.0, 0, 0, 0.0))
        deadline = perf_counter() + seconds
        while self.in_flight() and perf_counter() < deadline:
            gevent.sleep(0.02)
        for part in self.parts:
            while part.waiting:
                self._unsent(part, part.waiting.popleft(), Outcome.UNSENT_STOPPED)
        now = perf_counter()
        for ticket in list(self.sending):
            self.end(ticket, Outcome.UNFINISHED, 0, self.sending[ticket][2], now, [])

    def flush(self, write: Callable[[bytes], None], state: str) -> None:
        """Tell what was served since the last time, and how we are."""
        rows, self.rows = self.rows, []
        lates, self.lates_ms = self.lates_ms, []
        status = {
            "state": state, "in_flight": self.in_flight(), "cpu_seconds": round(time.process_time(), 4),
            "users": sum(len(part.live_slots) + part.busy for part in self.parts), "checks": self.checks,
            "lates_ms": lates, "memory_bytes": memory_bytes(),
        }  # fmt: skip
        if (routes := self.actor.new_routes()) is not None:
            write(status_frame({**status, "routes": routes, "lates_ms": []}))  # before the rows that name them
        if rows:
            write(frame(ROWS, Rows.of(rows).pack()))
        write(status_frame(status))

    def flush_for_ever(self, write: Callable[[bytes], None]) -> None:
        """Tell four times a second, until it is stopping."""
        while not self.stopping:
            gevent.sleep(FLUSH_SECONDS)
            self.flush(write, "running")


def memory_bytes() -> int:
    """Return what this process holds in memory."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
