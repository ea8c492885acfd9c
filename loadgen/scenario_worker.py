"""The child that plays a scenario: users that come and go, and arrivals served one by one. Imports locust first.

`python -m loadgen.scenario_worker`, started by `loadgen.child`. It is told on stdin, a JSON object per line: the plan,
then any of `{"arrivals": {"part": 0, "numbers": [..], "due": [epoch s..], "today": ".."}}`, `{"users": {"0": 12}}` and
`{"stop": drain seconds}`; it answers with frames of rows and statuses. It decides nothing and ends when its stdin does.

An arrival gets a user of its own at once, up to the scenario's `most_users`; beyond it waits, and its waiting counts as
the response's. Users of the closed model are locust's; one that is not wanted any more leaves after its iteration.
"""

from __future__ import annotations

from locust import User, task  # the first import of the process: it patches sockets, time and threads
from locust.env import Environment
from locust.exception import StopUser

# isort: split

import logging
import os
import sys
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

import gevent
import gevent.event

from loadgen.http_client import LeanClient, NoAnswerError, NoConnectionError
from loadgen.iterations import Iteration, Iterations, Step, iterations_from_plan
from loadgen.protocol import ROWS, Outcome, Rows, frame, status_frame
from loadgen.worker import FrameWriter, read_lines

FLUSH_SECONDS = 0.25
LONGEST_WAIT_SECONDS = 0.5
PROBE_SECONDS = 0.05
REFUSED_PAUSE_SECONDS = 0.1  # a user whose connection is refused at once would otherwise try for ever without a breath
VU_NUMBERS = 1 << 40  # iterations of users are numbered beyond all arrivals


@dataclass(frozen=True, slots=True)
class Item:
    """An arrival: its key, number, when it is due (perf_counter s and epoch s) and the day it takes place on."""

    key: int
    number: int
    due: float
    second: int
    today: date


@dataclass(slots=True)
class Part:
    """One scenario: arrivals that are to come and that wait, how many are served, and which users are wanted."""

    index: int
    most_users: int
    most_waiting: int
    pending: deque[Item] = field(default_factory=deque)
    waiting: deque[tuple[Item, float]] = field(default_factory=deque)
    busy: int = 0
    more: Any = field(default_factory=gevent.event.Event)
    wanted_users: int = 0
    live_slots: set[int] = field(default_factory=set)


