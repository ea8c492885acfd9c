"""The demo, told: history in, proof of the policy, the stack on the demo's clock, the window, what came of it.

What is played is `story`'s, how parts run the supervisor's, what came of it `judge`'s. The demo keeps its state in a
directory of its own and makes it anew each time: a record of two demos would be a record of neither.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import yaml

from collector.catalog import Catalog, read_catalog
from collector.clickhouse import Client, connect, migrate, settings_from_environment
from collector.record import store as record
from collector.sources.files import ImportedSeries, import_series
from forecaster import store as decisions
from forecaster.judging.check import BacktestRequest, run_policy_backtest
from forecaster.settings import settings_from_environment as settings_from
from tidegauge.clock import Clock
from tidegauge.demo.judge import Judge
from tidegauge.demo.patience import patiently
from tidegauge.demo.screen import Progress
from tidegauge.demo.source import read_rates
from tidegauge.demo.story import Story, tell_story
from tidegauge.part import StackError
from tidegauge.ports import check_ports
from tidegauge.settings import StackSettings, common_environment, read_secrets
from tidegauge.stack import StackOf
from tidegauge.supervisor import Supervisor

SERVICE = "reference-app"
PREPARATION = timedelta(seconds=45)  # about what comes before the window; only where "now" is depends on it
WARM_UP_SECONDS = 15.0  # real time between the stack's start and the window's: the floor is set before load comes
KEPT_HISTORY = timedelta(days=70)
SEED = 1998
KEEP = {"lock", "stack.json", "logs"}
PROOF = timedelta(days=1)  # how much of the history the policy is replayed on: one forecast per minute of it
# A ramp of half an hour is half a minute here: so a forecast and a decision every minute of the demo, which looks no
# further ahead than its window. What is set in the environment wins.
FORECASTER = {
    "TIDEGAUGE_FORECAST_STEP": "1m",
    "TIDEGAUGE_FORECAST_REFRESH": "1m",
    "TIDEGAUGE_FORECAST_HORIZON": "8h",
}

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """minutes: real minutes that the window is played; peak_rps: its highest rate, in requests per real second."""

    trace: Path | None
    minutes: float
    speed: float
    headless: bool
    out: Path
    peak_rps: float

    @property
    def length(self) -> timedelta:
        """How much of the demo's time the window spans."""
        return timedelta(minutes=self.minutes) * self.speed


async def play_demo(settings: StackSettings, options: DemoOptions, progress: Progress) -> int:
    """Play the demo and return the exit code. Raises StackError, StoryError and the import's own errors."""
    rates, source = read_rates(options.trace, ends_at=datetime.now(UTC), seed=SEED)
    ends_at = datetime.now(UTC) + PREPARATION + timedelta(minutes=options.minutes)
    story = tell_story(
        rates, source=source, length=options.length, peak_rps=options.peak_rps / options.speed, ends_at=ends_at
    )
    progress.say(f"Traffic: {story.source}. Its peak becomes {options.peak_rps:g} requests per real second.")
    environment = {**FORECASTER, **os.environ}
    async with Supervisor(settings.data, environment=environment, on_event=progress.hear) as supervisor:
        supervisor.listen_to_signals()
        demo = _Demo(settings, options, story, supervisor, progress)
        if not await supervisor.unless_stopped(demo.prepare()):
            return 130
        if not await supervisor.unless_stopped(demo.run_window()):
            return 130
        if not await supervisor.unless_stopped(demo.finish()):
            return 130
        if not options.headless:
            progress.say("The window has been played; the stack goes on in real time. Ctrl-C stops everything.")
            await supervisor.stop_asked.wait()
        progress.say("Stopping.")
    return 0 if demo.stored > 0 else 1


class _StoppingError(Exception):
    """The stack ends: whatever a thread is at, it gives up, since the process waits for its threads."""


