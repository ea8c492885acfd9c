"""Measures what a target carries: the closed-loop ceiling, then the search with Poisson arrivals, on live children.

Which trial comes next is `capacity_search`'s; sending is `crew`'s. Between trials everything is drained; the first
second of each is warm-up and not counted. A capacity is in requests per real second, of one replica: address one.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import psutil  # type: ignore[import-untyped]  # it ships no types

from loadgen.arrivals import RateCurve, Schedule
from loadgen.capacity_search import Found, Goal, Settings, Step, SubTrial, search
from loadgen.crew import TIMEOUT_SECONDS, Crew
from loadgen.executors import Rate, Users
from loadgen.metrics import Measured
from loadgen.safety import Target
from loadgen.scenario_file import Part, Scenario
from loadgen.summary import CPU_LIMIT, SEND_LAG_P99_LIMIT_MS
from loadgen.usl import Usl, fit_usl

LEVELS = (1, 2, 4, 8, 16, 32)
LEVEL_SECONDS = 2
WARM_UP_SECONDS = 1
LITTLE_TOLERANCE = 0.08
SETTLE_SECONDS = TIMEOUT_SECONDS + 2
SATURATED = 0.9  # of a core: a process of one thread has no more
OPEN, CLOSED = 0, 1


@dataclass(frozen=True, slots=True)
class CapacityPlan:
    """What to measure. most_rps: the generator's own limit. levels: users of the ceiling; the rest as in Settings."""

    scenario: Scenario
    target: Target
    goals: tuple[Goal, ...]
    run_id: str
    budget_seconds: float
    most_rps: float
    seed: int = 0
    size: int = 1
    levels: tuple[int, ...] = LEVELS
    trial_seconds: float = 5.0
    requests: int = 300


@dataclass(frozen=True, slots=True)
class Level:
    """Throughput of so many users without a pause. little: |N - X R| / N; target_cpu: cores it used, None: unknown."""

    users: int
    rps: float
    mean_seconds: float
    little: float
    target_cpu: float | None


@dataclass(frozen=True, slots=True)
class CapacityFound:
    """The answer in requests/s. ceiling_rps: the closed loop's, for comparison only: it is not within any SLO."""

    found: Found
    requests_per_arrival: float
    ceiling_rps: float
    levels: tuple[Level, ...]
    usl: Usl | None
    cpu_seconds_per_request: float | None
    saturated: str

    @property
    def interval(self) -> tuple[float, float | None] | None:
        """Return (low, high) in requests/s; high None: nothing failed. None when there is no capacity."""
        if self.found.low_rps is None or not self.found.confirmed:
            return None
        high = self.found.high_rps
        factor = self.requests_per_arrival
        return self.found.low_rps * factor, None if high is None else high * factor

    def to_json(self) -> dict[str, Any]:
        """Return it for scripts and for the record."""
        interval = self.interval
        return {
            "capacity_rps": None if interval is None else {"low": interval[0], "high": interval[1]},
            "valid": interval is not None, "invalid_because": list(self.found.invalid_because),
            "confirmed": self.found.confirmed, "arrivals": "poisson",
            "ceiling_rps": self.ceiling_rps, "cpu_seconds_per_request": self.cpu_seconds_per_request,
            "saturated": self.saturated, "usl": None if self.usl is None else asdict(self.usl),
            "requests_per_arrival": self.requests_per_arrival,
            "levels": [asdict(level) for level in self.levels],
            "trials": [asdict(trial) for trial in self.found.trials],
        }  # fmt: skip


def capacity_scenario(scenario: Scenario) -> Scenario:
    """Return the file's first scenario's journeys as an open and a closed part, whose curves the search sets itself.

    Users of the ceiling think as the journeys say: for a ceiling, take journeys without a pause.
    """
    journeys = scenario.parts[0].journeys
    still = ((0.0, 0.0), (1.0, 0.0))
    parts = (Part("open", 0.0, Rate(still, 100_000), journeys), Part("closed", 0.0, Users(still), journeys))
    return Scenario(
        scenario.name, scenario.service, scenario.target, scenario.seed, scenario.journeys, parts, scenario.thresholds
    )


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


@dataclass(slots=True)
class Rig:
    """The children, and what they sent since the last trial."""

    crew: Crew
    goals: Sequence[Goal]
    seed: int
    server: psutil.Process | None
    trials: int = 0
    arrivals: int = 0
    requests: int = 0
    server_cpu: float = 0.0

    def _server_cpu(self) -> float | None:
        try:
            times = self.server.cpu_times() if self.server else None
        except psutil.Error:
            return None
        return None if times is None else float(times.user + times.system)

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
        before = self._server_cpu()
        await self._until(last)
        after = self._server_cpu()
        self.crew.want({CLOSED: 0})
        measured = await self._collect(first, last)
        rps, mean = measured.done / LEVEL_SECONDS, (measured.service.mean_us() or 0.0) / 1e6
        used = None if before is None or after is None else (after - before) / LEVEL_SECONDS
        return Level(users, rps, mean, abs(users - rps * mean) / users, used)

    async def sub_trial(self, step: Step) -> SubTrial:
        """Send Poisson arrivals after a second of warm-up, drain, and count what broke a goal."""
        self.trials += 1
        length = math.ceil(step.seconds)
        begins = math.ceil(time.time() + 0.2)
        first, last = begins + WARM_UP_SECONDS, begins + WARM_UP_SECONDS + length
        curve = RateCurve(np.array([begins, float(last)]), np.array([step.rps, step.rps]))
        arrivals = Schedule(curve, "poisson", step.seed, float(begins)).between(begins, last)
        # Numbers of their own: a number names a journey and its idempotency key, which an app would recognise.
        numbers = (arrivals.numbers + (self.trials << 30)).tolist()
        cpu_before, server_before = sum(self.crew.cpu_seconds), self._server_cpu()
        late_before = self.crew.book.overall.sent
        self.crew.send(OPEN, numbers, arrivals.at_seconds.tolist())
        await self._until(last)
        measured = await self._collect(first, last)
        elapsed = time.time() - begins
        self.arrivals += len(numbers)
        self.requests += self.crew.book.overall.sent - late_before
        server_after = self._server_cpu()
        if server_before is not None and server_after is not None:
            self.server_cpu += server_after - server_before
        reasons = []
        late_us = measured.late.quantile_us(0.99)
        if late_us is not None and late_us / 1000 > SEND_LAG_P99_LIMIT_MS:
            reasons.append(f"send lag p99 was {late_us / 1000:.1f} ms, above {SEND_LAG_P99_LIMIT_MS:g} ms")
        if (sum(self.crew.cpu_seconds) - cpu_before) / elapsed > CPU_LIMIT * len(self.crew.members):
            reasons.append(f"the generator used more than {CPU_LIMIT:.0%} of its cores")
        if self.crew.broken:
            reasons.append("a generating process died")
        broken = tuple(min(measured.intended, goal.broken_by(measured)) for goal in self.goals)
        return SubTrial(measured.intended, broken, tuple(reasons))


