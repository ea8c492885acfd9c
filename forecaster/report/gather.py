"""Everything a capacity report rests on, read through the stores at one instant and frozen. No SQL here, no words.

What a later instant would add (a score, a state, a decision) is left out, so that a report asked for again with the
same `as_of` reads the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pandas as pd

from collector.catalog import Service
from collector.clickhouse import Client
from collector.record.store import Marker, read_capacities, read_markers
from collector.slo.objectives import SloStatus
from collector.slo.store import read_slo_statuses
from forecaster import store
from forecaster.calendar.reader import FeedTexts, calendar_of
from forecaster.calendar.sources import local_day, zone_of
from forecaster.calendar.types import Event
from forecaster.forecast.demand import DemandError, clean_series
from forecaster.forecast.types import DemandSeries
from forecaster.history import read_history, read_known
from forecaster.loop.look import running_version
from forecaster.outlook.asked import HISTORY, STEP
from forecaster.outlook.outlook import NoOutlook, Outlook, outlook_of
from forecaster.savings import Day, read_days
from forecaster.scaling.capacity import capacity_in_use
from forecaster.scaling.types import Capacity
from forecaster.scores.drift import came_between
from forecaster.scores.score import BUCKETS, Summary, summarise
from forecaster.scores.score_store import read_scores
from forecaster.settings import Settings
from forecaster.store import StoredBacktest, StoredDecision
from forecaster.store.instants import floored

LAST = timedelta(days=30)  # what "lately" is: cost, scaling, forecast quality
_STATES_EVERY = timedelta(minutes=5)
_MOST_DECISIONS = 5000


@dataclass(frozen=True, slots=True)
class CapacityInputs:
    """None: the record holds none. demand: hourly or coarser, masked spans out. states: from the month's first or LAST.

    decided: any decision was taken in LAST. decisions: those that changed, or would have changed, the floor.
    days: of LAST, with us and without us. scores: of LAST's truths. amiss: calendars that could not be read.
    """

    service: Service
    as_of: datetime
    horizon: timedelta
    speed: float
    demand: DemandSeries | None
    outlook: Outlook | NoOutlook
    capacity: Capacity | None
    events: tuple[Event, ...]
    amiss: tuple[str, ...]
    statuses: tuple[SloStatus, ...]
    states: pd.DataFrame
    decided: bool
    decisions: tuple[StoredDecision, ...]
    days: tuple[Day, ...]
    backtest: StoredBacktest | None
    scores: tuple[Summary, ...]
    markers: tuple[Marker, ...]

    def hashed(self) -> Mapping[str, Any]:
        """Return the inputs by name, as they enter the hash; the outlook follows from the demand."""
        return {
            "question": {"service": self.service.name, "as_of": self.as_of, "horizon": self.horizon},
            "configuration": {"service": self.service, "speed": self.speed},
            "demand": self.demand.frame if self.demand else (),
            "capacity of a replica": self.capacity,
            "events ahead": self.events,
            "SLO counts": self.statuses,
            "replica states": self.states,
            "decisions": (self.decided, *self.decisions),
            "days with us and without us": self.days,
            "policy backtest": self.backtest,
            "forecast scores": self.scores,
            "markers": self.markers,
        }


def read_capacity_inputs(
    client: Client,
    service: Service,
    *,
    as_of: datetime,
    horizon: timedelta,
    speed: float,
    settings: Settings,
    feeds: FeedTexts,
) -> CapacityInputs:
    """Read what is known of a service at `as_of`. Raises StoreError, OutlookError, CalendarError (a time zone)."""
    zone = zone_of(service.timezone)
    end = floored(as_of - settings.settle * speed, STEP)
    demand = _demand(client, service.name, until=end)
    capacity = _capacity(client, service, now=as_of, speed=speed)
    calendar, amiss = calendar_of(
        service.calendar, timezone=service.timezone, since=as_of, until=as_of + horizon, feeds=feeds
    )
    month = local_day(as_of.astimezone(zone).date().replace(day=1), zone)[0]
    backtest = store.read_latest_backtest(client, service.name)
    reach = LAST + BUCKETS[-1].until
    scores = read_scores(client, service.name, since=as_of - reach, until=as_of)
    return CapacityInputs(
        service=service,
        as_of=as_of,
        horizon=horizon,
        speed=speed,
        demand=demand,
        outlook=_outlook(service, demand, capacity, horizon=horizon, origin=end),
        capacity=capacity,
        events=calendar.events,
        amiss=amiss,
        statuses=tuple(read_slo_statuses(client, service, now=as_of)),
        states=store.read_replica_states(
            client, service.name, since=min(month, as_of - LAST), until=as_of, step=_STATES_EVERY
        ),
        decided=bool(store.read_decisions(client, service.name, since=as_of - LAST, until=as_of, limit=1)),
        decisions=tuple(
            store.read_decisions(
                client, service.name, since=as_of - LAST, until=as_of, limit=_MOST_DECISIONS, changes_only=True
            )
        ),
        days=tuple(read_days(client, service.name, since=as_of - LAST, until=as_of - timedelta(days=1))),
        backtest=backtest if backtest is not None and backtest.run_at <= as_of else None,
        scores=summarise(came_between(scores, as_of - LAST, as_of)),
        markers=tuple(read_markers(client, service.name, since=as_of - max(LAST, horizon), until=as_of)),
    )


def _demand(client: Client, service: str, *, until: datetime) -> DemandSeries | None:
    known = read_known(client, service, finest=STEP)
    if known is None:
        return None
    rows = read_history(client, service, since=until - HISTORY, until=until, step=known.step)
    try:
        return clean_series(service, rows, step=known.step, until=until)
    except DemandError:
        return None


def _capacity(client: Client, service: Service, *, now: datetime, speed: float) -> Capacity | None:
    if service.scaling is None:
        return None
    measured = [one for one in read_capacities(client, service.name) if one.measured_at <= now]
    running = running_version(client, service.name, now=now, speed=speed)
    return capacity_in_use(service.scaling, measured, running=running, speed=speed, now=now)


def _outlook(
    service: Service, demand: DemandSeries | None, capacity: Capacity | None, *, horizon: timedelta, origin: datetime
) -> Outlook | NoOutlook:
    if demand is None:
        return NoOutlook(service.name, "no demand has been recorded or imported yet")
    scaling = service.scaling
    levels = {0.1, 0.5, 0.9, 0.99} | ({scaling.quantile} if scaling else set())
    carried = capacity.low_rps * scaling.max_replicas if capacity and scaling else None
    return outlook_of(
        demand,
        zone=zone_of(service.timezone),
        origin=origin,
        horizon=horizon,
        quantiles=tuple(sorted(levels)),
        capacity=carried,
    )
