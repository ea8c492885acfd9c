"""Measures what a target carries: at rest, the closed-loop ceiling, then the search with Poisson arrivals.

Which trial comes next is `search`'s; sending is `rig`'s. A capacity is in requests per real second,
of one replica: address one.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from loadgen.capacity.rig import Baseline, Level, Rig, listener
from loadgen.capacity.search import Found, Goal, Settings, search
from loadgen.capacity.usl import Usl, fit_usl
from loadgen.safety import Target
from loadgen.scenario.executors import Rate, Users
from loadgen.scenario.file import Part, Scenario
from loadgen.sending.crew import Crew

LEVELS = (1, 2, 4, 8, 16, 32)
BASELINE_RPS, BASELINE_SECONDS = 5.0, 10.0
LITTLE_TOLERANCE = 0.08
MOST_FAILED = 0.05  # of a closed-loop level: beyond it, what is fast is the refusing
SATURATED = 0.9  # of a core: a process of one thread has no more


@dataclass(frozen=True, slots=True)
class CapacityPlan:
    """What to measure. most_rps: the generator's own limit. levels: users of the ceiling; the rest as in Settings.

    unsteady: asked after each trial why the target is not what it was (replicas came or went); None: it is.
    """

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
    unsteady: Callable[[], str | None] = lambda: None


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
    baseline: Baseline | None = None
    aborted_trials: int = 0

    @property
    def interval(self) -> tuple[float, float | None] | None:
        """Return (low, high) in requests/s; high None: nothing failed. None when there is no capacity."""
        if self.found.low_rps is None or not self.found.confirmed:
            return None
        high = self.found.high_rps
        factor = self.requests_per_arrival
        return self.found.low_rps * factor, None if high is None else high * factor

    @property
    def utilisation(self) -> float | None:
        """Return the cores busy at the low end, rho = X D: the utilisation law; None where no CPU was seen."""
        interval, per_request = self.interval, self.cpu_seconds_per_request
        return None if interval is None or per_request is None else interval[0] * per_request

    def to_json(self) -> dict[str, Any]:
        """Return it for scripts and for the record."""
        interval = self.interval
        return {
            "capacity_rps": None if interval is None else {"low": interval[0], "high": interval[1]},
            "valid": interval is not None, "invalid_because": list(self.found.invalid_because),
            "confirmed": self.found.confirmed, "arrivals": "poisson",
            "ceiling_rps": self.ceiling_rps, "cpu_seconds_per_request": self.cpu_seconds_per_request,
            "saturated": self.saturated, "usl": None if self.usl is None else asdict(self.usl),
            "baseline": None if self.baseline is None else asdict(self.baseline),
            "utilisation": self.utilisation, "aborted_trials": self.aborted_trials,
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
        scenario.name, scenario.service, scenario.target, scenario.seed, scenario.journeys, parts, scenario.thresholds,
        scenario.users,
    )  # fmt: skip


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
    """Measure within about the budget, at most three times that. Raises CrewError when no child can be started."""
    scenario = capacity_scenario(plan.scenario)
    crew = await Crew.start(scenario, plan.target, seed=plan.seed, run_id=plan.run_id, size=plan.size)
    rig = Rig(crew, plan.goals, plan.seed, listener(plan.target), plan.unsteady)
    began, levels, baseline = time.monotonic(), list[Level](), None
    try:
        baseline = await rig.baseline(BASELINE_RPS, min(BASELINE_SECONDS, plan.budget_seconds / 20))
        show(f"at rest: {baseline.requests} requests, {baseline.failed} failed")
        if why := _broken_at_rest(baseline, plan.goals):
            return CapacityFound(Found(None, None, False, (), (why,)), 1.0, 0.0, (), None, None, "unknown", baseline)
        for users in levels_in_random_order(plan):
            levels.append(await rig.level(users))
            show(f"ceiling: {users} users {levels[-1].rps:.1f}/s")
        sound = [one for one in levels if one.rps > 0 and one.failed_share <= MOST_FAILED]
        ceiling = max((one.rps for one in sound), default=0.0)
        if not sound:
            nothing = Found(None, None, False, (), ("the target answered nothing, or refused too much",))
            return CapacityFound(nothing, 1.0, 0.0, tuple(levels), None, None, "unknown", baseline)
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
    return CapacityFound(
        found, factor, ceiling, tuple(levels), usl, per_request, _saturated(levels), baseline, rig.aborted
    )


def _broken_at_rest(baseline: Baseline, goals: Sequence[Goal]) -> str | None:
    allowed = [goal.allowed for goal in goals if goal.threshold.metric == "http_req_failed"]
    if not baseline.requests:
        return "the target answered nothing"
    share = baseline.failed / baseline.requests
    if share > max([MOST_FAILED, *allowed]):
        return f"{share:.0%} failed at {baseline.rps:g} arrivals/s already"
    return None


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
    if not chosen:  # a user class: what it asks for is not known before it does
        return 1.0
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
