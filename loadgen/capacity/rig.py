"""The children and the target of a capacity measurement: closed-loop levels, Poisson trials, and what made one invalid.

Between trials everything is drained; the first second of each is warm-up and not counted. What is known of the target
is its process's CPU, where it runs on this machine and we may look; whether it was restarted; and what the host stole.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil  # type: ignore[import-untyped]  # it ships no types

from loadgen.arrivals import RateCurve, Schedule
from loadgen.capacity.search import Goal, Step, SubTrial, is_lost
from loadgen.metrics import Measured
from loadgen.runs.summary import CPU_LIMIT, SEND_LAG_P99_LIMIT_MS
from loadgen.safety import Target
from loadgen.sending.crew import TIMEOUT_SECONDS, Crew

LEVEL_SECONDS = 2
WARM_UP_SECONDS = 1
SETTLE_SECONDS = TIMEOUT_SECONDS + 2
AHEAD_SECONDS = 1.0  # of a trial that is aborted so much is still sent
LOOK_SECONDS = 0.25
STEAL_LIMIT = 0.05
OPEN, CLOSED = 0, 1


@dataclass(frozen=True, slots=True)
class Level:
    """Throughput of so many users without a pause. little: |N - X R| / N; target_cpu: cores it used, None: unknown.

    failed_share: of all that was sent. A target that sheds answers faster than one that serves: its rate is no ceiling.
    """

    users: int
    rps: float
    mean_seconds: float
    little: float
    target_cpu: float | None
    failed_share: float = 0.0


@dataclass(frozen=True, slots=True)
class Baseline:
    """The target at rest: its mean response, what failed, and CPU seconds per request (None: unknown)."""

    rps: float
    requests: int
    failed: int
    mean_seconds: float | None
    cpu_seconds_per_request: float | None


def listener(target: Target) -> psutil.Process | None:
    """Return the process on this machine that listens at the target; None when there is none that we may see."""
    for process in psutil.process_iter():
        try:
            found = process.net_connections(kind="tcp")
        except (psutil.Error, OSError):
            continue
        if any(one.status == psutil.CONN_LISTEN and one.laddr.port == target.port for one in found):
            return process
    return None


def read_steal() -> tuple[float, float]:
    """Return (stolen, all) CPU ticks of this machine; zeros where the kernel does not tell."""
    try:
        fields = [float(value) for value in Path("/proc/stat").read_text(encoding="ascii").split("\n")[0].split()[1:9]]
    except (OSError, ValueError, IndexError):
        return 0.0, 0.0
    return fields[7] if len(fields) > 7 else 0.0, sum(fields)


@dataclass(slots=True)
class Rig:
    """The crew, and what it sent since it was started. unsteady: says why the target is not what it was, or nothing."""

    crew: Crew
    goals: Sequence[Goal]
    seed: int
    server: psutil.Process | None
    unsteady: Callable[[], str | None] = lambda: None
    trials: int = 0
    arrivals: int = 0
    requests: int = 0
    server_cpu: float = 0.0
    aborted: int = 0
    _server_parts: list[psutil.Process] = field(default_factory=list)

    def _read_server_cpu(self) -> float | None:
        """Return the CPU seconds of the target's process and its children."""
        if self.server is None:
            return None
        try:
            parts = [self.server, *self.server.children(recursive=True)]
            return float(sum(sum(part.cpu_times()[:2]) for part in parts))
        except psutil.Error:
            return None

    async def _until(self, instant: float) -> None:
        await asyncio.sleep(max(0.0, instant - time.time()))

    async def _collect(self, first: int, last: int) -> Measured:
        """Drain, and return what was intended in seconds [first, last)."""
        await self.crew.settle(SETTLE_SECONDS)
        self.crew.book.lose(time.time())
        total = Measured()
        for second, routes in self.crew.book.take_complete(math.inf):
            if first <= second < last:
                for measured in routes.values():
                    total.merge(measured)
        return total

    async def level(self, users: int) -> Level:
        """Run so many users without a schedule for a while."""
        begins = math.ceil(time.time() + 0.1)
        first, last = begins + WARM_UP_SECONDS, begins + WARM_UP_SECONDS + LEVEL_SECONDS
        self.crew.want({CLOSED: users})
        await self._until(first)
        before = self._read_server_cpu()
        await self._until(last)
        after = self._read_server_cpu()
        self.crew.want({CLOSED: 0})
        measured = await self._collect(first, last)
        rps, mean = measured.done / LEVEL_SECONDS, (measured.service.mean_us() or 0.0) / 1e6
        used = None if before is None or after is None else (after - before) / LEVEL_SECONDS
        answered = measured.sent / LEVEL_SECONDS
        failed = measured.failed / measured.sent if measured.sent else 0.0
        return Level(users, rps, mean, abs(users - answered * mean) / users, used, failed)

    async def baseline(self, rps: float, seconds: float) -> Baseline:
        """Send so slowly that nothing waits."""
        requests, cpu = self.requests, self.server_cpu
        measured, _ = await self._send(Step(rps, seconds, self.seed, "search"), may_abort=False)
        sent, used = self.requests - requests, self.server_cpu - cpu
        mean = measured.service.mean_us()
        return Baseline(
            rps, sent, measured.failed + measured.unsent, None if mean is None else mean / 1e6,
            used / sent if sent and used > 0 else None,
        )  # fmt: skip

    async def sub_trial(self, step: Step) -> SubTrial:
        """Send Poisson arrivals after a second of warm-up, drain, and count what broke a goal."""
        measured, reasons = await self._send(step, may_abort=True)
        broken = tuple(min(measured.intended, goal.broken_by(measured)) for goal in self.goals)
        return SubTrial(measured.intended, broken, tuple(reasons))

    async def _send(self, step: Step, *, may_abort: bool) -> tuple[Measured, list[str]]:
        self.trials += 1
        begins = math.ceil(time.time() + 0.2)
        first, last = begins + WARM_UP_SECONDS, begins + WARM_UP_SECONDS + math.ceil(step.seconds)
        curve = RateCurve(np.array([begins, float(last)]), np.array([step.rps, step.rps]))
        schedule = Schedule(curve, "poisson", step.seed, float(begins))
        cpu_before, server_before, steal_before = sum(self.crew.cpu_seconds), self._read_server_cpu(), read_steal()
        sent_before = self.crew.book.overall.sent
        planned = float(begins)
        while (now := time.time()) < last:
            if may_abort and self._is_lost(first, now):
                self.aborted += 1
                last = math.ceil(planned)
                break
            if (until := min(now + AHEAD_SECONDS, last)) > planned:
                arrivals = schedule.between(planned, until)
                # Numbers of their own: a number names a journey and its idempotency key, which an app would recognise.
                self.crew.send(
                    OPEN, (arrivals.numbers + (self.trials << 30)).tolist(), arrivals.at_seconds.tolist()
                )  # fmt: skip
                self.arrivals += arrivals.numbers.size
                planned = until
            await asyncio.sleep(min(LOOK_SECONDS, max(0.001, last - now)))
        await self._until(last)
        measured = await self._collect(first, last)
        self.requests += self.crew.book.overall.sent - sent_before
        server_after = self._read_server_cpu()
        if server_before is not None and server_after is not None:
            self.server_cpu += max(0.0, server_after - server_before)
        elapsed = time.time() - begins
        return measured, self._reasons(measured, (sum(self.crew.cpu_seconds) - cpu_before) / elapsed, steal_before)

    def _is_lost(self, first: int, now: float) -> bool:
        """Return whether too many of the requests due so far broke a goal; those under way have broken none yet."""
        measured, waiting = self.crew.book.so_far(first, now)
        return is_lost(
            measured.done + measured.failed + measured.unsent + waiting,
            [goal.broken_by(measured) for goal in self.goals], self.goals,
        )  # fmt: skip

    def _reasons(self, measured: Measured, cpu: float, steal_before: tuple[float, float]) -> list[str]:
        """Return why what was measured says nothing about the target."""
        reasons = []
        late_us = measured.late.quantile_us(0.99)
        if late_us is not None and late_us / 1000 > SEND_LAG_P99_LIMIT_MS:
            reasons.append(f"send lag p99 was {late_us / 1000:.1f} ms, above {SEND_LAG_P99_LIMIT_MS:g} ms")
        if cpu > CPU_LIMIT * len(self.crew.members):
            reasons.append(f"the generator used more than {CPU_LIMIT:.0%} of its cores")
        stolen, whole = (after - before for after, before in zip(read_steal(), steal_before, strict=True))
        if whole > 0 and stolen / whole > STEAL_LIMIT:
            reasons.append(f"the host took {stolen / whole:.0%} of the CPU time away, above {STEAL_LIMIT:.0%}")
        if self.crew.broken:
            reasons.append("a generating process died")
        if self.server is not None:
            running = False
            with suppress(psutil.Error):
                running = bool(self.server.is_running())
            if not running:
                reasons.append("the target was restarted, or ended")
        if (why := self.unsteady()) is not None:
            reasons.append(why)
        return reasons
