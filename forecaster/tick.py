"""The spine: read, decide, write. One function per tick of a service: refresh the forecast, decide the floor, observe.

All that is argued about is decided by pure functions elsewhere (`forecast.models`, `scaling.plan`); here is the I/O
around them, and what happens when it fails. A tick that cannot reach the store raises its StoreError: nothing is
changed, the floor stays, and the next tick tries again. When ticks run is the scheduler's business.
"""

from __future__ import annotations

import re
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import structlog

from collector.catalog import Scaling, Service
from collector.clickhouse import Client, StoreRefusedError, StoreUnavailableError
from collector.record import store as record
from forecaster import store
from forecaster.actuators.contract import Actuator, ActuatorUnavailable, FloorRefused
from forecaster.calendar.demand import forecast_with_calendar
from forecaster.calendar.reader import FeedTexts, calendar_of
from forecaster.calendar.types import Calendar
from forecaster.calendar.wrapper import Remembered
from forecaster.forecast.demand import DemandError, clean_series
from forecaster.forecast.models import LearntHours, history_to_read, train_ahead
from forecaster.forecast.types import DemandSeries, Forecast, NoForecast
from forecaster.history import HistoryCache, read_known
from forecaster.instants import floored
from forecaster.scaling.capacity import capacity_in_use, declared_capacity
from forecaster.scaling.plan import decide
from forecaster.scaling.types import Capacity, Decision, HpaState, Situation
from forecaster.settings import Settings
from tidegauge.clock import Clock

_CAPACITIES_LOOKED_AT = 50
_NEWEST = timedelta(minutes=10)
_STATE_AT_LEAST_EVERY = timedelta(minutes=1)
_MOST_UNSAVED = 1000
_log = structlog.get_logger("forecaster")


@dataclass(frozen=True, slots=True)
class World:
    """What the ticks touch, made once by the composition root."""

    client: Client
    clock: Clock
    actuator: Actuator
    settings: Settings
    feeds: FeedTexts | None = None  # of iCalendar; None: they are not read


@dataclass(slots=True)
class Memory:
    """What the ticks of one service remember.

    All of it can be read again after a kill -9, but for an audit row that the store would not take yet (`unsaved`).
    """

    history: HistoryCache = field(default_factory=HistoryCache)
    loaded: bool = False
    learnt: LearntHours = field(default_factory=LearntHours)  # forecasts are made often, trained twice a day
    series: DemandSeries | None = None  # what the forecast was made from
    forecast: Forecast | NoForecast | None = None
    last: store.StoredDecision | None = None  # the newest that was worth storing
    newest: store.StoredDecision | None = None
    changes: store.LastChanges = field(default_factory=store.LastChanges)
    unsaved: list[store.StoredDecision] = field(default_factory=list)
    state: store.ReplicaState | None = None
    capacity: Capacity | None = None
    remembered: Remembered = field(default_factory=Remembered)  # past events, forecast as they were
    loading: threading.Lock = field(default_factory=threading.Lock)


@dataclass(frozen=True, slots=True)
class Decided:
    """A tick's whole answer: what was seen, what was decided, and what became of it."""

    situation: Situation
    stored: store.StoredDecision


def refresh_once(world: World, service: Service, memory: Memory) -> Forecast | NoForecast:
    """Forecast from the newest complete step and store it, when that is a refresh ahead of the last forecast's origin.

    So it may be called as often as one likes: what there is to do follows from what the record holds.
    Raises StoreError: then the forecast in use is the one before.
    """
    now = world.clock.now()
    load(world, service, memory)
    known = read_known(world.client, service.name, finest=world.settings.step)
    if known is None:
        memory.forecast = NoForecast(service.name, now, "no demand has been recorded or imported yet")
        return memory.forecast
    # Events are on their way for a moment of real time: a step is complete only when that has passed after its end.
    settled = now - world.settings.settle * world.clock.speed_now()
    origin = floored(min(settled, known.end), known.step)
    last = memory.forecast
    if isinstance(last, Forecast) and timedelta(0) <= origin - last.origin < world.settings.refresh:
        return last
    since = origin - max(world.settings.history, history_to_read(known.step))
    rows = memory.history.read(world.client, service.name, since=since, until=origin, step=known.step)
    try:
        series = clean_series(service.name, rows, step=known.step, until=origin)
    except DemandError as error:
        memory.forecast = NoForecast(service.name, origin, str(error))
        return memory.forecast
    memory.series = series
    levels = quantiles_for(world.settings, service.scaling)
    forecast = forecast_with_calendar(
        series,
        origin=origin,
        horizon=world.settings.horizon,
        quantiles=levels,
        calendar=_calendar(world, service, since=since, until=origin + world.settings.horizon),
        learnt=memory.learnt,
        remembered=memory.remembered,
    )
    if isinstance(forecast, Forecast):
        store.write_forecast(world.client, forecast, created_at=now)
    memory.forecast = forecast
    return forecast


