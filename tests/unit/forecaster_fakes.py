"""A store in which nothing was ever recorded, a service to scale, and decisions: what the forecaster's tests share."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd

from collector.catalog import Reactive, Scaling, Service
from forecaster.actuators.memory import MemoryCluster
from forecaster.loop.tick import World
from forecaster.scaling.types import Decision, HpaState, PlannedFloor
from forecaster.settings import Settings
from forecaster.store import StoredDecision
from tidegauge.clock import Clock

NOW = datetime(2026, 5, 4, 7, 50, tzinfo=UTC)
HPA = HpaState(operator_floor=2, floor=2, ceiling=20, desired=2, current=2, ready=2)
SCALING = Scaling(
    kind="local",
    name="app",
    mode="act",
    min_replicas=2,
    max_replicas=20,
    capacity_rps=(12.0, 14.0),
    quantile=0.95,
    lead=timedelta(minutes=15),
    largest_step=4,
    cool_down=timedelta(minutes=5),
    reactive=Reactive(target_rps_per_replica=10.0),
)
SERVICE = Service(
    name="shop",
    description="",
    source="events",
    timezone="UTC",
    slos=(),
    classic_rule=None,
    scaling=SCALING,
    cost=None,
)


class FakeStore:
    """A store in which nothing was ever recorded. `error` set makes every insert, or all calls, fail with it."""

    database = "tidegauge"

    def __init__(self) -> None:
        self.inserts: list[tuple[str, dict[str, Any], str]] = []
        self.insert_error: Exception | None = None
        self.error: Exception | None = None

    def query_rows(self, sql: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        if self.error:
            raise self.error
        return []

    def query_frame(self, sql: str, parameters: Any = None) -> pd.DataFrame:
        if self.error:
            raise self.error
        return pd.DataFrame()

    def insert_columns(self, table: str, columns: Any, *, token: str) -> int:
        if self.error or self.insert_error:
            raise self.error or self.insert_error
        self.inserts.append((table, dict(columns), token))
        return 1


def a_world(store: FakeStore, cluster: MemoryCluster, *, now: datetime = NOW) -> World:
    clock = Clock(read_real=lambda: now.timestamp())
    return World(store, clock, cluster, Settings())  # type: ignore[arg-type]


def a_decision(floor_after: int, **changes: Any) -> Decision:
    before = HPA.floor
    whole = Decision(
        at=NOW,
        service="shop",
        mode="act",
        outcome="raise" if floor_after > before else "keep",
        floor_before=before,
        floor_wanted=floor_after,
        floor_after=floor_after,
        apply=floor_after != before,
        reasons=("demand stays under 57.2 rps until 08:10",),
        needed_at=None,
        plan=(PlannedFloor(NOW, floor_after, "decided now"),),
    )
    return replace(whole, **changes)


def a_stored(decision: Decision, **changes: Any) -> StoredDecision:
    whole = StoredDecision("id", decision, False, None, None, None, 0.95, None)
    return replace(whole, **changes)