def levels_in_random_order(plan: CapacityPlan) -> list[int]:
    """Return the levels of users: twice when the budget allows, never in order: a neighbour's burst is no trend."""
    levels = list(plan.levels) * (2 if plan.budget_seconds >= 180 else 1)
    random.Random(plan.seed).shuffle(levels)  # noqa: S311 - to be repeatable, not secret
    return levels


def first_rate(ceiling_rps: float, goals: Sequence[Goal]) -> float:
    """Return where to begin: what a queue M/M/1 of that ceiling carries within the goal, at least half the ceiling.

    lambda = mu - (-ln(1 - p)) / T, from the exponential response time of M/M/1.
    """
    prior = [
        ceiling_rps + math.log(goal.allowed) / (goal.threshold.bound / 1000)
        for goal in goals
        if goal.threshold.quantile is not None and 0 < goal.allowed < 1 and goal.threshold.bound > 0
    ]
    return max(0.5 * ceiling_rps, min([0.9 * ceiling_rps, *prior]))


async def measure_capacity(plan: CapacityPlan, show: Callable[[str], None]) -> CapacityFound:
    """Measure within about the budget (at most twice that). Raises CrewError when the children can't be started."""
    scenario = capacity_scenario(plan.scenario)
    crew = await Crew.start(scenario, plan.target, seed=plan.seed, run_id=plan.run_id, size=plan.size)
    rig = Rig(crew, plan.goals, plan.seed, listener(plan.target))
    began = time.monotonic()
    try:
        levels = []
        for users in levels_in_random_order(plan):
            levels.append(await rig.level(users))
            show(f"ceiling: {users} users {levels[-1].rps:.1f}/s")
        sound = [one for one in levels if one.rps > 0]
        ceiling = max((one.rps for one in sound), default=0.0)
        if not sound:
            nothing = Found(None, None, False, (), ("the target answered nothing",))
            return CapacityFound(nothing, 1.0, 0.0, tuple(levels), None, None, "unknown")
        per_arrival = _mean_steps(scenario)
        remaining = max(30.0, plan.budget_seconds - (time.monotonic() - began))
        settings = Settings(
            max(0.1, first_rate(ceiling, plan.goals) / per_arrival), plan.most_rps / per_arrival, remaining,
            seed=plan.seed,
            trial_seconds=plan.trial_seconds,
            requests=plan.requests,
        )  # fmt: skip
        found = await _drive(search(plan.goals, settings), rig, show)
    finally:
        await crew.stop(1.0)
    usl = fit_usl(np.array([one.users for one in sound], dtype=float), np.array([one.rps for one in sound]))
    per_request = rig.server_cpu / rig.requests if rig.server_cpu > 0 and rig.requests else None
    factor = rig.requests / rig.arrivals if rig.arrivals else per_arrival
    return CapacityFound(found, factor, ceiling, tuple(levels), usl, per_request, _saturated(levels))


async def _drive(steps: Any, rig: Rig, show: Callable[[str], None]) -> Found:
    step = next(steps)
    while True:
        show(f"{step.purpose}: {step.rps:.1f} arrivals/s for {step.seconds:.0f} s")
        sub = await rig.sub_trial(step)
        try:
            step = steps.send(sub)
        except StopIteration as stopped:
            found: Found = stopped.value
            return found


def _mean_steps(scenario: Scenario) -> float:
    chosen = [scenario.journeys["journeys"][index] for index in scenario.parts[0].journeys]
    weights = sum(journey["weight"] for journey in chosen)
    return float(sum(journey["weight"] * len(journey["steps"]) for journey in chosen) / weights)


def _saturated(levels: Sequence[Level]) -> str:
    """Say what was full at the ceiling: the CPU, else something that waits (a pool, a supplier), else unknown."""
    used = [one.target_cpu for one in levels if one.target_cpu is not None]
    if not used:
        return "unknown"
    return "cpu" if max(used) >= SATURATED else "not the CPU: a pool or something it waits for"


def little_warnings(levels: Sequence[Level]) -> list[str]:
    """Return the closed trials that break Little's law, N = X R: users were missing, or paused."""
    return [
        f"{one.users} users: X R differs from N by {one.little:.0%}" for one in levels if one.little > LITTLE_TOLERANCE
    ]
