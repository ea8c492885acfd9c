"""A run without an end of its own: follow a curve, keep its files, report it, and go on where a crash cut it off.

This is what `python -m loadgen` does once its options are read.
"""

from __future__ import annotations

import asyncio
import logging
import math
import uuid
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from loadgen.arrivals import ArrivalKind, RateCurve, Schedule
from loadgen.curve import read_curve
from loadgen.generator import Generator, StartChild
from loadgen.results import Second, Totals
from loadgen.runs.files import Resumed, RunFiles, RunFilesError
from loadgen.runs.reporting import Reporter
from loadgen.runs.summary import RunFacts, load_summary
from loadgen.safety import Limits, Target, check_rate
from loadgen.scenario.journeys_file import as_journeys, read_journeys
from loadgen.sending.child import ChildProcess
from loadgen.sending.iterations import Iterations, iterations_from_plan
from loadgen.shape import live_curve
from tidegauge.clock import Clock

log = logging.getLogger(__name__)

LONGEST = timedelta(days=7)  # of one process; a supervisor may start the next
USERS = 400  # a stall of 2 s at 200 requests/s finds each of them waiting
MOST_IN_FLIGHT = 4000
TIMEOUT_SECONDS = 5.0
SUMMARY_SECONDS = 1.0
SCENARIO = "follow-curve"


@dataclass(frozen=True, slots=True)
class Options:
    """What to run. Exactly one of curve_file and peak_rps is used: the file, if given. until: epoch s of the clock."""

    target: Target
    out: Path
    limits: Limits
    service: str = "reference-app"
    curve_file: Path | None = None
    peak_rps: float = 1.0
    kind: ArrivalKind = "poisson"
    seed: int = 0
    run_id: str | None = None
    until: float | None = None
    collector_url: str | None = None


def child_plan(
    target: Target, journeys: dict[str, Any], *, seed: int, run_id: str, users: int = USERS
) -> dict[str, Any]:
    """Return the plan of a child that serves one schedule of arrivals with all of the journeys."""
    part = {
        "journeys": list(range(len(journeys["journeys"]))), "most_users": users,
        "most_waiting": max(MOST_IN_FLIGHT, 2 * users) - users,
    }  # fmt: skip
    return {
        **target.to_plan(), "journeys": journeys, "seed": seed, "run_id": run_id, "share": [0, 1], "parts": [part],
        "timeout_seconds": TIMEOUT_SECONDS,
    }  # fmt: skip


def iterations_of(journeys: dict[str, Any], *, seed: int, run_id: str) -> Iterations:
    """Return what the child of `child_plan` will do."""
    return iterations_from_plan(journeys, [list(range(len(journeys["journeys"])))], seed=seed, run_id=run_id)


@dataclass(slots=True)
class RunBook:
    """The run's files and totals, and what load.json says of them now."""

    files: RunFiles
    facts: RunFacts
    clock: Clock
    totals: Totals
    generator: Generator | None = None
    status: str = "starting"

    def take(self, seconds: list[Second]) -> None:
        """Put settled seconds on file, then into the totals."""
        self.files.append(seconds)
        for second in seconds:
            self.totals.add(second)

    def summary(self) -> dict[str, Any]:
        """Return what load.json says now."""
        if self.generator is None:
            raise RuntimeError("a summary needs the generator")
        now = self.clock.now_seconds()
        return load_summary(self.facts, self.totals, self.generator.health(), status=self.status, now=now)

    async def write_for_ever(self) -> None:
        """Write load.json once a second."""
        while True:
            self.files.write_summary(self.summary())
            await asyncio.sleep(SUMMARY_SECONDS)


