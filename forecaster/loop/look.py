"""Looking: everything that a decision may know, read from the record, the autoscaler and what people have ordered.

Reads only. What nobody knows is None, never zero: a part of the world that cannot be read takes its own field away and
no more, but for the store, without which there is no looking at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar
from zoneinfo import ZoneInfo

import structlog

from collector.alerts.store import read_alerts
from collector.catalog import Scaling, Service
from collector.clickhouse import Client, StoreRefusedError
from collector.record import store as record
from collector.slo.objectives import SloStatus
from collector.slo.store import read_slo_statuses
from forecaster import store
from forecaster.actuators.contract import Actuator, ActuatorUnavailable
from forecaster.actuators.reverts import with_reverts_before
from forecaster.forecast.types import NoForecast
from forecaster.loop.world import Memory, World, scaling_of
from forecaster.orders import Order, OrdersUnreadableError, Standing, mode_in_force
from forecaster.pace import read_pace
from forecaster.present import read_demand_now
from forecaster.scaling.capacity import capacity_in_use
from forecaster.scaling.lead import measured_lead
from forecaster.scaling.types import Caller, Capacity, HpaState, Situation, Skill
from forecaster.scaling_law import most_useful_replicas
from forecaster.scores.drift import RECENT, came_between
from forecaster.scores.score import BUCKETS, Score
from forecaster.scores.score_store import read_scores
from forecaster.store.decisions import read_change_instants
from forecaster.store.outcomes import read_leads

_CAPACITY_HOLDS = timedelta(days=30)
_NEWEST = timedelta(minutes=10)
_LEADS_HOLD = timedelta(days=30)
_FEWEST_SCORED = 12
_log = structlog.get_logger("forecaster")
_Known = TypeVar("_Known")


@dataclass(frozen=True, slots=True)
class Ordered:
    """What people have ordered about a service: who paused it and why, and who ordered its mode."""

    paused: str | None = None
    mode: Order | None = None


def look(world: World, service: Service, memory: Memory) -> Situation:
    """Return everything that a decision may look at, now. Raises StoreError."""
    scaling = scaling_of(service)
    client, now, speed = world.client, world.clock.now(), world.clock.speed_now()
    known = record.read_demand_extent(client, service.name)
    backtest = store.read_latest_backtest(client, service.name)
    memory.capacity, useful = read_capacity(client, service, now=now, speed=speed)
    memory.slos = _unless_refused("the objectives", lambda: tuple(read_slo_statuses(client, service, now=now)), ())
    hpa = read_hpa(world.actuator, scaling.address)
    if hpa is not None:
        hpa = with_reverts_before(hpa, memory.reverts, now=world.real(now))
    ordered, standing = read_orders_of(world, service.name)
    memory.planned_at = memory.planned_at or now  # a process that has just begun holds the floor from its beginning
    return Situation(
        now=now,
        service=service.name,
        scaling=scaling,
        mode=mode_in_force(standing, service.name, scaling.mode),
        forecast=memory.forecast or NoForecast(service.name, now, "no forecast has been made yet"),
        capacity=memory.capacity,
        hpa=hpa,
        metric_at=min(known.end, now) if known else None,
        last_lowered_at=memory.changes.lowered_at,
        last_raised_at=memory.changes.raised_at,
        backtest_passed=(backtest is not None and backtest.passed)
        or (ordered.mode is not None and ordered.mode.forced),
        refresh=world.settings.refresh,
        paused=ordered.paused or _marked_paused(hpa),
        burning=_unless_refused("the alerts", lambda: read_burning(client, service.name), ()),
        budget_left=budget_left(memory.slos),
        lead=_measured_lead(client, service.name, now=now),
        skill=read_skill(client, service.name, scaling, now=now),
        changes_today=len(read_change_instants(client, service.name, since=start_of_day(service, now), until=now)),
        most_useful=useful,
        callers=_callers(world, service.name, now=now),
        planned_at=memory.planned_at,
        pace=read_pace(client, scaling, memory.last, memory.capacity, known=known, now=now),
        demand_now=read_demand_now(client, service.name, now=now, settle=world.settings.settle * speed),
        planned_floor=memory.newest.decision.planned_floor if memory.newest is not None else None,
    )


def read_capacity(client: Client, service: Service, *, now: datetime, speed: float) -> tuple[Capacity, int | None]:
    """Return what one replica carries, and beyond how many more are useless, None = unknown. Raises StoreError."""
    running = running_version(client, service.name, now=now, speed=speed)
    measured = record.read_capacities(client, service.name)
    capacity = capacity_in_use(scaling_of(service), measured, running=running, speed=speed, now=now)
    return capacity, most_useful(measured, running=running, now=now)


def _measured_lead(client: Client, service: str, *, now: datetime) -> timedelta | None:
    newest_first = read_leads(client, service, since=now - _LEADS_HOLD, until=now)
    return measured_lead([lead.span for lead in reversed(newest_first) if lead.span is not None])


def read_orders_of(world: World, service: str) -> tuple[Ordered, Standing]:
    """Return what people have ordered; a file that cannot be read is a pause, until somebody has looked at it."""
    if world.orders is None:
        return Ordered(), Standing()
    try:
        standing = world.orders.standing()
    except OrdersUnreadableError as error:
        return Ordered(paused=str(error)), Standing()
    return Ordered(standing.paused(service), standing.mode(service)), standing


def read_hpa(actuator: Actuator, name: str) -> HpaState | None:
    """Return the autoscaler's state, None when it cannot be read: the decision says so."""
    try:
        return actuator.read(name)
    except ActuatorUnavailable:
        return None