@dataclass(slots=True)
class Player:
    """Everything that is going on."""

    iterations: Iterations
    client: LeanClient
    parts: list[Part]
    share: tuple[int, int]
    runner: Any = None
    rows: Rows = field(default_factory=Rows)
    sending: dict[int, tuple[Item | None, int, float, float]] = field(default_factory=dict)
    checks: dict[str, list[int]] = field(default_factory=dict)
    lates_ms: list[float] = field(default_factory=list)
    stopping: bool = False
    _tickets: int = 0
    _slots: deque[tuple[int, int]] = field(default_factory=deque)

    def take(self, arrivals: Mapping[str, Any]) -> None:
        """Add arrivals to come."""
        part = self.parts[arrivals["part"]]
        offset = time.perf_counter() - time.time()
        today = date.fromisoformat(arrivals["today"])
        for key, number, due in zip(arrivals["keys"], arrivals["numbers"], arrivals["due"], strict=True):
            part.pending.append(Item(key, number, due + offset, int(due), today))
        part.more.set()

    def schedule(self, part: Part) -> None:
        """Serve each arrival of the scenario when it is due, for ever."""
        while True:
            if not part.pending:
                part.more.clear()
                part.more.wait()
                continue
            delay = part.pending[0].due - time.perf_counter()
            if delay > 0:
                gevent.sleep(min(delay, LONGEST_WAIT_SECONDS))
                continue
            item = part.pending.popleft()
            late = time.perf_counter() - item.due
            if part.busy < part.most_users:
                part.busy += 1
                gevent.spawn(self._serve, part, item, late)
            elif len(part.waiting) < part.most_waiting:
                part.waiting.append((item, late))
            else:
                self._unsent(part, item, Outcome.UNSENT_LIMIT)

    def _serve(self, part: Part, item: Item, late: float) -> None:
        while True:
            self._play(self.iterations.iteration(part.index, item.number, item.today), item, late)
            if not part.waiting:
                part.busy -= 1
                return
            item, late = part.waiting.popleft()

    def _unsent(self, part: Part, item: Item, outcome: Outcome) -> None:
        self.rows.add(item.key, item.second, self.iterations.first_route(part.index, item.number), outcome)

    def want(self, part: Part, users: int) -> None:
        """Have so many users; more are started now, fewer leave after their iterations."""
        part.wanted_users = users
        missing = [slot for slot in range(users) if slot not in part.live_slots]
        if missing:
            part.live_slots.update(missing)
            self._slots.extend((part.index, slot) for slot in missing)
            self.runner.spawn_users({"VirtualUser": len(missing)})

    def live(self) -> None:
        """Be one user of the closed model until not wanted any more."""
        index, slot = self._slots.popleft()
        part, number = self.parts[index], 0
        try:
            while slot < part.wanted_users and not self.stopping:
                unique = VU_NUMBERS + ((slot * self.share[1] + self.share[0]) << 24) + number
                today = datetime.now(UTC).date()
                if not self._play(self.iterations.iteration(index, unique, today), None, 0.0):
                    gevent.sleep(REFUSED_PAUSE_SECONDS)
                number += 1
        finally:
            part.live_slots.discard(slot)

    def _play(self, iteration: Iteration, item: Item | None, late: float) -> bool:
        """Go through a journey; return whether the server could be reached at all."""
        last = iteration.journey.steps[-1]
        for step in iteration.journey.steps:
            outcome, whole = self._send(iteration, step, item, late)
            item = None  # only the first request has an intended start; the others follow from it
            if not whole or outcome in (Outcome.CONNECTION, Outcome.TIMEOUT):
                return outcome is not Outcome.CONNECTION
            pause = iteration.pause_seconds(step)
            if self.stopping and step is not last:
                return True
            if pause > 0:
                gevent.sleep(pause)
        return True

    def _send(self, iteration: Iteration, step: Step, item: Item | None, late: float) -> tuple[Outcome, bool]:
        request = iteration.request(step)
        self._tickets = ticket = self._tickets + 1
        sent = time.perf_counter()
        lag = sent - item.due if item else 0.0
        self.sending[ticket] = (item, step.route, sent, lag)
        status, first_byte, body, done = 0, sent, b"", None
        try:
            exchange = self.client.exchange(request, keep_body=step.reads_body)
        except NoConnectionError:
            outcome = Outcome.CONNECTION
        except NoAnswerError:
            outcome = Outcome.TIMEOUT
        else:
            status, first_byte, body, done = exchange.status, exchange.first_byte_at, exchange.body, exchange.done_at
            bad = Outcome.SERVER_ERROR if status >= 500 else Outcome.CLIENT_ERROR
            outcome = Outcome.DONE if step.accepts(status) else bad
        done = done or time.perf_counter()
        checked, whole = iteration.learn(step, status, body)
        if self.sending.pop(ticket, None) is not None:
            self._note(item, step.route, outcome, status, sent, lag, late, first_byte, done, checked)
        return outcome, whole

    def _note(
        self, item: Item | None, route: int, outcome: Outcome, status: int, sent: float, lag: float, late: float,
        first_byte: float, done: float, checked: list[tuple[str, bool]],
    ) -> None:  # fmt: skip
        for name, held in checked:
            self.checks.setdefault(name, [0, 0])[0 if held else 1] += 1
        passed = sum(held for _, held in checked)
        second = item.second if item else int(time.time() - (done - sent))
        self.rows.add(
            item.key if item else -1, second, route, outcome, status=status, lag=lag, late=late,
            first_byte=first_byte - sent, service=done - sent, passed=passed, failed=len(checked) - passed,
        )  # fmt: skip

    def probe(self) -> None:
        """Measure how late this process comes round, for ever: a closed model has no schedule that would show it."""
        while True:
            before = time.perf_counter()
            gevent.sleep(PROBE_SECONDS)
            self.lates_ms.append(round((time.perf_counter() - before - PROBE_SECONDS) * 1000, 2))

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
                self.rows.add(item.key, item.second, 0, Outcome.CANCELLED)
        deadline = time.perf_counter() + seconds
        while self.in_flight() and time.perf_counter() < deadline:
            gevent.sleep(0.02)
        for part in self.parts:
            while part.waiting:
                self._unsent(part, part.waiting.popleft()[0], Outcome.UNSENT_STOPPED)
        now = time.perf_counter()
        for unfinished, route, sent, lag in self.sending.values():
            self._note(unfinished, route, Outcome.UNFINISHED, 0, sent, lag, lag, sent, now, [])
        self.sending.clear()

    def flush(self, writer: FrameWriter, state: str) -> None:
        """Tell what was served since the last time, and how we are."""
        rows, self.rows = self.rows, Rows()
        if len(rows):
            writer.write(frame(ROWS, rows.pack()))
        lates, self.lates_ms = self.lates_ms, []
        status = {
            "state": state, "in_flight": self.in_flight(), "cpu_seconds": round(time.process_time(), 4),
            "users": sum(len(part.live_slots) + part.busy for part in self.parts), "checks": self.checks,
            "lates_ms": lates,
        }  # fmt: skip
        writer.write(status_frame(status))