def open_run(options: Options, clock: Clock) -> tuple[RunFiles, Resumed, RunFacts, RateCurve]:
    """Return the run's files, what is on them, its facts and its curve.

    Raises RunFilesError, CurveError, UnsafeLoadError.
    """
    files = RunFiles(options.out)
    resumed = files.resume()
    if resumed.run_id and options.run_id and resumed.run_id != options.run_id:
        raise RunFilesError(
            f"{options.out}: expected run {options.run_id!r} or an empty directory, got {resumed.run_id!r}"
        )
    started_at = clock.now_seconds() if resumed.started_at is None else resumed.started_at
    started = datetime.fromtimestamp(started_at, UTC)
    if options.curve_file is not None:
        curve, name = read_curve(options.curve_file), options.curve_file.name
    else:
        curve = live_curve(started, peak_rps=options.peak_rps, seed=options.seed)
        name = f"own daily-and-weekly shape, peak {options.peak_rps:g} requests/s"
    check_rate(curve.highest_rps() * clock.speed, options.limits)
    run_id = options.run_id or resumed.run_id or f"load-{started:%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:6]}"
    facts = RunFacts(
        run_id, options.service, SCENARIO, options.target.url, options.kind, options.seed, name, started_at
    )
    return files, resumed, facts, curve


def first_second_to_plan(resumed: Resumed, now: float) -> int:
    """Return the real second to begin with: where a crash left a gap, else the next whole one after this.

    Only a run that was still running owes what it missed; one that was stopped does not.
    """
    if resumed.status == "running" and resumed.settled:
        last = max(resumed.settled)
        recent = range(max(min(resumed.settled), last - 60), last + 2)
        return next(second for second in recent if second not in resumed.settled)
    return math.ceil(now) + 1


async def wait_until_ready(target: Target, client: httpx.AsyncClient, stop: asyncio.Event) -> None:
    """Return when GET /readyz is answered with 200, or 404 by a target that has none; or when `stop` is set."""
    waited = 0
    while not stop.is_set():
        with suppress(httpx.HTTPError):
            response = await client.get(f"{target.url}/readyz", timeout=2.0)
            if response.status_code in (200, 404):
                return
        waited += 1
        if waited % 20 == 1:
            log.info("waiting for %s to be ready", target.url)
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), 0.5)


def _generator_for(options: Options, book: RunBook, start_child: StartChild) -> Generator:
    journeys, run_id = as_journeys(read_journeys()), book.facts.run_id
    return Generator(
        clock=book.clock,
        iterations=iterations_of(journeys, seed=options.seed, run_id=run_id),
        child_plan=child_plan(options.target, journeys, seed=options.seed, run_id=run_id),
        start_child=start_child,
        sink=book.take,
    )


async def follow_curve(
    options: Options, clock: Clock, stop: asyncio.Event, *, start_child: StartChild = ChildProcess.start
) -> None:
    """Run until `stop`, `options.until` or the longest duration; the files are complete when this returns.

    Raises RunFilesError, CurveError, UnsafeLoadError before anything is sent, and ChildFailedError.
    """
    files, resumed, facts, curve = open_run(options, clock)
    until = clock.at_real(clock.read_real() + LONGEST.total_seconds())
    until = until if options.until is None else min(until, options.until)
    book = RunBook(files, facts, clock, resumed.totals)
    book.generator = generator = _generator_for(options, book, start_child)
    async with httpx.AsyncClient(trust_env=False) as client:
        await wait_until_ready(options.target, client, stop)
        if not stop.is_set():
            await generator.start(stop)
        reporter = Reporter(files, facts.run_id, options.collector_url or "", client, book.summary)
        first = first_second_to_plan(resumed, clock.read_real())
        book.status = "running"
        tasks = [asyncio.create_task(book.write_for_ever())]
        if options.collector_url:
            tasks.append(asyncio.create_task(reporter.report_for_ever()))
        try:
            await generator.follow(
                Schedule(curve, options.kind, options.seed), stop,
                first_second=first, until_clock=until, already_settled=resumed.settled,
            )  # fmt: skip
        finally:
            for side_task in tasks:
                side_task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            book.status = "stopped" if stop.is_set() else "finished"
            files.write_summary(book.summary())
            await generator.close()
        if options.collector_url:
            await reporter.report_last()
