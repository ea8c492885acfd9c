"""The child that sends: the only module that imports locust, which patches the whole process as it is imported.

`python -m loadgen.worker`, started by `loadgen.child` as a subprocess, never forked. It is told what to send and when
(protocol), and tells what came of it; it decides nothing, keeps no files and ends as soon as its stdin does.

One scheduler puts each arrival into the queue at its own instant, never `sleep` after `sleep`; users take from the
queue. An arrival without a free user waits there, and its waiting counts. Locust's statistics stay unused: they round
to two digits and grow for as long as a run lasts.
"""

from __future__ import annotations

from locust import User, task  # the first import of the process: it patches sockets, time and threads
from locust.env import Environment

# isort: split

import json
import logging
import os
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import gevent
import gevent.event
import gevent.os
import gevent.queue

from loadgen.http_client import LeanClient, NoAnswerError, NoConnectionError
from loadgen.journeys import Mix, mix_from_plan
from loadgen.protocol import RESULTS, Outcome, Results, frame, status_frame

FLUSH_SECONDS = 0.25
FLUSHES_PER_STATUS = 4
LONGEST_WAIT_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Item:
    """An arrival: its number, when it is due (perf_counter seconds), and the day it takes place on."""

    number: int
    due: float
    today: date


@dataclass(slots=True)
class Worker:
    """The arrivals that are to come, wait, are being served, and were served since the last frame."""

    mix: Mix
    client: LeanClient
    max_in_flight: int
    results: Results = field(default_factory=Results)
    pending: deque[Item] = field(default_factory=deque)
    waiting: Any = field(default_factory=gevent.queue.SimpleQueue)
    active: dict[int, tuple[Item, float]] = field(default_factory=dict)
    more: Any = field(default_factory=gevent.event.Event)
    stopping: bool = False

    def in_flight(self) -> int:
        """Return how many arrivals wait for a user or are being served."""
        return len(self.active) + int(self.waiting.qsize())

    def take(self, arrivals: dict[str, Any]) -> None:
        """Add arrivals to come. Real time is mapped to the monotonic clock anew, so that drift stays small."""
        offset = time.perf_counter() - time.time()
        today = date.fromisoformat(arrivals["today"])
        for number, due in zip(arrivals["numbers"], arrivals["due"], strict=True):
            self.pending.append(Item(number, due + offset, today))
        self.more.set()

    def schedule(self) -> None:
        """Put each arrival into the queue when it is due, for ever."""
        while True:
            if not self.pending:
                self.more.clear()
                self.more.wait()
                continue
            delay = self.pending[0].due - time.perf_counter()
            if delay > 0:
                gevent.sleep(min(delay, LONGEST_WAIT_SECONDS))
                continue
            item = self.pending.popleft()
            if self.in_flight() >= self.max_in_flight:
                self.results.add(item.number, self.mix.route_of(item.number), Outcome.UNSENT_LIMIT)
            else:
                self.waiting.put(item)

    def serve_for_ever(self) -> None:
        """Be one user: take arrivals as they come."""
        while True:
            self.serve(self.waiting.get())

    def serve(self, item: Item) -> None:
        """Send one arrival's request and note what came of it."""
        request = self.mix.request(item.number, item.today)
        sent = time.perf_counter()
        self.active[item.number] = (item, sent)
        status, first_byte = 0, sent
        try:
            exchange = self.client.exchange(request)
        except NoConnectionError:
            outcome, done = Outcome.CONNECTION, time.perf_counter()
        except NoAnswerError:
            outcome, done = Outcome.TIMEOUT, time.perf_counter()
        else:
            status, first_byte, done = exchange.status, exchange.first_byte_at, exchange.done_at
            outcome = self._judge(request.route, status)
        if self.active.pop(item.number, None) is not None:
            self.results.add(
                item.number, request.route, outcome,
                status=status, due=item.due, sent=sent, first_byte=first_byte, done=done,
            )  # fmt: skip

    def _judge(self, route: int, status: int) -> Outcome:
        if self.mix.routes[route].accepts(status):
            return Outcome.DONE
        return Outcome.SERVER_ERROR if status >= 500 else Outcome.CLIENT_ERROR

    def drain(self, seconds: float) -> None:
        """Take back what is not due yet, let the rest be served for so long, then settle what is left."""
        self.stopping = True
        while self.pending:
            self.results.add(self.pending.popleft().number, 0, Outcome.CANCELLED)
        deadline = time.perf_counter() + seconds
        while self.in_flight() and time.perf_counter() < deadline:
            gevent.sleep(0.02)
        while self.waiting.qsize():
            number = self.waiting.get().number
            self.results.add(number, self.mix.route_of(number), Outcome.UNSENT_STOPPED)
        now = time.perf_counter()
        for number, (item, sent) in self.active.items():
            route = self.mix.route_of(number)
            self.results.add(number, route, Outcome.UNFINISHED, due=item.due, sent=sent, first_byte=sent, done=now)
        self.active.clear()


