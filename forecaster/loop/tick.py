"""The spine: read, decide, write. One function per tick of a service: refresh the forecast, decide the floor, observe.

All that is argued about is decided by pure functions elsewhere (`forecast.models`, `scaling.plan`); here is the I/O
around them, and what happens when it fails. A tick that cannot reach the store raises its StoreError: nothing is
changed, the floor stays, and the next tick tries again. What a decision looks at is read in `look`, what is kept of it
in `audit`. When ticks run is the scheduler's business.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog

from collector.catalog import Service
from collector.clickhouse import StoreUnavailableError
from collector.record import store as record
from forecaster import store
from forecaster.actuators.contract import Actuator, ActuatorUnavailable, FloorRefused
from forecaster.actuators.reverts import reverts_in
from forecaster.audit import BY_ITSELF, By, is_worth_storing, patch_of, rows_before, save, stored_of
from forecaster.calendar.demand import forecast_with_calendar
from forecaster.calendar.reader import calendar_of
from forecaster.calendar.types import Calendar
from forecaster.forecast.demand import clean_series
from forecaster.forecast.models import forget_what_is_past, history_to_read, train_ahead
from forecaster.forecast.types import Forecast, NoForecast
from forecaster.forecast.wall_clock import zone_for
from forecaster.history import NOTHING_KNOWN, read_known
from forecaster.loop.look import look, running_version
from forecaster.loop.world import Memory, World, scaling_of
from forecaster.present import read_demand_now
from forecaster.scaling.capacity import declared_capacity
from forecaster.scaling.plan import decide
from forecaster.scaling.present import overtaken
from forecaster.scaling.types import Decision, HpaState, Situation
from forecaster.scores.adapting import Asked, known_by
from forecaster.scores.levels import quantiles_for, read_asked
from forecaster.store.instants import floored
from forecaster.store.orders import settle_orders
from forecaster.store.outcomes import read_patches

_PATCHES_LOOKED_AT = 50  # for reverts: of half an hour, in which floors are changed a few times
_STATE_AT_LEAST_EVERY = timedelta(minutes=1)
_log = structlog.get_logger("forecaster")

__all__ = [
    "By",
    "Decided",
    "Memory",
    "World",
    "decide_once",
    "decision_is_due",
    "is_worth_storing",
    "load",
    "look",
    "observe_once",
    "overtaken_now",
    "quantiles_for",
    "refresh_once",
    "running_version",
    "scaling_of",
    "train_once",
]


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
    with memory.forecasting:
        return _refresh(world, service, memory)


def _refresh(world: World, service: Service, memory: Memory) -> Forecast | NoForecast:
    now = world.clock.now()
    load(world, service, memory)
    known = read_known(world.client, service.name, finest=world.settings.step)
    if known is None:
        memory.forecast = NoForecast(service.name, now, NOTHING_KNOWN)
        return memory.forecast
    # Events are on their way for a moment of real time: a step is complete only when that has passed after its end.
    settle = world.settings.settle * world.clock.speed_now()
    origin = floored(min(now - settle, known.end), known.step)
    last = memory.forecast
    if isinstance(last, Forecast) and timedelta(0) <= origin - last.origin < world.settings.refresh:
        return last
    since = origin - max(world.settings.history, history_to_read(known.step))
    markers = record.read_markers(world.client, service.name, since=since, until=now)
    rows = memory.history.read(world.client, service.name, since=since, until=origin, step=known.step, markers=markers)
    if rows.empty:
        memory.forecast = NoForecast(service.name, origin, known.why_none(origin, settle=settle))
        return memory.forecast
    series = clean_series(service.name, rows, step=known.step, until=origin, zone=zone_for(service.timezone))
    memory.series = series
    levels = quantiles_for(world.settings, service.scaling)
    forecast = forecast_with_calendar(
        series,
        origin=origin,
        horizon=world.settings.horizon,
        quantiles=levels,
        calendar=_calendar(world, service, markers, since=since, until=origin + world.settings.horizon),
        learnt=memory.learnt,
        remembered=memory.remembered,
        asked=_asked(world, service, memory, origin=origin, levels=levels),
        fleet=world.lenders.for_(series, origin=origin) if world.lenders is not None else None,
    )
    forget_what_is_past(memory.learnt)
    if isinstance(forecast, Forecast):
        store.write_forecast(world.client, forecast, created_at=now)
    memory.forecast = forecast
    return forecast


def _asked(world: World, service: Service, memory: Memory, *, origin: datetime, levels: Sequence[float]) -> Asked:
    """Return what the stored scores ask for: looked at once an hour, for what they say changes no faster."""
    known = known_by(origin)
    if memory.asked is None or memory.asked[0] != known:
        asked = read_asked(world.client, service.name, origin=origin, levels=levels, settings=world.settings)
        memory.asked = known, asked
    return memory.asked[1]


def train_once(memory: Memory) -> None:
    """Train beside the forecasts what they will need within the hour. Does nothing twice, and nothing before the first.

    For a thread of its own: it takes seconds of a CPU, and a forecast must not wait for it.
    """
    if isinstance(memory.forecast, Forecast) and memory.series is not None:
        train_ahead(memory.series, origin=memory.forecast.origin, learnt=memory.learnt)


def _calendar(
    world: World, service: Service, markers: Sequence[record.Marker], *, since: datetime, until: datetime
) -> Calendar | None:
    if world.feeds is None:
        return None
    calendar, amiss = calendar_of(
        service.calendar, timezone=service.timezone, since=since, until=until, feeds=world.feeds, markers=markers
    )
    for why in amiss:
        _log.warning("a calendar could not be read", service=service.name, why=why)
    return calendar


def decide_once(
    world: World,
    service: Service,
    memory: Memory,
    *,
    decide: Callable[[Situation], Decision] = decide,
    by: By = BY_ITSELF,
) -> Decided:
    """Look, decide, carry it out through the actuator when the decision says so, and keep the audit rows.

    Raises StoreError before anything was changed; ValueError for a service without a scaling target.
    """
    with memory.deciding:
        load(world, service, memory)
        _settle(world, service, memory)
        if world.orders is not None:
            settle_orders(world.client, world.orders)
        situation = _as_asked(look(world, service, memory), by)
        decision = decide(situation)
        id_ = str(uuid.uuid4())
        if decision.apply and world.journal is not None:
            world.journal.begin(service.name, rows_before(situation, decision, id_=id_, by=by))
        after, error = _carry_out(world.actuator, situation, decision)
        if decision.apply:  # also when the answer was lost: the floor may have changed, and the cool-down must hold
            memory.changes = _changed(memory.changes, decision)
        stored = stored_of(situation, decision, id_=id_, after=after, error=error, by=by)
        memory.newest = stored
        memory.planned_at = decision.at if decision.lead is not None else memory.planned_at
        if by.by_hand or is_worth_storing(stored, memory.last, heartbeat=world.settings.heartbeat):
            _keep(world, service, memory, situation, stored, reason=by.reason)
        return Decided(situation, stored)


def _as_asked(situation: Situation, by: By) -> Situation:
    """Return the situation with the mode that asking by hand amounts to: a recommendation may be carried out so."""
    if by.forced:
        return replace(situation, mode="act", backtest_passed=True)
    return replace(situation, mode="act") if by.by_hand and situation.mode == "recommend" else situation


def _settle(world: World, service: Service, memory: Memory) -> None:
    """Write the rows that wait: first those of this life, then what an earlier one left on disk."""
    save(world.client, memory)
    if world.journal is not None:
        world.journal.settle(world.client, service.name)


def _keep(
    world: World, service: Service, memory: Memory, situation: Situation, stored: store.StoredDecision, *, reason: str
) -> None:
    memory.last = stored
    patch = patch_of(situation, stored, reason=reason)
    memory.unsaved += [stored] if patch is None else [stored, patch]
    try:
        save(world.client, memory)
        if world.journal is not None:
            world.journal.end(service.name)
    except StoreUnavailableError:
        if not stored.applied:
            raise
        # The floor is changed: the rows are kept and written by the next tick, before it decides anything.


def decision_is_due(world: World, memory: Memory) -> bool:
    """Say whether there is something to decide on: a new forecast, a failed change, or a refresh gone by without one.

    Between two forecasts only what has just come is a reason to decide (`overtaken_now`), as in the policy backtest.
    """
    newest = memory.newest
    if newest is None or newest.error is not None:
        return True
    origin = memory.forecast.origin if isinstance(memory.forecast, Forecast) else None
    return origin != newest.forecast_origin or world.clock.now() - newest.decision.at >= world.settings.refresh


def overtaken_now(world: World, service: Service, memory: Memory) -> bool:
    """Say whether what has just come needs more replicas than the autoscaler has, as last seen. Raises StoreError."""
    if memory.state is None or memory.capacity is None or memory.newest is None:
        return False
    now, settle = world.clock.now(), world.settings.settle * world.clock.speed_now()
    came = read_demand_now(world.client, service.name, now=now, settle=settle)
    hpa, decided = memory.state.hpa, memory.newest.decision
    current = max(hpa.current, decided.floor_after)
    return overtaken(came, memory.capacity, current=current, ceiling=hpa.ceiling, overload=decided.overload)


def observe_once(world: World, service: Service, memory: Memory) -> store.ReplicaState | None:
    """Store what the autoscaler is at, when it has changed or a minute has passed; return what was stored.

    Raises ActuatorUnavailable, StoreError.
    """
    scaling = scaling_of(service)
    hpa = world.actuator.read(scaling.address)
    capacity = memory.capacity or declared_capacity(scaling, speed=world.clock.speed_now())
    seen = store.ReplicaState(service.name, world.clock.now(), hpa, capacity.low_rps)
    last = memory.state
    if last is not None and replace(seen, at=last.at) == last and seen.at - last.at < _STATE_AT_LEAST_EVERY:
        return None
    store.write_replica_states(world.client, [seen])
    memory.state = seen
    return seen


def load(world: World, service: Service, memory: Memory) -> None:
    """Read back what an earlier life of this process left in the store; once. Raises StoreError."""
    with memory.loading:  # refresh and decide run in threads of their own
        if memory.loaded:
            return
        now = world.clock.now()
        forecast = store.read_latest_forecast(world.client, service.name, at=now)
        decisions = store.read_decisions(world.client, service.name, until=now, limit=1)
        memory.changes = store.read_last_changes(world.client, service.name, until=now)
        patches = read_patches(world.client, service.name, until=now, limit=_PATCHES_LOOKED_AT)
        memory.reverts = reverts_in(patches, real=world.real)
        memory.forecast = memory.forecast or forecast
        memory.last = decisions[0] if decisions else None
        memory.loaded = True


def _changed(changes: store.LastChanges, decision: Decision) -> store.LastChanges:
    if decision.floor_after > decision.floor_before:
        return replace(changes, raised_at=decision.at)
    return replace(changes, lowered_at=decision.at) if decision.floor_after < decision.floor_before else changes


def _carry_out(actuator: Actuator, situation: Situation, decision: Decision) -> tuple[HpaState | None, str | None]:
    """Return the state after the change and why there was none; both None when there was nothing to change."""
    if not decision.apply:
        return None, None
    try:
        return actuator.write_floor(situation.scaling.address, decision.floor_after), None
    except (ActuatorUnavailable, FloorRefused) as error:
        return None, str(error)
