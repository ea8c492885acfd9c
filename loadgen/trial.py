"""One short run at a constant arrival rate, in memory: what `tidegauge load run` is made of."""

from __future__ import annotations

import asyncio
import math
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import numpy as np

from loadgen.arrivals import ArrivalKind, RateCurve, Schedule
from loadgen.generator import Generator, StartChild
from loadgen.results import Second, Totals
from loadgen.runs.summary import reasons_invalid
from loadgen.safety import Target
from loadgen.scenario.journeys_file import as_journeys, read_journeys, single_path
from loadgen.sending.child import ChildProcess
from loadgen.supervised import TIMEOUT_SECONDS, child_plan, iterations_of
from tidegauge.clock import Clock

FEWEST_USERS, MOST_USERS = 50, 1000

Show = Callable[[float, str], None]


class NoTargetError(RuntimeError):
    """Nobody listens at the target."""


@dataclass(frozen=True, slots=True)
class TrialPlan:
    """What to send: `rps` arrivals per second for `duration`. path: one GET in place of the shipped journeys."""

    target: Target
    rps: float
    duration: timedelta
    kind: ArrivalKind = "poisson"
    seed: int = 0
    path: str | None = None


@dataclass(slots=True)
class Trial:
    """What came of it. seconds: how long was sent for; cpu_seconds: what the child used; empty reasons: it is valid."""

    plan: TrialPlan
    totals: Totals = field(default_factory=Totals)
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    invalid_because: list[str] = field(default_factory=list)

    def take(self, seconds: list[Second]) -> None:
        """Merge settled seconds."""
        for second in seconds:
            self.totals.add(second)

    def to_json(self) -> dict[str, Any]:
        """Return the result for scripts."""
        sent = self.totals.overall.sent
        return {
            "target": self.plan.target.url, "rps": self.plan.rps, "arrivals": self.plan.kind, "seed": self.plan.seed,
            "seconds": round(self.seconds, 3), **self.totals.overall.summary(),
            "routes": {name: tally.summary() for name, tally in sorted(self.totals.routes.items())},
            "generator_cpu_us_per_request": round(self.cpu_seconds * 1e6 / sent, 1) if sent else None,
            "valid": not self.invalid_because, "invalid_because": self.invalid_because,
        }  # fmt: skip


async def run_trial(
    plan: TrialPlan, stop: asyncio.Event, show: Show, *, start_child: StartChild = ChildProcess.start
) -> Trial:
    """Send, drain and judge. `stop` ends it early; what was sent until then counts.

    Raises NoTargetError when nobody listens, ChildFailedError when the sending process can't be started.
    """
    await _check_listening(plan.target)
    clock, trial = Clock(), Trial(plan)
    journeys = as_journeys(single_path(plan.path) if plan.path else read_journeys())
    run_id = f"trial-{uuid.uuid4()}"
    users = min(MOST_USERS, max(FEWEST_USERS, math.ceil(plan.rps * TIMEOUT_SECONDS)))  # Little's law
    generator = Generator(
        clock=clock,
        iterations=iterations_of(journeys, seed=plan.seed, run_id=run_id),
        child_plan=child_plan(plan.target, journeys, seed=plan.seed, run_id=run_id, users=users),
        start_child=start_child,
        sink=trial.take,
    )
    try:
        await generator.start(stop)
        begins = math.ceil(clock.read_real() + 0.2)
        ends = begins + plan.duration.total_seconds()
        curve = RateCurve(np.array([float(begins), ends]), np.array([plan.rps, plan.rps]))
        schedule = Schedule(curve, plan.kind, plan.seed, origin_seconds=float(begins))
        showing = asyncio.create_task(_show_for_ever(trial, generator, show, float(begins)))
        try:
            await generator.follow(schedule, stop, first_second=begins, until_clock=ends)
        finally:
            showing.cancel()
            with suppress(asyncio.CancelledError):
                await showing
    finally:
        await generator.close()
    trial.seconds = min(trial.totals.seconds, plan.duration.total_seconds())
    trial.cpu_seconds = generator.health().cpu_seconds
    cpu_share = trial.cpu_seconds / trial.seconds if trial.seconds else 0.0
    trial.invalid_because = reasons_invalid(trial.totals.overall, cpu_share=cpu_share)
    return trial


async def _check_listening(target: Target) -> None:
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            _, writer = await asyncio.open_connection(target.host, target.port)
    except (OSError, TimeoutError) as error:
        raise NoTargetError(f"nobody listens at {target.url}: {error or type(error).__name__}") from error
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


async def _show_for_ever(trial: Trial, generator: Generator, show: Show, begins: float) -> None:
    while True:
        tally, health = trial.totals.overall, generator.health()
        p95, lag = tally.response.quantile_us(0.95), tally.send_lag.quantile_us(0.99)
        show(
            max(0.0, time.time() - begins),
            f"{tally.done} done  {tally.failed} failed  {tally.unsent} unsent  {health.in_flight} in flight  "
            f"p95 {'-' if p95 is None else f'{p95 / 1000:.1f} ms'}  "
            f"send lag p99 {'-' if lag is None else f'{lag / 1000:.1f} ms'}",
        )
        await asyncio.sleep(0.5)
