"""Runs that somebody else starts, watches and stops: one at a time, within the limits, each ending by itself.

Whoever asks names a scenario that is shipped or lies in a folder of the operator's, never a path: an API that read any
file, or loaded any Python file, would be somebody's way in.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from loadgen.safety import Limits, check_scenario, check_target
from loadgen.scenario.file import SHIPPED, Scenario, read_scenario
from loadgen.scenario.recorded_run import play_recorded, read_demand_over_http
from loadgen.scenario.run import Progress, RunPlan, RunResult
from loadgen.scenario.summary import progress_json, result_json

log = logging.getLogger(__name__)

MOST_REMEMBERED = 50
PlayRun = Callable[..., Awaitable[RunResult]]


class DeskError(ValueError):
    """The run can't be started: says what was expected and what came."""


class BusyError(RuntimeError):
    """Another run is under way: two would measure each other."""


@dataclass(slots=True)
class Run:
    """A run of this process. summary: once it is over; error: when it could not be played."""

    run_id: str
    scenario: str
    service: str
    target: str
    asked_by: str
    started_at: datetime
    stop: asyncio.Event
    state: str = "starting"
    progress: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] | None = None
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it for whoever watches. state: starting, running, stopping, finished, failed."""
        return {
            "run_id": self.run_id, "scenario": self.scenario, "service": self.service, "target": self.target,
            "asked_by": self.asked_by, "started_at": self.started_at.isoformat(), "state": self.state,
            "progress": self.progress, "summary": self.summary, "error": self.error,
        }  # fmt: skip


@dataclass(slots=True)
class Desk:
    """Takes orders. scenarios: a folder of the operator's, or none. out: where runs are kept."""

    limits: Limits
    out: Path
    scenarios: Path | None = None
    collector_url: str | None = None
    play: PlayRun = play_recorded
    runs: dict[str, Run] = field(default_factory=dict)
    _playing: asyncio.Task[None] | None = None

    def names(self) -> list[str]:
        """Return the scenarios that can be asked for."""
        return sorted(self._files())

    def _files(self) -> dict[str, Path]:
        folders = [SHIPPED, *([self.scenarios] if self.scenarios else [])]
        return {path.stem: path for folder in folders for path in sorted(folder.glob("*.yaml"))}

    @property
    def current(self) -> Run | None:
        """Return the run under way."""
        busy = self._playing is not None and not self._playing.done()
        return next(reversed(self.runs.values())) if busy and self.runs else None

    def start(self, name: str, *, target: str | None = None, seed: int | None = None, asked_by: str = "api") -> Run:
        """Start a run and return at once. Raises DeskError, BusyError, and what a bad scenario or target raises."""
        if self.current is not None:
            raise BusyError(f"expected no run under way, got {self.current.run_id}")
        path = self._files().get(name)
        if path is None:
            raise DeskError(f"scenario: expected one of {', '.join(self.names())}; got {name!r}")
        url = self.collector_url
        demand = None if url is None else (lambda spec: read_demand_over_http(url, spec))
        scenario = read_scenario(path, read_demand=demand)
        where = check_target(target or scenario.target or "", self.limits)
        check_scenario(scenario, self.limits)
        run_id = f"{scenario.name}-{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"
        plan = RunPlan(scenario, where, run_id, scenario.seed if seed is None else seed, limits=self.limits)
        run = Run(run_id, scenario.name, scenario.service, where.url, asked_by, datetime.now(UTC), asyncio.Event())
        self.runs[run_id] = run
        while len(self.runs) > MOST_REMEMBERED:
            del self.runs[next(iter(self.runs))]
        self._playing = asyncio.create_task(self._play(run, plan, scenario))
        return run

    async def _play(self, run: Run, plan: RunPlan, scenario: Scenario) -> None:
        def show(progress: Progress) -> None:
            run.state = "stopping" if run.stop.is_set() else "running"
            run.progress = progress_json(progress)

        try:
            result = await self.play(
                plan, run.stop, out=self.out / plan.run_id, collector_url=self.collector_url, show=show
            )
        except (RuntimeError, OSError, ValueError) as error:
            log.exception("the run of %s failed", scenario.name)
            run.state, run.error = "failed", str(error)
        else:
            run.state, run.summary = "finished", result_json(result)

    def stop(self, run_id: str) -> Run | None:
        """Tell a run to drain and end; return it, None when there is none of that name."""
        run = self.runs.get(run_id)
        if run is not None:
            run.stop.set()
        return run

    async def close(self) -> None:
        """Drain what is under way; its summary is written."""
        if self.current is not None:
            self.current.stop.set()
        if self._playing is not None:
            with suppress(asyncio.CancelledError):
                await self._playing
