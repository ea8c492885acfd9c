"""The audit on a real store: what became of decisions, what a decision looks at, orders, what floors were worth."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
import typer
from typer.testing import CliRunner

from collector.alerts.state import Alert
from collector.alerts.store import write_alerts
from collector.catalog import Catalog, Cost, Dependency
from collector.clickhouse import ClickHouseSettings, Client, connect, migrate
from collector.record import store as record
from forecaster import store
from forecaster.actuators.memory import MemoryCluster
from forecaster.commands import mount
from forecaster.loop.look import look
from forecaster.loop.outcomes import follow_once
from forecaster.loop.tick import By, decide_once, refresh_once
from forecaster.loop.world import Memory, World
from forecaster.orders import Orders
from forecaster.savings import read_weeks, weigh_once
from forecaster.scaling.types import Capacity, PlanWarning
from forecaster.scores.score import Score
from forecaster.scores.score_store import write_scores
from forecaster.settings import Settings
from forecaster.store import ReplicaState
from forecaster.store.forecasts import forecast_id
from forecaster.store.orders import read_orders, settle_orders
from forecaster.store.outcomes import Lead, Patch, read_leads, read_outcomes, read_patches, write_leads, write_patch
from tests.integration.store_fixtures import free_port, shared_store_url
from tests.unit.forecaster_fakes import HPA, SERVICE, a_decision, a_stored
from tidegauge.clock import Clock

__all__ = ["shared_store_url"]
pytestmark = pytest.mark.server

NOW = datetime.now(UTC).replace(hour=7, minute=50, second=0, microsecond=0) - timedelta(days=2)
MINUTE, STEP = timedelta(minutes=1), timedelta(minutes=5)
DECLARED = Capacity(12.0, 14.0, "declared")


@pytest.fixture
def client(shared_store_url: str, request: pytest.FixtureRequest) -> Iterator[Client]:
    database = "a_" + request.node.name.split("[")[0][:40]
    client = connect(ClickHouseSettings(url=shared_store_url, database=database))
    migrate(client, record.SCHEMA_FOLDER, owner=record.SCHEMA_OWNER)
    migrate(client, store.SCHEMA_FOLDER, owner=store.SCHEMA_OWNER)
    yield client
    client.close()


def world_at(client: Client, now: datetime, *, cluster: MemoryCluster | None = None, **more: object) -> World:
    clock = Clock(read_real=lambda: now.timestamp())
    return World(client, clock, cluster or MemoryCluster({"app": HPA}), Settings(), **more)  # type: ignore[arg-type]


def record_demand(client: Client, start: datetime, *rps_by_minute: float) -> None:
    minutes = [int((start + index * MINUTE).timestamp()) for index in range(len(rps_by_minute))]
    columns = {
        "service": ["shop"] * len(minutes),
        "ts": minutes,
        "step_seconds": [60] * len(minutes),
        "value": [rps * 60 for rps in rps_by_minute],
    }
    client.insert_columns("demand_recorded", columns, token=f"demand/{start}/{len(minutes)}")


def see(client: Client, *seen: tuple[datetime, int, int]) -> None:
    """Replica states: when, the floor in force, and how many were ready."""
    states = [ReplicaState("shop", at, replace(HPA, floor=floor, ready=ready), 12.0) for at, floor, ready in seen]
    store.write_replica_states(client, states)


def test_a_decision_is_read_back_with_all_that_it_rested_on(client: Client) -> None:
    warning = PlanWarning("ceiling_breach", "demand passes what 20 replicas carry", NOW + STEP, 0.4)
    decision = a_decision(
        6, at=NOW, guardrails=("largest_step", "cool_down"), warnings=(warning,), quantile=0.97, lead=15 * MINUTE
    )
    stored = a_stored(
        decision, id="11112222-3333-4444-5555-666677778888", applied=True, quantile=0.97, actor="ann", forced=True,
        capacity=Capacity(12.0, 14.0, "measured", "load-test/1@2026-05-01T00:00:00Z"), forecast_id="f-1",
        operator_floor=2, ready=3, lead=15 * MINUTE, resource_version="812",
    )  # fmt: skip
    store.write_decision(client, stored)
    assert store.read_decisions(client, "shop") == [stored]
    assert store.read_decision(client, "111122") == stored
    assert store.read_decision(client, "ffffff") is None
    with pytest.raises(ValueError, match="at least its first 6 characters"):
        store.read_decision(client, "11%")


def test_an_outcome_and_a_lead_are_written_once_their_time_has_passed_and_never_twice(client: Client) -> None:
    decision = a_decision(6, at=NOW)
    store.write_decision(client, a_stored(decision, id="one", applied=True, capacity=DECLARED, lead=15 * MINUTE))
    write_patch(client, Patch("p", "shop", NOW, "apply", 2, 6, 2, applied=True, decision_id="one"))
    see(client, (NOW - MINUTE, 2, 2), (NOW + MINUTE, 6, 4), (NOW + 2 * MINUTE, 6, 6), (NOW + 14 * MINUTE, 6, 6))
    record_demand(client, NOW, *[30.0] * 15, *[60.0] * 5, *[200.0] * 5)

    assert follow_once(world_at(client, NOW + MINUTE), SERVICE) == (0, 0)
    assert follow_once(world_at(client, NOW + 19 * MINUTE), SERVICE) == (1, 0)  # ready, but its demand has not come
    assert follow_once(world_at(client, NOW + 21 * MINUTE), SERVICE) == (0, 1)
    assert follow_once(world_at(client, NOW + 22 * MINUTE), SERVICE) == (0, 0)

    [lead] = read_leads(client, "shop", since=NOW, until=NOW + STEP)
    assert lead.span == 2 * MINUTE
    outcome = read_outcomes(client, "shop")["one"]
    # 60 rps at 12 need 5; six were ready.
    assert (outcome.demand_rps, outcome.replicas_needed, outcome.ready, outcome.enough) == (60.0, 5, 6, True)


def test_demand_that_never_comes_leaves_an_outcome_that_nobody_knows(client: Client) -> None:
    store.write_decision(client, a_stored(a_decision(6, at=NOW), id="one", applied=True, capacity=DECLARED))
    record_demand(client, NOW - 30 * MINUTE, 30.0)
    assert follow_once(world_at(client, NOW + 30 * MINUTE), SERVICE) == (0, 0)  # it may be late
    assert follow_once(world_at(client, NOW + 70 * MINUTE), SERVICE) == (0, 1)
    assert read_outcomes(client, "shop")["one"].enough is None


def test_a_look_at_an_empty_record_knows_nothing_and_says_none_never_zero(client: Client) -> None:
    seen = look(world_at(client, NOW), SERVICE, Memory())
    assert (seen.paused, seen.burning, seen.budget_left, seen.lead, seen.skill) == (None, (), None, None, None)
    assert (seen.most_useful, seen.changes_today, seen.callers, seen.metric_at) == (None, 0, (), None)


def an_alert(name: str, *, severity: str = "page", phase: str = "firing", kind: str = "burn") -> Alert:
    at = NOW - STEP
    return Alert(f"{kind}/{name}", kind, "shop", name, severity, phase, at, at, None, False, None, 0, "burns", {})  # type: ignore[arg-type]


def a_score(origin: datetime, *, pinball: float, naive: float, covered: int) -> Score:
    return Score(
        "shop", "1h", origin, "ensemble", "naive_week", STEP, 12, 100.0, 1.0, 2.0, (0.5, 0.95), (9.0, pinball),
        (9.0, naive), (6, covered),
    )  # fmt: skip


def test_a_look_sees_what_the_record_the_scores_and_our_own_changes_tell(client: Client, tmp_path: Path) -> None:
    write_alerts(
        client,
        [an_alert("availability"), an_alert("slow", severity="ticket"), an_alert("old", phase="resolved"),
         an_alert("drift", kind="posted")],
        now=NOW,
    )  # fmt: skip
    write_scores(
        client,
        [a_score(NOW - 4 * timedelta(hours=1), pinball=2.0, naive=5.0, covered=12),
         a_score(NOW - 3 * timedelta(hours=1), pinball=4.0, naive=5.0, covered=9)],
        scored_at=NOW,
    )  # fmt: skip
    # 19 raises of 1 min and one of 10 min: the 95th percentile, counted, is the 19th of 20.
    leads = [Lead(f"p{index}", NOW - (index + 1) * STEP, NOW - (index + 1) * STEP + MINUTE) for index in range(19)]
    write_leads(client, "shop", leads, now=NOW)
    for index in range(3):
        at = NOW - timedelta(hours=index * 5)  # 07:50, 02:50 and, yesterday, 21:50
        stored = a_stored(a_decision(6, at=at - MINUTE), id=f"d{index}", applied=True)
        store.write_decision(client, stored)
    law = {"gamma": 12.0, "alpha": 0.1, "beta": 0.01, "alpha_interval": [0.1, 0.2], "beta_interval": [0.01, 0.02]}
    record.write_capacity(
        client, record.Capacity("shop", NOW - STEP, "", "load-test", 12.0, 14.0, {"usl_replicas": law})
    )
    orders = Orders(tmp_path, now=lambda: NOW)
    orders.give("pause", scope="shop", actor="ann", reason="test")
    catalog = Catalog({"shop": SERVICE, "web": replace(SERVICE, name="web", depends_on=(Dependency("shop", 2.0),))})
    world = world_at(client, NOW, orders=orders, catalog=catalog)

    seen = look(world, SERVICE, Memory())

    assert seen.burning == ("availability",)
    assert seen.skill is not None
    assert (seen.skill.skill, seen.skill.coverage, seen.skill.steps) == (pytest.approx(0.6), pytest.approx(21 / 24), 24)
    assert seen.lead is None  # nineteen are too few
    assert seen.changes_today == 2
    # X(N) = N / (1 + 0.1 (N-1) + 0.01 N (N-1)): X(5) = 3.125, X(6) = 3.333, X(7) = 3.465, X(8) = 3.540, X(9) = 3.571:
    # the ninth adds 0.03 of the first, under 0.05; the eighth 0.075.
    assert seen.most_useful == 8
    assert seen.paused is not None
    assert [(one.service, one.calls_per_request) for one in seen.callers] == [("web", 2.0)]
    assert seen.capacity is not None
    assert (seen.capacity.id or "").startswith("load-test/@")
    write_leads(client, "shop", [Lead("p19", NOW - 100 * STEP, NOW - 100 * STEP + 10 * MINUTE)], now=NOW)
    assert look(world, SERVICE, Memory()).lead == MINUTE


def test_an_order_reaches_the_store_and_another_forecaster_on_it(client: Client, tmp_path: Path) -> None:
    here, there = (Orders(tmp_path / name, now=lambda: datetime.now(UTC)) for name in ("here", "there"))
    here.give("pause", scope="shop", actor="ann", reason="incident")
    settle_orders(client, here)
    settle_orders(client, here)
    settle_orders(client, there)
    assert "paused by ann" in (there.standing().paused("shop") or "")
    there.give("resume", scope="shop", actor="bob", reason="over")
    settle_orders(client, there)
    settle_orders(client, here)
    assert here.standing().paused("shop") is None
    assert [(one.kind, one.actor) for one in read_orders(client, ["shop"])] == [("resume", "bob"), ("pause", "ann")]


def test_a_decision_names_the_forecast_it_rested_on_as_the_table_of_forecasts_does(client: Client) -> None:
    record_demand(client, NOW - timedelta(hours=30), *[60.0] * 1800)
    world, memory = world_at(client, NOW), Memory()
    forecast = refresh_once(world, SERVICE, memory)
    decided = decide_once(world, SERVICE, memory, by=By("ann", forced=True, by_hand=True, reason="early peak"))
    [(id_,)] = client.query_rows("SELECT DISTINCT id FROM forecasts")
    assert id_ == decided.stored.forecast_id == forecast_id(forecast)  # type: ignore[arg-type]
    assert decided.stored.applied
    [patch] = read_patches(client, "shop", decision_id=decided.stored.id)
    assert (patch.actor, patch.forced, patch.reason, patch.floor_before) == ("ann", True, "early peak", 2)


def test_a_day_is_weighed_with_and_without_our_floors_once(client: Client) -> None:
    day = NOW.replace(hour=0, minute=0)
    # Quiet but for an hour at noon of 60 rps, which need 5 replicas at 12. Our floor was 5 from 11:30 to 13:00.
    record_demand(client, day - timedelta(hours=1), *[10.0] * 780, *[60.0] * 60, *[10.0] * 660)
    noon = day + timedelta(hours=12)
    see(client, (day - MINUTE, 2, 2), (noon - 30 * MINUTE, 5, 5), (noon + 60 * MINUTE, 2, 2))
    write_patch(client, Patch("p", "shop", noon - 30 * MINUTE, "apply", 2, 5, 2, applied=True))
    priced = replace(SERVICE, cost=Cost(0.5, "EUR"))
    world = world_at(client, day + timedelta(days=1, hours=1))

    assert weigh_once(world, priced) == 1
    assert weigh_once(world, priced) == 0

    [week] = read_weeks(client, "shop", since=day - timedelta(days=1), until=day + timedelta(days=1))
    assert (week.days, week.acted) == (1, timedelta(minutes=90))
    assert week.with_under_provisioned_seconds == 0
    assert week.without_under_provisioned_seconds >= 120  # at least the start of a replica
    assert week.with_replica_seconds > week.without_replica_seconds


def test_the_commands_tell_history_story_and_savings(
    client: Client, shared_store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write_decision(client, a_stored(a_decision(6, at=NOW), id="11112222-3333", applied=True, capacity=DECLARED))
    (tmp_path / "tidegauge.yaml").write_text(
        "version: 1\nservices: {shop: {source: events, scaling: {target: {kind: local, name: app}, mode: observe,"
        " min_replicas: 2, max_replicas: 20, capacity_rps: [12, 14], quantile: 0.95, lead: 15m, largest_step: 4,"
        " cool_down: 5m, reactive: {target_rps_per_replica: 10}}}}\n"
    )
    for name in [name for name in os.environ if name.startswith("TIDEGAUGE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TIDEGAUGE_CONFIG", str(tmp_path / "tidegauge.yaml"))
    monkeypatch.setenv("TIDEGAUGE_DATA", str(tmp_path))
    monkeypatch.setenv("TIDEGAUGE_CLICKHOUSE_URL", shared_store_url)
    monkeypatch.setenv("TIDEGAUGE_CLICKHOUSE_DATABASE", client.database)
    monkeypatch.setenv("TIDEGAUGE_FORECASTER_URL", f"http://127.0.0.1:{free_port()}")
    app = typer.Typer()
    mount(app)

    def run(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, ["scale", *arguments])
        return result.exit_code, result.stdout + result.stderr

    code, text = run("history", "--since", "7d")
    assert (code, "11112222" in text, "not yet" in text) == (0, True, True)
    code, text = run("explain", "111122")
    assert (code, "The floor went from 2 to 6" in text) == (0, True)
    assert run("explain", "999999")[0] == 1
    assert json.loads(run("saved", "shop", "--json")[1])["weeks"] == []
    # No forecaster listens: an order is kept in the file, and says so.
    code, text = run("pause", "shop", "--reason", "incident 42", "--who", "ann")
    assert (code, "no forecaster listens" in text) == (0, True)
    status = json.loads(run("status", "shop", "--json")[1])
    assert "incident 42" in status["paused"]
    code, text = run("mode", "shop", "act")
    assert (code, "expected a passed `tidegauge backtest policy shop`, but none was run" in text) == (2, True)
    assert run("mode", "shop", "act", "--force", "--who", "ann")[0] == 0
    status = json.loads(run("status", "shop", "--json")[1])
    assert (status["mode"], status["mode_configured"], status["mode_ordered"]["forced"]) == ("act", "observe", True)
    assert run("apply", "shop")[0] == 1
    assert run("pause", "nobody", "--reason", "x")[0] == 2


def test_a_pause_works_with_no_store_at_all_and_outlives_a_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port, admin = free_port(), "a" * 20
    (tmp_path / "tidegauge.yaml").write_text("version: 1\nservices: {shop: {source: import}}\n")
    told = {
        "TIDEGAUGE_CONFIG": str(tmp_path / "tidegauge.yaml"),
        "TIDEGAUGE_DATA": str(tmp_path / "data"),
        "TIDEGAUGE_CLICKHOUSE_URL": f"http://127.0.0.1:{free_port()}",
        "TIDEGAUGE_FORECASTER_PORT": str(port),
        "TIDEGAUGE_READ_TOKEN": "r" * 20,
        "TIDEGAUGE_ADMIN_TOKEN": admin,
    }
    for name in [name for name in os.environ if name.startswith("TIDEGAUGE_")]:
        monkeypatch.delenv(name)
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    url = f"http://127.0.0.1:{port}/v1/orders"
    app = typer.Typer()
    mount(app)
    with running_forecaster(url):
        assert httpx.get(url).status_code == 401
        result = CliRunner().invoke(app, ["scale", "pause", "shop", "--reason", "incident 42", "--who", "ann"])
        assert (result.exit_code, result.stderr) == (0, "")  # the process took it: nothing was kept aside
    with running_forecaster(url):
        paused = httpx.get(url, headers={"Authorization": f"Bearer {admin}"}).json()["paused"]
    assert "paused by ann" in paused["shop"]


@contextmanager
def running_forecaster(url: str) -> Iterator[None]:
    """A forecaster of this environment, from when it answers until it is killed."""
    process = subprocess.Popen([sys.executable, "-m", "forecaster"], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    try:
        while True:
            assert process.poll() is None
            assert time.monotonic() < deadline
            with suppress(httpx.TransportError):
                httpx.get(url, timeout=5)
                break
            time.sleep(0.05)  # polling with a deadline
        yield
    finally:
        process.kill()
        process.wait()