class _Demo:
    """One demo's steps over one supervisor."""

    def __init__(
        self,
        settings: StackSettings,
        options: DemoOptions,
        story: Story,
        supervisor: Supervisor,
        progress: Progress,
    ) -> None:
        self._options, self._story, self._supervisor, self._progress = options, story, supervisor, progress
        self._settings = settings.model_copy(update={"config": settings.data / "tidegauge.yaml"})
        self._shipped_config = settings.config
        self._history_rows = 0
        self._clock = Clock()
        self._forecaster = settings_from(  # as the forecaster itself will read them
            {**FORECASTER, **os.environ, "TIDEGAUGE_CONFIG": str(self._settings.config)}
        )
        self.stored = 0

    async def prepare(self) -> None:
        """Make the state anew, start the servers, import the history and put the policy to the proof."""
        self._clear()
        _write_acting_config(self._shipped_config, self._settings.config)
        stack = self._stack(Clock())
        check_ports(stack.everything(with_edge=False))
        servers = [stack.store(), *stack.databases(), stack.prepare()]
        self._progress.stage("Starting the store and the databases", parts=servers)
        await self._supervisor.start(servers)
        await asyncio.to_thread(self._import_and_prove)

    def _clear(self) -> None:
        for path in self._settings.data.iterdir():
            if path.name not in KEEP:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()

    def _stack(self, clock: Clock) -> StackOf:
        return StackOf(self._settings, read_secrets(self._settings.data), clock)

    def _client(self) -> Client:
        environment = {**os.environ, **common_environment(self._settings, self._clock)}
        return connect(settings_from_environment(environment))

    def _patiently(self, work: Callable[[], _Answer]) -> _Answer:
        return patiently(work, stopping=self._supervisor.stop_asked.is_set)

    def _import_and_prove(self) -> None:
        client = self._patiently(self._client)
        try:
            self._patiently(lambda: self._import(client))
            self._patiently(lambda: self._prove(client))
        finally:
            client.close()

    def _import(self, client: Client) -> None:
        for owner in (record, decisions):
            migrate(client, owner.SCHEMA_FOLDER, owner=owner.SCHEMA_OWNER)
        story = self._story
        history = story.history[story.history["timestamp"] >= story.window_from - KEPT_HISTORY]
        frame = history.rename(columns={"timestamp": "ds"}).reset_index(drop=True)
        series = ImportedSeries(story.step, frame, gaps=0, duplicates=0, missing_steps=0)
        with self._progress.bar(f"Importing {len(frame):,} rows of history") as tell:
            self._history_rows = import_series(
                client,
                SERVICE,
                series,
                source=f"demo:{Path(story.source).name}",
                now=datetime.now(UTC),
                on_progress=lambda done, total: tell(done / total),
            )

    def _prove(self, client: Client) -> None:
        request = BacktestRequest(self._forecaster, speed=self._options.speed, window=PROOF)
        service = self._catalog().service(SERVICE)
        with self._progress.bar("Backtest of the policy on the imported history") as tell:

            def told(share: float) -> None:
                if self._supervisor.stop_asked.is_set():
                    raise _StoppingError
                tell(share)

            verdict = run_policy_backtest(client, service, now=self._story.window_from, request=request, progress=told)
        answer = "passed" if verdict.passed else "NOT passed, the forecaster will refuse to act"
        self._progress.say(f"Policy backtest {answer}: {verdict.reason}")

    def _catalog(self) -> Catalog:
        return read_catalog(self._settings.config)

    async def run_window(self) -> None:
        """Start everything on the demo's clock and wait until the window has been played."""
        story, options = self._story, self._options
        self._clock = Clock(story.window_from.timestamp(), time.time() + WARM_UP_SECONDS, options.speed)
        curve = self._settings.data / "demo-curve.csv"
        await asyncio.to_thread(_write_curve, story, curve)
        stack = self._stack(self._clock)
        live = [stack.collector(), stack.cluster(), stack.jobs(), stack.forecaster(), stack.dashboard()]
        self._progress.stage("Starting the platform on the demo's clock", parts=live)
        await self._supervisor.start(live)
        arguments = ["--curve", str(curve), "--seed", str(SEED), "--run-id", "demo"]
        await self._supervisor.start([stack.load_generator(arguments)])
        self._progress.say(f"Playing {options.length} from {story.window_from:%H:%M} to {story.window_to:%H:%M} UTC")
        await self._progress.follow(self._settings, self._clock, story)

    async def finish(self) -> None:
        """Stop the load if nobody is watching, let the record settle, and write the summary."""
        if self._options.headless:
            await self._supervisor.stop("load")
        judge = Judge(
            client=await asyncio.to_thread(self._patiently, self._client),
            service=self._catalog().service(SERVICE),
            story=self._story,
            settings=self._settings,
            forecaster=self._forecaster,
            speed=self._options.speed,
            history_rows=self._history_rows,
        )
        summary = await asyncio.to_thread(self._patiently, lambda: judge.summarise(settled=self._options.headless))
        self._options.out.mkdir(parents=True, exist_ok=True)
        path = self._options.out / "summary.json"
        path.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
        self._progress.outcome(summary, path)
        self.stored = summary["events"]["stored"]


def _write_acting_config(shipped: Path, path: Path) -> None:
    """Write the shipped configuration with the reference app in mode act."""
    document = yaml.safe_load(shipped.read_text(encoding="utf-8"))
    try:
        document["services"][SERVICE]["scaling"]["mode"] = "act"
    except (KeyError, TypeError):
        raise StackError(f"{shipped}: the demo needs the service {SERVICE} with its scaling") from None
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")


def _write_curve(story: Story, path: Path) -> None:
    """Write what the load generator plays: `timestamp,rps` by the demo's clock."""
    frame = story.curve.assign(timestamp=story.curve["timestamp"].dt.strftime("%Y-%m-%dT%H:%M:%SZ"))
    frame.to_csv(path, index=False)