def train_once(memory: Memory) -> None:
    """Train beside the forecasts what they will need within the hour. Does nothing twice, and nothing before the first.

    For a thread of its own: it takes seconds of a CPU, and a forecast must not wait for it.
    """
    if isinstance(memory.forecast, Forecast) and memory.series is not None:
        train_ahead(memory.series, origin=memory.forecast.origin, learnt=memory.learnt)


def _calendar(world: World, service: Service, *, since: datetime, until: datetime) -> Calendar | None:
    if world.feeds is None:
        return None
    markers = record.read_markers(world.client, service.name, since=since, until=world.clock.now())
    calendar, amiss = calendar_of(
        service.calendar, timezone=service.timezone, since=since, until=until, feeds=world.feeds, markers=markers
    )
    for why in amiss:
        _log.warning("a calendar could not be read", service=service.name, why=why)
    return calendar


def decide_once(
    world: World, service: Service, memory: Memory, *, decide: Callable[[Situation], Decision] = decide
) -> Decided:
    """Look, decide, carry it out through the actuator when the decision says so, and keep the audit row.

    Raises StoreError before anything was changed; ValueError for a service without a scaling target.
    """
    load(world, service, memory)
    _save(world, memory)
    situation = look(world, service, memory)
    decision = decide(situation)
    applied, error = _carry_out(world.actuator, situation, decision)
    if decision.apply:  # also when the answer was lost: the floor may have changed, and the cool-down must hold
        memory.changes = _changed(memory.changes, decision)
    stored = _stored(situation, decision, applied, error)
    memory.newest = stored
    if is_worth_storing(stored, memory.last, heartbeat=world.settings.heartbeat):
        memory.last = stored
        memory.unsaved = [*memory.unsaved[-_MOST_UNSAVED:], stored]
        try:
            _save(world, memory)
        except StoreUnavailableError:
            if not applied:
                raise
            # The floor is changed: the row is kept and written by the next tick, before it decides anything.
    return Decided(situation, stored)


def decision_is_due(world: World, memory: Memory) -> bool:
    """Say whether there is something to decide on: a new forecast, a failed change, or a refresh gone by without one.

    One decision per forecast is what the policy backtest judges; deciding more often would be another policy.
    """
    newest = memory.newest
    if newest is None or newest.error is not None:
        return True
    origin = memory.forecast.origin if isinstance(memory.forecast, Forecast) else None
    return origin != newest.forecast_origin or world.clock.now() - newest.decision.at >= world.settings.refresh


def observe_once(world: World, service: Service, memory: Memory) -> store.ReplicaState | None:
    """Store what the autoscaler is at, when it has changed or a minute has passed; return what was stored.

    Raises ActuatorUnavailable, StoreError.
    """
    scaling = scaling_of(service)
    hpa = world.actuator.read(scaling.name)
    capacity = memory.capacity or declared_capacity(scaling, speed=world.clock.speed_now())
    seen = store.ReplicaState(service.name, world.clock.now(), hpa, capacity.low_rps)
    last = memory.state
    if last is not None and replace(seen, at=last.at) == last and seen.at - last.at < _STATE_AT_LEAST_EVERY:
        return None
    store.write_replica_states(world.client, [seen])
    memory.state = seen
    return seen


def look(world: World, service: Service, memory: Memory) -> Situation:
    """Return everything that a decision may look at, now. Reads only. Raises StoreError."""
    scaling = scaling_of(service)
    now = world.clock.now()
    known = record.read_demand_span(world.client, service.name)
    backtest = store.read_latest_backtest(world.client, service.name)
    speed = world.clock.speed_now()
    running = running_version(world.client, service.name, now=now, speed=speed)
    measured = record.read_capacities(world.client, service.name, limit=_CAPACITIES_LOOKED_AT)
    memory.capacity = capacity_in_use(scaling, measured, running=running, speed=speed, now=now)
    return Situation(
        now=now,
        service=service.name,
        scaling=scaling,
        mode=scaling.mode,
        forecast=memory.forecast or NoForecast(service.name, now, "no forecast has been made yet"),
        capacity=memory.capacity,
        hpa=_read_hpa(world.actuator, scaling.name),
        metric_at=min(known[1], now) if known else None,
        last_lowered_at=memory.changes.lowered_at,
        last_raised_at=memory.changes.raised_at,
        backtest_passed=backtest is not None and backtest.passed,
        refresh=world.settings.refresh,
    )


