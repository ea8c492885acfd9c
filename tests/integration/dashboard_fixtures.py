"""A record such as hours of a running service leave it, for tests of the dashboard: written through the stores.

Everything is made from a seed and `now`. The decisions are taken by the forecaster's own `decide`, so that what the
pages show is what they will show.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import uvicorn
from fastapi import FastAPI

import dashboard
from collector.alerts.actions_api import add_alert_actions
from collector.alerts.bodies import Message
from collector.alerts.outbox import Answer, Outbox
from collector.catalog import Scaling, Service, read_catalog
from collector.clickhouse import ClickHouseSettings, Client, connect, migrate
from collector.record import store as record
from forecaster import store
from forecaster.forecast.types import Forecast
from forecaster.scaling.plan import decide
from forecaster.scaling.types import Capacity, Decision, HpaState, Situation
from forecaster.store import ReplicaState, StoredBacktest, StoredDecision
from tests.integration.dashboard_more import write_whole
from tests.integration.store_fixtures import free_port, running_store
from tidegauge.clock import Clock

STEP = timedelta(minutes=5)
MINUTE = timedelta(minutes=1)
RECORDED = timedelta(hours=9)  # requests, forecasts, decisions and replicas; imported demand before it
IMPORTED = timedelta(days=14)
CAPACITY = Capacity(0.2, 0.24, "declared")
LEVELS = (0.1, 0.5, 0.9, 0.95, 0.99)
SPREAD = {0.1: -1.28, 0.5: 0.0, 0.9: 1.28, 0.95: 1.64, 0.99: 2.33}  # of a normal distribution
# route, share, median ms, share of errors
ROUTES = (
    ("/api/flights/search", 0.52, 110.0, 0.0002),
    ("/api/flights/{flight_id}", 0.27, 22.0, 0.0),
    ("/api/bookings", 0.09, 95.0, 0.002),
    ("/api/users/me", 0.08, 9.0, 0.0),
    ("/api/airports/{code}", 0.04, 5.0, 0.0),
)


def create_tables(client: Client) -> None:
    """Make the record's and the forecaster's tables."""
    migrate(client, record.SCHEMA_FOLDER, owner=record.SCHEMA_OWNER)
    migrate(client, store.SCHEMA_FOLDER, owner=store.SCHEMA_OWNER)


def fill(client: Client, service: Service, *, now: datetime) -> None:
    """Write two weeks of imported demand, and nine hours of everything else, up to `now` and a little further."""
    random = np.random.default_rng(7)
    start = (now - RECORDED).replace(second=0, microsecond=0, minute=0)
    _write_history(client, service.name, start=start, random=random, now=now)
    _write_requests(client, service.name, start=start, end=now + 3 * MINUTE, now=now, random=random)
    write_scaling(client, service, start=start, now=now, random=random)
    write_whole(client, service, start=start, now=now)


def rate(at: datetime, *, now: datetime) -> float:
    """Requests/s: a day whose ramp ends about now, so that a rise lies in sight and its fall ahead."""
    hours = (at - now).total_seconds() / 3600
    morning = math.exp(-0.5 * ((((hours + 1.5) + 12) % 24 - 12) / 2.2) ** 2)
    return 0.32 + 1.05 * morning + 0.06 * math.sin(hours * 2.1)


def _write_history(
    client: Client, service: str, *, start: datetime, random: np.random.Generator, now: datetime
) -> None:
    ticks = pd.date_range(start - IMPORTED, start, freq=STEP, inclusive="left")
    noise = random.normal(1.0, 0.06, len(ticks))
    values = [rate(at, now=now) * STEP.total_seconds() * factor for at, factor in zip(ticks, noise, strict=True)]
    frame = pd.DataFrame({"ds": ticks, "value": values})
    record.write_imported_demand(
        client, service, frame, step=STEP, source="history.csv", content_id="0" * 64, imported_at=start
    )


def _write_requests(
    client: Client, service: str, *, start: datetime, end: datetime, now: datetime, random: np.random.Generator
) -> None:
    starts = pd.date_range(start, end, freq=MINUTE, inclusive="left")
    counts = random.poisson([rate(at, now=now) * 60 for at in starts])
    minute = np.repeat(starts.asi8 // 1000 if starts.unit == "ns" else starts.as_unit("us").asi8, counts)
    total = len(minute)
    ts = minute + random.integers(0, 60_000_000, total)
    route = random.choice(len(ROUTES), total, p=[share for _, share, _, _ in ROUTES])
    busy = 1 + 0.35 * np.repeat(np.array([rate(at, now=now) for at in starts]), counts)
    duration = np.array([ms for _, _, ms, _ in ROUTES])[route] * busy * random.lognormal(0, 0.45, total) * 1000
    failed = random.random(total) < np.array([errors for *_, errors in ROUTES])[route]
    cached = random.random(total)
    is_read = route != 2
    columns = {
        "ts": ts.tolist(),
        "service": [service] * total,
        "route": [ROUTES[index][0] for index in route],
        "method": ["GET" if read else "POST" for read in is_read],
        "status": np.where(failed, 503, 200).tolist(),
        "duration_us": duration.astype(int).tolist(),
        "response_bytes": random.integers(200, 9000, total).tolist(),
        "region": random.choice(["us-east", "us-west", "eu-west"], total, p=[0.5, 0.2, 0.3]).tolist(),
        "instance": [f"reference-app-{index}" for index in random.integers(1, 6, total)],
        "version": np.where(ts < (now - timedelta(hours=4)).timestamp() * 1e6, "0.1.0", "0.1.1").tolist(),
        "cache_level": np.where(~is_read, "", np.where(cached < 0.5, "local", np.where(cached < 0.8, "shared", "miss")))
        .astype(str)
        .tolist(),
        "database_target": ["replica" if read else "primary" for read in is_read],
        "user_agent_family": ["browser"] * total,
        "trace_id": [""] * total,
    }
    client.insert_columns("request_events", columns, token="dashboard")


def a_forecast(service: str, origin: datetime, *, now: datetime, random: np.random.Generator) -> Forecast:
    """What a model would have said at `origin`: twelve hours that widen with their distance."""
    ticks = pd.date_range(origin, periods=144, freq=STEP)
    level = random.normal(1.0, 0.01)
    middle = np.array([rate(at.to_pydatetime(), now=now) for at in ticks]) * level
    width = 0.05 + 0.05 * np.sqrt(np.arange(len(ticks)) / 12)
    values = {f"q{level:g}": np.maximum(0, middle * (1 + width * SPREAD[level])) for level in LEVELS}
    frame = pd.DataFrame({"ds": ticks, **values})
    return Forecast(service, origin, "seasonal", STEP, LEVELS, frame, origin - IMPORTED, origin)


def write_scaling(
    client: Client, service: Service, *, start: datetime, now: datetime, random: np.random.Generator
) -> None:
    """Write forecasts, the decisions on them, what the autoscaler did, and a backtest."""
    assert service.scaling is not None
    scaling = replace(service.scaling, mode="act")
    hpa = HpaState(scaling.min_replicas, scaling.min_replicas, scaling.max_replicas, 3, 3, 3)
    raised = lowered = None
    states: list[ReplicaState] = []
    at = start
    while at <= now:
        forecast = a_forecast(service.name, at, now=now, random=random)
        store.write_forecast(client, forecast, created_at=at)
        decision = decide(_situation(service, scaling, at, forecast, hpa, raised, lowered))
        stored = StoredDecision(
            f"d-{at:%d%H%M}", decision, decision.apply, None, at, "seasonal", scaling.quantile, CAPACITY
        )
        store.write_decision(client, stored)
        raised = at if decision.outcome == "raise" else raised
        lowered = at if decision.outcome == "lower" else lowered
        hpa = _scaled(
            service.name, states, hpa, decision, at=at, now=now, target=scaling.reactive.target_rps_per_replica / 60
        )
        at += STEP
    store.write_replica_states(client, [state for state in states if state.at <= now])
    report = {
        "reason": "better: 2 min under-provisioned against 91 min of the autoscaler alone, +3.1% replica-hours",
        "predictive": {"under_provisioned_seconds": 120.0, "replica_seconds": 2_341_000.0},
        "reactive_only": {"under_provisioned_seconds": 5460.0, "replica_seconds": 2_270_000.0},
    }
    store.write_backtest(client, StoredBacktest(service.name, start, True, start - timedelta(days=7), start, report))


def _situation(
    service: Service, scaling: Scaling, at: datetime, forecast: Forecast, hpa: HpaState,
    raised: datetime | None, lowered: datetime | None,
) -> Situation:  # fmt: skip
    return Situation(
        now=at, service=service.name, scaling=scaling, mode="act", forecast=forecast, capacity=CAPACITY, hpa=hpa,
        metric_at=at, last_lowered_at=lowered, backtest_passed=True, last_raised_at=raised,
    )  # fmt: skip


def _scaled(
    service: str,
    states: list[ReplicaState],
    hpa: HpaState,
    decision: Decision,
    *,
    at: datetime,
    now: datetime,
    target: float,
) -> HpaState:
    """The five minutes after a decision, one state each: desired at once, ready two minutes later."""
    floor = decision.floor_after if decision.apply else hpa.floor
    for minute in range(5):
        moment = at + minute * MINUTE
        wanted = max(floor, math.ceil(rate(moment, now=now) / target - 0.1))
        desired = wanted if wanted > hpa.desired or minute == 4 else hpa.desired
        ready = desired if desired <= hpa.ready or minute >= 2 else hpa.ready
        hpa = replace(hpa, floor=floor, desired=desired, current=desired, ready=ready)
        states.append(ReplicaState(service, moment, hpa, CAPACITY.low_rps))
    return hpa


def present() -> datetime:
    """The real present, to the minute: the tables forget what is old."""
    return datetime.now(UTC).replace(second=0, microsecond=0)


ROOT = Path(dashboard.__file__).parents[1]
FILLED, EMPTY = "filled", "empty"


@pytest.fixture(scope="session")
def dashboard_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a store with the databases FILLED (nine hours of a running service) and EMPTY (tables alone)."""
    with running_store(tmp_path_factory.mktemp("dashboard-store")) as url:
        for name in (FILLED, EMPTY):
            client = connect(ClickHouseSettings(url=url, database=name))
            create_tables(client)
            if name == FILLED:
                fill(client, read_catalog(ROOT / "tidegauge.yaml").service("reference-app"), now=present())
            client.close()
        yield url


@dataclass(frozen=True, slots=True)
class AlertActions:
    """The collector's API for what people do about alerts, on the database FILLED, with two messages sent before."""

    url: str
    outbox: Outbox


@pytest.fixture(scope="session")
def alert_actions(dashboard_store: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AlertActions]:
    """That API on a port of its own, the rest of the collector left away."""
    outbox = Outbox(tmp_path_factory.mktemp("outbox") / "outbox.sqlite3")
    now = datetime.now(UTC).timestamp()
    outbox.put([Message("msg-told", "on-call", "told", b"{}"), Message("msg-lost", "chat", "lost", b"{}")], now=now)
    for receiver, answer in (("on-call", Answer(200, "")), ("chat", Answer(503, "Service Unavailable"))):
        for waiting in outbox.due(receiver, now=now):
            outbox.record(waiting, answer, now=now)
    client = connect(ClickHouseSettings(url=dashboard_store, database=FILLED))
    app = FastAPI()
    add_alert_actions(app, open_client=lambda: client, clock=Clock(), outbox=outbox)
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        threading.Event().wait(0.01)
    yield AlertActions(f"http://127.0.0.1:{port}", outbox)
    server.should_exit = True
    thread.join(20)
    client.close()