def read_burning(client: Client, service: str) -> tuple[str, ...]:
    """Return the objectives of a service whose error budget burns so fast that somebody is paged now, sorted."""
    alerts = read_alerts(client, unresolved=True).values()
    return tuple(
        sorted(
            {
                one.name
                for one in alerts
                if one.service == service and one.kind == "burn" and one.severity == "page" and one.phase == "firing"
            }
        )
    )


def budget_left(statuses: Sequence[SloStatus]) -> float | None:
    """Return the least share of an error budget that is left; None when no objective had a valid request."""
    return min((one.budget_left for one in statuses if one.budget_left is not None), default=None)


def read_skill(client: Client, service: str, scaling: Scaling, *, now: datetime) -> Skill | None:
    """Return how the last day's forecasts did at the lead, None when too few have come true. Raises StoreError."""
    bucket = next(one for one in BUCKETS if scaling.lead < one.until or one is BUCKETS[-1])
    scores = read_scores(client, service, since=now - RECENT - bucket.until, until=now)
    return skill_of(came_between(scores, now - RECENT, now), bucket=bucket.name, asked=scaling.quantile)


def skill_of(scores: Sequence[Score], *, bucket: str, asked: float) -> Skill | None:
    """Return what scores of a bucket say of the level that is asked for (or the next one above it that was stored)."""
    points = covered = 0
    loss = naive = 0.0
    for score in scores:
        index = next((i for i, level in enumerate(score.quantiles) if level >= asked), None)
        if score.bucket != bucket or index is None:
            continue
        points += score.points
        covered += score.covered[index]
        loss += score.pinball[index]
        naive += score.naive_pinball[index]
    if points < _FEWEST_SCORED or naive <= 0:
        return None
    return Skill(skill=loss / naive, asked=asked, coverage=covered / points, steps=points)


def most_useful(measured: Sequence[record.Capacity], *, running: str | None, now: datetime) -> int | None:
    """Return the replicas beyond which more are useless, by the newest law measured on the build that serves now."""
    fresh = [
        one for one in measured
        if now - one.measured_at < _CAPACITY_HOLDS and (running is None or one.version == running)
        and one.details.get("usl_replicas") is not None
    ]  # fmt: skip
    newest = max(fresh, key=lambda one: one.measured_at, default=None)
    return None if newest is None else most_useful_replicas(newest.details)


def start_of_day(service: Service, now: datetime) -> datetime:
    """Return the last midnight where the service's users live."""
    return now.astimezone(ZoneInfo(service.timezone)).replace(hour=0, minute=0, second=0, microsecond=0)


def running_version(client: Client, service: str, *, now: datetime, speed: float) -> str | None:
    """Return the version that most of the newest requests were of; None when the record names none. Raises StoreError.

    The newest: ten minutes of the clock in use, or half a minute of real time where that is longer.
    """
    span = max(_NEWEST, timedelta(seconds=30 * speed))
    seen = record.read_red_totals(client, service, since=now - span, until=now, by="version")
    counted = zip(seen["requests"].tolist(), seen["version"].tolist(), strict=True) if len(seen) else ()
    return max(((requests, version) for requests, version in counted if version), default=(0, None))[1]


def _marked_paused(hpa: HpaState | None) -> str | None:
    return None if hpa is None or hpa.paused is None else f"paused on the autoscaler itself: {hpa.paused}"


def _callers(world: World, service: str, *, now: datetime) -> tuple[Caller, ...]:
    if world.catalog is None:
        return ()
    found = []
    for name, calls in world.catalog.callers_of(service):
        forecast = store.read_latest_forecast(world.client, name, at=now)
        found.append(Caller(name, forecast or NoForecast(name, now, "no forecast has been made yet"), calls))
    return tuple(found)


def _unless_refused(what: str, read: Callable[[], _Known], unknown: _Known) -> _Known:
    try:
        return read()
    except StoreRefusedError as error:
        _log.warning("could not be read", what=what, why=str(error).splitlines()[0])
        return unknown