def flush_for_ever(player: Player, writer: FrameWriter) -> None:
    """Tell four times a second, until the player is stopping."""
    while not player.stopping:
        gevent.sleep(FLUSH_SECONDS)
        player.flush(writer, "running")


def player_of(plan: Mapping[str, Any]) -> Player:
    """Return the player of a plan, with locust's runner holding its users."""
    player = Player(
        iterations=iterations_from_plan(
            plan["journeys"], [part["journeys"] for part in plan["parts"]], seed=plan["seed"], run_id=plan["run_id"]
        ),
        client=LeanClient(plan["host"], plan["port"], plan["timeout_seconds"]),
        parts=[
            Part(index, part["most_users"], part["most_waiting"]) for index, part in enumerate(plan["parts"])
        ],
        share=(plan["share"][0], plan["share"][1]),
    )  # fmt: skip

    class VirtualUser(User):
        @task
        def live(self) -> None:
            player.live()
            raise StopUser

    logging.getLogger("locust").setLevel(logging.ERROR)  # it tells of each start of users
    player.runner = Environment(user_classes=[VirtualUser]).create_local_runner()
    return player


def main() -> int:
    """Play what stdin says until told to stop; return the exit code."""
    writer = FrameWriter(os.dup(sys.stdout.fileno()))
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # a stray print must not get between the frames
    lines = read_lines(sys.stdin.fileno())
    player = player_of(next(lines))
    schedulers = [gevent.spawn(player.schedule, part) for part in player.parts]
    prober, flusher = gevent.spawn(player.probe), gevent.spawn(flush_for_ever, player, writer)
    player.flush(writer, "ready")
    for line in lines:
        if "arrivals" in line:
            player.take(line["arrivals"])
        for index, users in line.get("users", {}).items():
            player.want(player.parts[int(index)], users)
        if "stop" in line:
            gevent.killall([*schedulers, prober])
            player.drain(line["stop"])
            flusher.join()
            player.flush(writer, "stopped")
            sys.stderr.flush()
            os._exit(0)  # all is told; what users still think about needs no farewell
    os._exit(1)  # the parent is gone, and nobody would read what is still to come


if __name__ == "__main__":
    sys.exit(main())