def load(world: World, service: Service, memory: Memory) -> None:
    """Read back what an earlier life of this process left in the store; once. Raises StoreError."""
    with memory.loading:  # refresh and decide run in threads of their own
        if memory.loaded:
            return
        now = world.clock.now()
        forecast = store.read_latest_forecast(world.client, service.name, at=now)
        decisions = store.read_decisions(world.client, service.name, until=now, limit=1)
        memory.changes = store.read_last_changes(world.client, service.name, until=now)
        memory.forecast = memory.forecast or forecast
        memory.last = decisions[0] if decisions else None
        memory.loaded = True


def running_version(client: Client, service: str, *, now: datetime, speed: float) -> str | None:
    """Return the version that most of the newest requests were of; None when the record names none. Raises StoreError.

    The newest: ten minutes of the clock in use, or half a minute of real time where that is longer.
    """
    span = max(_NEWEST, timedelta(seconds=30 * speed))
    seen = record.read_red_totals(client, service, since=now - span, until=now, by="version")
    counted = zip(seen["requests"].tolist(), seen["version"].tolist(), strict=True) if len(seen) else ()
    return max(((requests, version) for requests, version in counted if version), default=(0, None))[1]


def is_worth_storing(stored: store.StoredDecision, last: store.StoredDecision | None, *, heartbeat: timedelta) -> bool:
    """Say whether a decision adds to the audit: it changed the floor, or says something else than the last one stored.

    Ticks come every clock minute and mostly repeat themselves; a row for each would bury the changes. But silence must
    not look like health, so a repetition is stored too when the last row is `heartbeat` old.
    """
    if last is None or stored.applied or _gist(stored) != _gist(last):
        return True
    return not timedelta(0) <= stored.decision.at - last.decision.at < heartbeat


def _gist(stored: store.StoredDecision) -> tuple[object, ...]:
    """Return what a decision says, but for the figures in its reasons, which differ at every tick."""
    decision = stored.decision
    texts = (*decision.reasons, stored.error or "")
    words = tuple(re.sub(r"\d[\d.,:TZ-]*", "#", text) for text in texts)
    return decision.mode, decision.outcome, decision.floor_before, decision.floor_after, words


def quantiles_for(settings: Settings, scaling: Scaling | None) -> tuple[float, ...]:
    """Return the levels to forecast: those asked for, and the one that the service is scaled at."""
    return tuple(sorted({*settings.quantiles, *((scaling.quantile,) if scaling else ())}))


def scaling_of(service: Service) -> Scaling:
    """Return the scaling target of a service; raises ValueError naming a service without one."""
    if service.scaling is None:
        raise ValueError(f"service {service.name!r}: expected a `scaling` block in the configuration, got none")
    return service.scaling


def _changed(changes: store.LastChanges, decision: Decision) -> store.LastChanges:
    if decision.floor_after > decision.floor_before:
        return replace(changes, raised_at=decision.at)
    return replace(changes, lowered_at=decision.at) if decision.floor_after < decision.floor_before else changes


def _read_hpa(actuator: Actuator, name: str) -> HpaState | None:
    try:
        return actuator.read(name)
    except ActuatorUnavailable:
        return None  # the decision says so: no_plan, and why


def _carry_out(actuator: Actuator, situation: Situation, decision: Decision) -> tuple[bool, str | None]:
    if not decision.apply:
        return False, None
    try:
        actuator.write_floor(situation.scaling.name, decision.floor_after)
    except (ActuatorUnavailable, FloorRefused) as error:
        return False, str(error)
    return True, None


def _stored(situation: Situation, decision: Decision, applied: bool, error: str | None) -> store.StoredDecision:
    forecast = situation.forecast
    known = isinstance(forecast, Forecast)
    return store.StoredDecision(
        id=str(uuid.uuid4()),
        decision=decision,
        applied=applied,
        error=error,
        forecast_origin=forecast.origin if known else None,
        model=forecast.model if isinstance(forecast, Forecast) else None,
        quantile=situation.scaling.quantile,
        capacity=situation.capacity,
    )


def _save(world: World, memory: Memory) -> None:
    while memory.unsaved:
        oldest, *later = memory.unsaved
        try:
            store.write_decision(world.client, oldest)
        except StoreRefusedError:
            memory.unsaved = later  # it will never be taken: the error is told once, and later rows get their turn
            raise
        memory.unsaved = later
