"""Plays a scenario from its start to its end: keeps every curve, watches thresholds, and judges. Prints nothing.

The children send (`crew`), the book counts (`book`); files and reports are the sink's, the terminal the
caller's. A run always ends by itself, when its last scenario is over and drained.
"""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from loadgen.arrivals import Schedule
from loadgen.metrics import Measured
from loadgen.results import Second
from loadgen.runs.summary import CPU_LIMIT, SEND_LAG_P99_LIMIT_MS
from loadgen.safety import MEMORY_NAME, Limits, Target
from loadgen.scenario.book import second_of
from loadgen.scenario.executors import Rate, Users
from loadgen.scenario.file import Scenario
from loadgen.scenario.thresholds import Judged, Verdict, WindowWatch, judge, select, verdict_of
from loadgen.sending.crew import Crew, LogRows, StartChild, start_player

TICK_SECONDS = 0.1
AHEAD_SECONDS = 2.0
DRAIN_SECONDS = 5.0
BEGIN_SECONDS = 1.0  # what is due first is planned before it begins
PRESSURE_LIMIT = 0.9  # of the time
PRESSURE = Path("/proc/pressure/cpu")


@dataclass(frozen=True, slots=True)
class RunPlan:
    """What to play. size: how many children; drain_seconds: how long the last requests are waited for."""

    scenario: Scenario
    target: Target
    run_id: str
    seed: int = 0
    size: int = field(default_factory=lambda: max(1, (os.cpu_count() or 2) - 1))
    drain_seconds: float = DRAIN_SECONDS
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class Progress:
    """How the run is now."""

    seconds: float
    total_seconds: float
    users: int
    in_flight: int
    overall: Measured


@dataclass(slots=True)
class RunResult:
    """What came of it. seconds: how long was sent for; cpu_share: of the busiest child's core.

    pressure: share of the time in which some process of this machine waited for a CPU; None where nobody tells.
    """

    plan: RunPlan
    started_at: float
    seconds: float
    overall: Measured
    by_route: dict[str, Measured]
    checks: dict[str, tuple[int, int]]
    judged: list[Judged]
    verdict: Verdict
    status: str
    cpu_share: float
    cpu_seconds: float
    pressure: float | None


@dataclass(slots=True)
class _Run:
    plan: RunPlan
    crew: Crew
    begins: float
    sink: Callable[[list[Second]], None]
    planned_to: float = 0.0
    watches: list[WindowWatch] = field(default_factory=list)
    aborted_by: Judged | None = None
    last_users: dict[int, int] = field(default_factory=dict)
    most_users: int = 0
    users_in: dict[int, int] = field(default_factory=dict)  # the most of each second that is not handed on yet
    _schedules: dict[int, Schedule] = field(default_factory=dict)

    def __post_init__(self) -> None:
        scenario = self.plan.scenario
        self.planned_to = self.begins
        self.watches = [WindowWatch(one, []) for one in scenario.thresholds if one.window_seconds]
        for index, part in enumerate(scenario.parts):
            if isinstance(part.executor, Rate):
                start = self.begins + part.start_seconds
                seed = self.plan.seed * 101 + index
                self._schedules[index] = Schedule(part.executor.curve(start), part.executor.kind, seed, self.begins)

    def tick(self, now: float) -> None:
        """Plan what is due soon, set the users, take what is complete, look at the thresholds."""
        until = min(now + AHEAD_SECONDS, self.begins + self.plan.scenario.duration_seconds)
        if until > self.planned_to:
            for index, schedule in self._schedules.items():
                arrivals = schedule.between(self.planned_to, until)
                self.crew.send(index, arrivals.numbers.tolist(), arrivals.at_seconds.tolist())
            self.planned_to = until
        users = {
            index: part.executor.at(now - self.begins - part.start_seconds)
            for index, part in enumerate(self.plan.scenario.parts)
            if isinstance(part.executor, Users)
        }
        if users and users != self.last_users:
            self.last_users = users
            self.crew.want(users)
        self.most_users = max(self.most_users, self.crew.users)
        self.users_in[int(now)] = max(self.users_in.get(int(now), 0), self.crew.users)
        self.take(now)
        self.check_abort(now)

    def take(self, now: float) -> None:
        """Hand complete seconds on."""
        complete = self.crew.book.take_complete(now)
        for _, routes in complete:
            overall = Measured()
            for measured in routes.values():
                overall.merge(measured)
            for watch in self.watches:
                watch.take(routes, overall)
        if complete:
            self.sink([second_of(second, routes, users=self.users_in.pop(second, None)) for second, routes in complete])

    def judged(self, seconds: float) -> list[Judged]:
        """Return every threshold as it stands now."""
        book, watched = self.crew.book, iter(self.watches)
        return [
            next(watched).judged()
            if one.window_seconds
            else judge(one, select(one, book.by_route, book.overall), seconds=seconds, users=self.most_users)
            for one in self.plan.scenario.thresholds
        ]

    def check_abort(self, now: float) -> None:
        """Note the first threshold that is to end the run and does not hold; no data yet ends nothing."""
        elapsed = now - self.begins
        for one in self.judged(elapsed) if any(t.abort_on_fail for t in self.plan.scenario.thresholds) else ():
            wanted = one.threshold.abort_on_fail and elapsed >= one.threshold.delay_abort_seconds
            if wanted and not one.held and one.value is not None and self.aborted_by is None:
                self.aborted_by = one


