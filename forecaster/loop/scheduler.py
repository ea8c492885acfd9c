"""When the ticks run: APScheduler, with intervals in time of the clock in use.

A tick that is late or failed is not caught up: what there is to do follows from watermarks in the store, so the next
run does it. While a demo is played its clock runs faster and the timers with it; when it has caught up with real time
they are set anew. What a tick does is in `tick`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

import structlog
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger

from collector.catalog import Service
from collector.clickhouse import StoreError
from forecaster.actuators.contract import ActuatorUnavailable
from forecaster.forecast.types import NoForecast
from forecaster.loop.drift_alert import AlertsUnavailableError
from forecaster.loop.leadership import Alone, Leads
from forecaster.loop.notices import Notice, conditions_of
from forecaster.loop.outcomes import follow_once
from forecaster.loop.tick import (
    Decided,
    decide_once,
    decision_is_due,
    observe_once,
    overtaken_now,
    refresh_once,
    train_once,
)
from forecaster.loop.world import Memory, World
from forecaster.metrics import ForecasterMetrics
from forecaster.savings import weigh_once
from forecaster.scaling.present import LOOKED_EVERY
from forecaster.scores.drift import Drift
from forecaster.scores.scoring import judge, rescore_once, score_once
from tidegauge.clock import Clock

_WEIGHED_EVERY = timedelta(hours=1)  # what there is to do follows from the days that lack a row
_RESCORED_EVERY = timedelta(hours=1)  # truths that changed late are rare, and found whenever they are looked for
_LEASE_EVERY_SECONDS = 1.0  # real; the lease itself asks the store less often
_log = structlog.get_logger("forecaster")


class Tell(Protocol):
    """Tells people in which conditions a service is."""

    def __call__(self, service: str, notices: Sequence[Notice], *, now: datetime) -> None:
        """Tell what has begun, changed or ended. Raises AlertsUnavailableError."""


def _tell_nobody(service: str, notices: Sequence[Notice], *, now: datetime) -> None:
    """Where there is nobody to tell."""


@dataclass(frozen=True, slots=True)
class Tick:
    """A kind of tick: how often (clock time), never faster than `least_real_seconds`, and what it does to a service."""

    name: str
    every: timedelta
    least_real_seconds: float
    run: Callable[[Service, Memory], None]


class Ticker:
    """Runs the ticks of all services, each kind in a thread of its own, until it is stopped; while it leads.

    tell_drift: posts to people whether a service's forecast has drifted, tell: what decisions say of a service; both
    raise AlertsUnavailableError.
    """

    def __init__(
        self,
        world: World,
        services: Sequence[Service],
        metrics: ForecasterMetrics,
        *,
        lease: Leads | None = None,
        tell_drift: Callable[[str, Drift], None] = lambda *_: None,
        tell: Tell = _tell_nobody,
    ) -> None:
        self._world, self._lease, self._tell_drift, self._tell = world, lease or Alone(), tell_drift, tell
        self._leads = False
        self._metrics = metrics
        self.memories = {service.name: Memory() for service in services}
        self._services = tuple(services)
        self._ticks = {tick.name: tick for tick in self._kinds()}
        self._under_way = {name: threading.Lock() for name in self._ticks}
        self._stopping = threading.Event()
        self._speed = world.clock.speed_now()
        self._held: dict[tuple[str, str], str] = {}
        # Its warnings say that a tick is still running when the next is due: here that is the design, not news.
        logging.getLogger("apscheduler").setLevel(logging.ERROR)
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            executors={"default": ThreadPoolExecutor(len(self._ticks) + 1)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )

    def start(self) -> None:
        """Run every kind of tick now, or as soon as this forecaster leads, and then at its interval."""
        self._look_who_leads()
        self._scheduler.add_job(
            self._look_who_leads, IntervalTrigger(seconds=_LEASE_EVERY_SECONDS, timezone=UTC), id="lease"
        )
        for tick in self._ticks.values():
            self._scheduler.add_job(
                self.run_tick, self._trigger(tick), args=[tick.name], id=tick.name, next_run_time=datetime.now(UTC)
            )
        self._scheduler.start()

    def stop(self) -> None:
        """Begin no further tick, and return when those under way are done."""
        self._stopping.set()
        if self._scheduler.running:
            # Not wait=True: it would wait holding the lock that a tick needs to set its timers anew.
            self._scheduler.shutdown(wait=False)
        for under_way in self._under_way.values():
            with under_way:
                pass

    def run_tick(self, name: str) -> None:
        """Run one kind of tick for every service; one that fails is logged, counted, and hinders no other."""
        with self._under_way[name]:
            if not self._stopping.is_set() and self._lease.holds():
                self._run_for_all(self._ticks[name])

    def _run_for_all(self, tick: Tick) -> None:
        name = tick.name
        for service in self._services:
            try:
                with self._metrics.timed(name):
                    tick.run(service, self.memories[service.name])
            except (StoreError, ActuatorUnavailable) as error:
                self._tell_held(name, service, str(error).splitlines()[0])
            except Exception:  # noqa: BLE001 (the loop must outlive a bug in one tick; it is logged and counted)
                _log.exception("tick failed", tick=name, service=service.name)
            else:
                self._tell_held(name, service, None)
        self._follow_the_clock()

    def intervals(self) -> dict[str, timedelta]:
        """Return the real time between two runs of each kind of tick, as it is set now."""
        return {job.id: job.trigger.interval for job in self._scheduler.get_jobs() if job.id in self._ticks}

    def _look_who_leads(self) -> None:
        """Renew the claim to lead; who begins to lead forgets what it knew before, and runs its ticks at once."""
        try:
            leads = self._lease.leads()
        except StoreError as error:
            _log.debug("the lease could not be renewed", why=str(error).splitlines()[0])
            leads = False
        self._metrics.saw_leadership(leads)
        if leads and not self._leads:
            # Another may have acted since; what the store was not told yet is still to be told.
            self.memories.update({name: Memory(unsaved=one.unsaved) for name, one in self.memories.items()})
            for job in self._scheduler.get_jobs():
                if job.id in self._ticks:
                    with suppress(JobLookupError):
                        job.modify(next_run_time=datetime.now(UTC))
        self._leads = leads

    def _tell_held(self, tick: str, service: Service, why: str | None) -> None:
        """Log why a tick could not work, once and not at every run, and that it works again."""
        before = self._held.pop((tick, service.name), None)
        if why is not None:
            self._held[tick, service.name] = why
            if before is None:
                _log.warning("held", tick=tick, service=service.name, why=why)
        elif before is not None:
            _log.info("goes on", tick=tick, service=service.name, after=before)

    def _follow_the_clock(self) -> None:
        speed = self._world.clock.speed_now()
        if speed == self._speed:
            return
        _log.info("the clock has changed its speed", before=self._speed, after=speed)
        self._speed = speed
        with suppress(JobLookupError):  # stopped meanwhile
            for tick in self._ticks.values():
                self._scheduler.reschedule_job(tick.name, trigger=self._trigger(tick))

    def _trigger(self, tick: Tick) -> IntervalTrigger:
        return IntervalTrigger(seconds=interval_seconds(tick, self._world.clock), timezone=UTC)

    def _kinds(self) -> tuple[Tick, ...]:
        settings = self._world.settings
        return (
            # Asked more often than it is due, since it is due when the record has a new step, not when a timer says.
            Tick("plan", settings.decide, 0.5, self._plan),
            Tick("watch", LOOKED_EVERY, 0.5, self._watch),
            Tick("train", settings.decide, 0.5, lambda _, memory: train_once(memory)),
            Tick("observe", settings.observe, 0.5, self._observe),
            Tick("score", settings.score, 5.0, self._score),
            Tick("rescore", _RESCORED_EVERY, 5.0, self._rescore),
            Tick("follow", settings.decide, 1.0, self._follow),
            Tick("weigh", _WEIGHED_EVERY, 5.0, self._weigh),
        )

    def _plan(self, service: Service, memory: Memory) -> None:
        """Forecast, and decide at once on what is new: every second between the two is taken from the lead."""
        forecast = refresh_once(self._world, service, memory)
        self._tell_held("forecast", service, forecast.reason if isinstance(forecast, NoForecast) else None)
        if service.scaling is not None and decision_is_due(self._world, memory):
            self._decide(service, memory)

    def _watch(self, service: Service, memory: Memory) -> None:
        """Decide between two forecasts, where what has just come does not wait for the next one."""
        if service.scaling is not None and overtaken_now(self._world, service, memory):
            self._decide(service, memory)

    def _decide(self, service: Service, memory: Memory) -> None:
        decided = decide_once(self._world, service, memory)
        self._metrics.saw_decision(decided)
        self._tell_people(service, memory, decided)
        decision = decided.stored.decision
        if decision.apply:
            _log.info(
                "floor", service=service.name, before=decision.floor_before, after=decision.floor_after,
                applied=decided.stored.applied, error=decided.stored.error, reasons=list(decision.reasons),
            )  # fmt: skip

    def _score(self, service: Service, memory: Memory) -> None:  # noqa: ARG002 (a tick's shape)
        """Score what has come true, and tell people when the forecast is no longer what it was."""
        world = self._world
        score_once(world.client, service, clock=world.clock, settings=world.settings)
        summaries, drift = judge(world.client, service.name, now=world.clock.now())
        self._metrics.saw_scores(service.name, summaries, drift)
        try:
            self._tell_drift(service.name, drift)
        except AlertsUnavailableError as error:
            self._tell_held("alert", service, str(error))
        else:
            self._tell_held("alert", service, None)

    def _rescore(self, service: Service, memory: Memory) -> None:  # noqa: ARG002 (a tick's shape)
        again = rescore_once(self._world.client, service, clock=self._world.clock)
        if again:
            _log.info("scored again: what they were scored by has changed", service=service.name, scores=again)

    def _tell_people(self, service: Service, memory: Memory, decided: Decided) -> None:
        """Post what the decision has to say to people; when the collector is away, the next decision says it again."""
        situation, stored = decided.situation, decided.stored
        notices = conditions_of(situation, stored.decision, memory.slos, decision_id=stored.id)
        try:
            self._tell(service.name, notices, now=situation.now)
        except AlertsUnavailableError as error:
            self._tell_held("notices", service, str(error))
        else:
            self._tell_held("notices", service, None)

    def _follow(self, service: Service, memory: Memory) -> None:  # noqa: ARG002 (a tick's shape)
        if service.scaling is not None:
            follow_once(self._world, service)

    def _weigh(self, service: Service, memory: Memory) -> None:  # noqa: ARG002 (a tick's shape)
        if service.scaling is not None:
            weigh_once(self._world, service)

    def _observe(self, service: Service, memory: Memory) -> None:
        if service.scaling is None:
            return
        state = observe_once(self._world, service, memory)
        if state is not None:
            self._metrics.saw_state(state)


def interval_seconds(tick: Tick, clock: Clock) -> float:
    """Return the real seconds between two runs of a tick at the clock's present speed."""
    return max(tick.least_real_seconds, clock.real_seconds(tick.every.total_seconds()))
