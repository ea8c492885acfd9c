"""What the ticks touch and what they remember: the world, made once, and a memory for each service."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime

from collector.catalog import Catalog, Scaling, Service
from collector.clickhouse import Client
from collector.slo.objectives import SloStatus
from forecaster import store
from forecaster.actuators.contract import Actuator
from forecaster.actuators.reverts import Revert
from forecaster.calendar.reader import FeedTexts
from forecaster.calendar.wrapper import Remembered
from forecaster.forecast.models import LearntHours
from forecaster.forecast.types import DemandSeries, Forecast, NoForecast
from forecaster.history import HistoryCache
from forecaster.lenders import Lenders
from forecaster.loop.journal import Journal
from forecaster.orders import Orders
from forecaster.scaling.types import Capacity
from forecaster.scores.adapting import Asked
from forecaster.settings import Settings
from forecaster.store.outcomes import Patch
from tidegauge.clock import Clock


@dataclass(frozen=True, slots=True)
class World:
    """What the ticks touch, made once by the composition root."""

    client: Client
    clock: Clock
    actuator: Actuator
    settings: Settings
    feeds: FeedTexts | None = None  # of iCalendar; None: they are not read
    orders: Orders | None = None  # None: there is nobody to give any
    journal: Journal | None = None  # of changes under way; None: a kill in between loses their rows
    catalog: Catalog | None = None  # of all services, for who calls whom; None: nobody calls anybody
    lenders: Lenders | None = None  # of a day's shape; None: who has not seen a day knows its level alone

    def real(self, at: datetime) -> datetime:
        """Return the real time at which the clock in use shows an instant."""
        return datetime.fromtimestamp(self.clock.real_at(at.timestamp()), UTC)


@dataclass(slots=True)
class Memory:
    """What the ticks of one service remember.

    All of it can be read again after a kill -9, but for audit rows that the store would not take yet (`unsaved`).
    """

    history: HistoryCache = field(default_factory=HistoryCache)
    loaded: bool = False
    learnt: LearntHours = field(default_factory=LearntHours)  # forecasts are made often, trained twice a day
    series: DemandSeries | None = None  # what the forecast was made from
    forecast: Forecast | NoForecast | None = None
    last: store.StoredDecision | None = None  # the newest that was worth storing
    newest: store.StoredDecision | None = None
    changes: store.LastChanges = field(default_factory=store.LastChanges)
    unsaved: list[store.StoredDecision | Patch] = field(default_factory=list)
    state: store.ReplicaState | None = None
    capacity: Capacity | None = None
    reverts: tuple[Revert, ...] = ()  # of our floors, as patches of earlier lives tell of them
    planned_at: datetime | None = None  # when a decision last had grounds, else this process's first look
    slos: tuple[SloStatus, ...] = ()  # as they stood at the last look
    asked: tuple[datetime, Asked] | None = None  # until when scores were looked at, and what they ask for
    remembered: Remembered = field(default_factory=Remembered)  # past events, forecast as they were
    loading: threading.Lock = field(default_factory=threading.Lock)
    forecasting: threading.Lock = field(default_factory=threading.Lock)  # as for deciding
    deciding: threading.Lock = field(default_factory=threading.Lock)  # the tick and a person may both ask


def scaling_of(service: Service) -> Scaling:
    """Return the scaling target of a service; raises ValueError naming a service without one."""
    if service.scaling is None:
        raise ValueError(f"service {service.name!r}: expected a `scaling` block in the configuration, got none")
    return service.scaling