async def play(
    plan: RunPlan, stop: asyncio.Event, *, show: Callable[[Progress], None],
    sink: Callable[[list[Second]], None] = lambda _seconds: None, start_child: StartChild = start_player,
    log_rows: LogRows = lambda _rows, _routes: None,
) -> RunResult:  # fmt: skip
    """Play the scenario, drain, and judge. `stop` ends it early; what was sent until then counts.

    Raises CrewError when the children can't be started.
    """
    scenario = plan.scenario
    crew = await Crew.start(
        scenario, plan.target, seed=plan.seed, run_id=plan.run_id, size=plan.size, start_child=start_child
    )
    crew.log_rows = log_rows
    begins = math.ceil(time.time() + BEGIN_SECONDS)
    run, pressure = _Run(plan, crew, float(begins), sink), _pressure_us()
    ends, too_large = begins + scenario.duration_seconds, False
    try:
        most = plan.limits.max_memory_bytes
        while (now := time.time()) < ends and not (stop.is_set() or crew.broken or run.aborted_by):
            if crew.memory_bytes > most:
                too_large = True
                break
            run.tick(now)
            elapsed = max(0.0, now - begins)
            show(Progress(elapsed, scenario.duration_seconds, crew.users, crew.in_flight, crew.book.overall))
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), min(TICK_SECONDS, max(0.001, ends - now)))
        seconds = max(0.0, min(time.time(), ends) - begins)
        broken = crew.broken
        waited = _share(pressure, _pressure_us(), time.time() - begins)
        await crew.stop(plan.drain_seconds)
        lived = time.time() - begins
    finally:
        await crew.end()
    run.take(math.inf)
    status = (
        "aborted" if run.aborted_by else "broken" if broken or too_large else "stopped" if stop.is_set() else "finished"
    )
    cpu_share = max(crew.cpu_seconds) / lived if lived > 0 else 0.0
    judged = run.judged(seconds)
    invalid = reasons_run_invalid(crew, cpu_share=cpu_share, pressure=waited, broken=broken)
    if too_large:
        invalid.append(f"the generating processes held more than {most:,} bytes ({MEMORY_NAME}): the run was ended")
    return RunResult(
        plan, float(begins), seconds, crew.book.overall, crew.book.by_route, crew.checks(), judged,
        verdict_of(judged, invalid), status, cpu_share, sum(crew.cpu_seconds), waited,
    )  # fmt: skip


def reasons_run_invalid(crew: Crew, *, cpu_share: float, pressure: float | None, broken: bool) -> list[str]:
    """Return why the figures may not be believed: the generator's own failings, never the target's."""
    overall, reasons = crew.book.overall, []
    if overall.intended == 0:
        reasons.append("nothing was sent, and nothing was to be: nothing was measured")
    if broken:
        reasons.append("a generating process died")
    waited = "" if pressure is None else f" (processes waited for a CPU {pressure:.0%} of the time)"
    for name, trend in (("send lag", overall.late), ("the generator's own delay", crew.late)):
        late_us = trend.quantile_us(0.99)
        if late_us is not None and late_us / 1000 > SEND_LAG_P99_LIMIT_MS:
            reasons.append(f"{name} p99 was {late_us / 1000:.1f} ms, above {SEND_LAG_P99_LIMIT_MS:g} ms{waited}")
    if pressure is not None and pressure > PRESSURE_LIMIT:
        reasons.append(
            f"processes waited for a CPU {pressure:.0%} of the time, above {PRESSURE_LIMIT:.0%}: this machine had none "
            "to spare, and what is slow may be the machine"
        )
    if cpu_share > CPU_LIMIT:
        reasons.append(f"a generating process used {cpu_share:.0%} of a core, above {CPU_LIMIT:.0%}")
    return reasons


def _pressure_us() -> int | None:
    """Return how long, in all, some process has waited for a CPU; None where the kernel does not tell."""
    try:
        return int(PRESSURE.read_text(encoding="ascii").split("total=")[1].split()[0])
    except (OSError, IndexError, ValueError):
        return None


def _share(before: int | None, after: int | None, seconds: float) -> float | None:
    return None if before is None or after is None or seconds <= 0 else min(1.0, (after - before) / 1e6 / seconds)
