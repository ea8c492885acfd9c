"""The children that play one scenario: started together, fed with arrivals and users, listened to, stopped.

A schedule is dealt out card by card, child k of n getting each n-th arrival, so that all have the same rate. A child
that dies is not replaced: what it was given is lost, and the run is invalid.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np

from loadgen.metrics import Trend
from loadgen.safety import LOOPBACK, Target
from loadgen.scenario.book import Book, Planned
from loadgen.scenario.file import Scenario
from loadgen.sending.child import Child, ChildProcess
from loadgen.sending.iterations import Iterations, iterations_from_plan
from loadgen.sending.protocol import Rows

START_SECONDS = 60.0
TIMEOUT_SECONDS = 5.0
MOST_WAITING = 20_000
PARTS = 32  # the most scenarios of a file: an arrival's key is number * PARTS + its scenario

LogRows = Callable[[Rows, Sequence[str]], None]
StartChild = Callable[[Mapping[str, Any]], Awaitable[Child]]


class CrewError(RuntimeError):
    """The children can't be started."""


async def start_player(plan: Mapping[str, Any]) -> Child:
    """Start a child that plays."""
    return await ChildProcess.start(plan)


@dataclass(slots=True)
class Member:
    """One child and what it last said of itself."""

    child: Child
    ready: bool = False
    gone: bool = False
    stopped: bool = False
    in_flight: int = 0
    users: int = 0
    cpu_before: float = 0.0
    cpu_seconds: float = 0.0
    heard: int = 0
    checks: Mapping[str, list[int]] = field(default_factory=dict)
    routes: list[int] = field(default_factory=list)
    memory_bytes: int = 0