class FrameWriter:
    """Frames to the parent, without blocking the users; the end of the parent is the end of this process."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        gevent.os.make_nonblocking(descriptor)

    def write(self, data: bytes) -> None:
        """Write all of it."""
        view = memoryview(data)
        try:
            while view:
                view = view[gevent.os.nb_write(self._descriptor, view) :]
        except OSError:
            os._exit(1)

    def write_results(self, worker: Worker) -> None:
        """Write and forget what was served since the last time."""
        if len(worker.results):
            results, worker.results = worker.results, Results()
            self.write(frame(RESULTS, results.pack()))

    def write_status(self, worker: Worker, state: str) -> None:
        """Tell that we live, and how we are."""
        cpu = time.process_time()
        self.write(status_frame({"state": state, "in_flight": worker.in_flight(), "cpu_seconds": round(cpu, 4)}))


def read_lines(descriptor: int) -> Iterator[dict[str, Any]]:
    """Yield the parent's lines until it closes the pipe or dies."""
    gevent.os.make_nonblocking(descriptor)
    rest = b""
    while received := gevent.os.nb_read(descriptor, 65_536):
        *lines, rest = (rest + received).split(b"\n")
        yield from (json.loads(line) for line in lines)


def arrival_user(worker: Worker) -> type[User]:
    """Return the user class of this run: its users serve the worker's arrivals."""

    class ArrivalUser(User):
        @task
        def serve(self) -> None:
            worker.serve_for_ever()

    return ArrivalUser


def start_users(worker: Worker, users: int) -> Any:
    """Start as many users and return the runner that holds them, once all are there."""
    logging.getLogger("locust").setLevel(logging.ERROR)  # it warns of starting many users at once, as we want to
    environment = Environment(user_classes=[arrival_user(worker)])
    runner = environment.create_local_runner()
    runner.start(users, spawn_rate=users)
    if runner.spawning_greenlet is not None:
        runner.spawning_greenlet.join()
    return runner


def flush_for_ever(worker: Worker, writer: FrameWriter) -> None:
    """Write results four times a second and a status once, until the worker is stopping."""
    flushes = 0
    while not worker.stopping:
        gevent.sleep(FLUSH_SECONDS)
        writer.write_results(worker)
        flushes += 1
        if flushes % FLUSHES_PER_STATUS == 0:
            writer.write_status(worker, "running")


def main() -> int:
    """Do what the plan on stdin says until told to stop; return the exit code."""
    writer = FrameWriter(os.dup(sys.stdout.fileno()))
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # a stray print must not get between the frames
    lines = read_lines(sys.stdin.fileno())
    plan = next(lines)
    worker = Worker(
        mix=mix_from_plan(plan["journeys"], seed=plan["seed"], run_id=plan["run_id"]),
        client=LeanClient(plan["host"], plan["port"], plan["timeout_seconds"]),
        max_in_flight=plan["max_in_flight"],
    )
    runner = start_users(worker, plan["users"])
    scheduler = gevent.spawn(worker.schedule)
    flusher = gevent.spawn(flush_for_ever, worker, writer)
    writer.write_status(worker, "ready")
    for line in lines:
        if "arrivals" in line:
            worker.take(line["arrivals"])
        if "stop" in line:
            scheduler.kill()
            worker.drain(line["stop"])
            flusher.join()
            writer.write_results(worker)
            writer.write_status(worker, "stopped")
            runner.quit()
            return 0
    os._exit(1)  # the parent is gone, and nobody would read what is still to come


if __name__ == "__main__":
    sys.exit(main())