@dataclass(slots=True)
class Crew:
    """All children of a run. late: how late their loops came round."""

    book: Book
    iterations: Iterations
    members: list[Member] = field(default_factory=list)
    late: Trend = field(default_factory=Trend)
    log_rows: LogRows = lambda _rows, _routes: None
    _listening: list[asyncio.Task[None]] = field(default_factory=list)
    _dealt: int = 0

    @classmethod
    async def start(
        cls, scenario: Scenario, target: Target, *, seed: int, run_id: str, size: int,
        start_child: StartChild = start_player, timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> Crew:  # fmt: skip
        """Start the children; return when all are ready. Raises CrewError."""
        parts = [list(part.journeys) for part in scenario.parts]
        iterations = iterations_from_plan(scenario.journeys, parts, seed=seed, run_id=run_id)
        crew = cls(Book(list(iterations.routes), timeout_seconds + 2), iterations)
        for index in range(size):
            plan: dict[str, Any] = {
                **target.to_plan(), "journeys": scenario.journeys, "seed": seed,
                "run_id": run_id, "users": _users_plan(scenario),
                "timeout_seconds": timeout_seconds, "share": [index, size],
                "parts": [
                    {
                        "journeys": journeys, "most_waiting": MOST_WAITING,
                        "most_users": max(1, getattr(part.executor, "most_users", 1) // size),
                    }
                    for journeys, part in zip(parts, scenario.parts, strict=True)
                ],
            }  # fmt: skip
            member = Member(await start_child(plan))
            crew.members.append(member)
            crew._listening.append(asyncio.create_task(crew._listen(member)))
        try:
            async with asyncio.timeout(START_SECONDS):
                while not all(member.ready or member.gone for member in crew.members):
                    await asyncio.sleep(0.02)
        except TimeoutError:
            pass
        if not all(member.ready and not member.gone for member in crew.members):
            await crew.end()
            raise CrewError("a child did not get ready: see its messages")
        return crew

    async def _listen(self, member: Member) -> None:
        async for message in member.child.messages():
            if isinstance(message, Rows):
                rows = message.with_routes(member.routes) if member.routes else message
                self.book.settle(rows)
                self.log_rows(rows, self.book.routes)
            elif isinstance(message, dict):
                self._note(member, message)
        member.gone = True

    def _note(self, member: Member, status: Mapping[str, Any]) -> None:
        if not member.ready:
            member.ready, member.cpu_before = True, status["cpu_seconds"]
        member.heard += 1
        member.stopped = status["state"] == "stopped"
        member.in_flight, member.users, member.checks = status["in_flight"], status["users"], status["checks"]
        member.cpu_seconds = status["cpu_seconds"] - member.cpu_before
        member.memory_bytes = status.get("memory_bytes", 0)
        if "routes" in status:
            member.routes = [self.book.route_index(name) for name in status["routes"]]
        self.late.add((np.maximum(np.array(status["lates_ms"]), 0) * 1000).astype(np.int64))

    def send(self, part: int, numbers: Sequence[int], due: Sequence[float]) -> None:
        """Plan arrivals (epoch s) and deal them out."""
        keys = [number * PARTS + part for number in numbers]
        self.book.plan(
            (key, Planned(at, self.iterations.first_route(part, number)))
            for key, number, at in zip(keys, numbers, due, strict=True)
        )
        today, size = datetime.now(UTC).date().isoformat(), len(self.members)
        for index, member in enumerate(self.members):
            mine = slice((index - self._dealt) % size, None, size)
            if keys[mine]:
                member.child.say({
                    "arrivals": {
                        "part": part, "keys": keys[mine], "numbers": list(numbers[mine]), "due": list(due[mine]),
                        "today": today,
                    }
                })  # fmt: skip
        self._dealt += len(keys)

    def want(self, users: Mapping[int, int]) -> None:
        """Have so many users of each scenario, spread over the children."""
        size = len(self.members)
        for index, member in enumerate(self.members):
            member.child.say(
                {"users": {str(part): (count + size - 1 - index) // size for part, count in users.items()}}
            )

    @property
    def in_flight(self) -> int:
        """Return how many requests are under way or wait."""
        return sum(member.in_flight for member in self.members)

    @property
    def users(self) -> int:
        """Return how many users there are."""
        return sum(member.users for member in self.members)

    @property
    def cpu_seconds(self) -> list[float]:
        """Return what each child has used since it was ready."""
        return [member.cpu_seconds for member in self.members]

    @property
    def memory_bytes(self) -> int:
        """Return what all children hold."""
        return sum(member.memory_bytes for member in self.members)

    @property
    def broken(self) -> bool:
        """Return whether a child is gone that was not told to go."""
        return any(member.gone and not member.stopped for member in self.members)

    def checks(self) -> dict[str, tuple[int, int]]:
        """Return each check's (passed, failed)."""
        found: dict[str, tuple[int, int]] = {}
        for member in self.members:
            for name, (passed, failed) in member.checks.items():
                before = found.get(name, (0, 0))
                found[name] = (before[0] + passed, before[1] + failed)
        return found

    async def settle(self, patience_seconds: float) -> None:
        """Wait until nothing is under way, or patience is over."""
        heard = [member.heard for member in self.members]
        deadline = time.monotonic() + patience_seconds
        while time.monotonic() < deadline and not self.broken:
            fresh = all(now.heard > before + 1 for now, before in zip(self.members, heard, strict=True))
            if fresh and not self.in_flight and not self.book.outstanding:
                return
            await asyncio.sleep(0.05)

    async def stop(self, drain_seconds: float) -> None:
        """Let the children finish what was due, take back the rest, and end them."""
        at = time.time()
        for member in self.members:
            member.child.say({"stop": drain_seconds})
        await asyncio.wait(self._listening, timeout=drain_seconds + 5)
        self.book.lose(at)
        self.book.cancel(at)
        await self.end()

    async def end(self) -> None:
        """End the children, whatever state they are in."""
        for member in self.members:
            await member.child.end()
        for task in self._listening:
            task.cancel()
        await asyncio.gather(*self._listening, return_exceptions=True)


def _users_plan(scenario: Scenario) -> dict[str, Any] | None:
    return None if scenario.users is None else {**scenario.users, "allowed_hosts": sorted(LOOPBACK)}
