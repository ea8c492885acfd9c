"""The spine on a real store: demand in, forecast and decision out, a floor changed, and every row read back equal."""

import json
import math
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from collector.clickhouse import ClickHouseSettings, Client, connect, migrate
from collector.record import store as record
from collector.sources.files import import_series, parse_csv
from forecaster import store
from forecaster.actuators.memory import MemoryCluster
from forecaster.commands import mount
from forecaster.forecast.types import Forecast
from forecaster.history import HistoryCache, read_history
from forecaster.judging.check import BacktestRequest, run_policy_backtest
from forecaster.loop.tick import Memory, World, decide_once, observe_once, refresh_once
from forecaster.scaling.types import Capacity
from forecaster.settings import Settings
from forecaster.store import ReplicaState, StoredBacktest
from tests.integration.store_fixtures import free_port, shared_store_url, start_store
from tests.unit.forecaster_fakes import HPA, SERVICE, a_decision, a_stored
from tidegauge.clock import Clock

__all__ = ["shared_store_url"]
pytestmark = pytest.mark.server

# Near the real present: the tables forget what is old, and would forget rows of a fixed date one day. Days are alike.
NOW = datetime.now(UTC).replace(hour=7, minute=50, second=0, microsecond=0) - timedelta(days=2)
STEP = timedelta(minutes=5)
RECORDED_FROM = NOW - timedelta(hours=3)
QUIET_RPS, BUSY_RPS = 10.0, 60.0


def demand_rps(at: datetime) -> float:
    """Every day alike: quiet until 8, busy until 20. At 12 requests/s a replica, busy needs 60 / 12 = 5 replicas."""
    return BUSY_RPS if 8 <= at.hour < 20 else QUIET_RPS


@pytest.fixture
def client(shared_store_url: str, request: pytest.FixtureRequest) -> Iterator[Client]:
    database = "t_" + request.node.name.split("[")[0][:40]
    client = connect(ClickHouseSettings(url=shared_store_url, database=database))
    migrate(client, record.SCHEMA_FOLDER, owner=record.SCHEMA_OWNER)
    migrate(client, store.SCHEMA_FOLDER, owner=store.SCHEMA_OWNER)
    yield client
    client.close()


def import_two_weeks(client: Client, *, until: datetime) -> None:
    start = NOW.replace(hour=0, minute=0) - timedelta(days=14)
    count = (until - start) // STEP
    rows = (start + index * STEP for index in range(count))
    lines = [f"{at:%Y-%m-%dT%H:%M:%SZ},{demand_rps(at) * STEP.total_seconds()}" for at in rows]
    import_series(client, "shop", parse_csv("\n".join(["timestamp,value", *lines])), source="file", now=until)


def record_minutes(client: Client, start: datetime, end: datetime) -> None:
    minutes = [start + timedelta(minutes=index) for index in range((end - start) // timedelta(minutes=1))]
    columns = {
        "service": ["shop"] * len(minutes),
        "ts": [int(at.timestamp()) for at in minutes],
        "step_seconds": [60] * len(minutes),
        "value": [demand_rps(at) * 60 for at in minutes],
    }
    client.insert_columns("demand_recorded", columns, token=f"recorded/{start}/{end}")


def world_at(client: Client, cluster: MemoryCluster, now: datetime) -> World:
    return World(client, Clock(read_real=lambda: now.timestamp()), cluster, Settings())


def passed_backtest() -> StoredBacktest:
    window = (NOW - timedelta(days=8), NOW - timedelta(days=1))
    return StoredBacktest("shop", NOW - timedelta(hours=1), True, *window, {"reason": "better"})


def test_demand_becomes_a_floor_ahead_of_the_ramp_and_every_row_is_read_back(client: Client) -> None:
    import_two_weeks(client, until=RECORDED_FROM)
    record_minutes(client, RECORDED_FROM, NOW)
    store.write_backtest(client, passed_backtest())
    cluster, memory = MemoryCluster({"app": HPA}), Memory()
    world = world_at(client, cluster, NOW)

    forecast = refresh_once(world, SERVICE, memory)
    assert isinstance(forecast, Forecast)
    # At 07:50:00 the step that ended at 07:50 may still be on its way (2 s of settling): the one before is complete.
    assert forecast.origin == NOW - STEP
    read = store.read_latest_forecast(client, "shop", at=NOW)
    assert read is not None
    assert replace(read, frame=forecast.frame) == forecast
    pd.testing.assert_frame_equal(read.frame, forecast.frame, check_dtype=False)

    decided = decide_once(world, SERVICE, memory)
    # Lead 15 min and refresh 5 min reach from 07:50 to 08:10, ten minutes into the ramp.
    assert decided.stored.applied
    assert decided.stored.decision.floor_after >= math.ceil(BUSY_RPS / 12)
    assert decided.stored.decision.needed_at is not None
    assert NOW <= decided.stored.decision.needed_at <= NOW.replace(hour=8, minute=0)
    assert cluster.written == [("app", decided.stored.decision.floor_after)]
    [stored] = store.read_decisions(client, "shop", until=NOW + STEP)
    source = decided.stored.capacity and replace(decided.stored.capacity, source=stored.capacity.source)  # type: ignore[union-attr]
    assert stored == replace(decided.stored, capacity=source)

    seen = observe_once(world, SERVICE, memory)
    assert seen is not None
    states = store.read_replica_states(client, "shop", since=NOW, until=NOW + STEP)
    assert states[["floor", "ceiling", "ready"]].values.tolist() == [[seen.hpa.floor, 20, 2]]
    assert states["capacity_rps"].tolist() == [12.0]


def test_history_from_a_file_that_reaches_the_present_is_ground_enough_to_raise_on(client: Client) -> None:
    import_two_weeks(client, until=NOW)  # a service of which no request was recorded yet
    store.write_backtest(client, passed_backtest())
    cluster, memory = MemoryCluster({"app": HPA}), Memory()
    world = world_at(client, cluster, NOW)
    refresh_once(world, SERVICE, memory)

    decided = decide_once(world, SERVICE, memory)

    assert decided.situation.metric_at == NOW
    assert decided.stored.decision.outcome == "raise"


def test_a_killed_forecaster_goes_on_where_it_was(client: Client) -> None:
    import_two_weeks(client, until=RECORDED_FROM)
    record_minutes(client, RECORDED_FROM, NOW)
    store.write_backtest(client, passed_backtest())
    cluster, before = MemoryCluster({"app": HPA}), Memory()
    world = world_at(client, cluster, NOW)
    refresh_once(world, SERVICE, before)
    first = decide_once(world, SERVICE, before)

    later, after = world_at(client, cluster, NOW + timedelta(seconds=1)), Memory()
    refresh_once(later, SERVICE, after)  # a second later no further step is complete: there is nothing to do
    assert len(store.read_forecasts(client, "shop", since=NOW - STEP, until=NOW + STEP)["created_at"].unique()) == 1
    second = decide_once(later, SERVICE, after)
    assert second.stored.decision.floor_before == first.stored.decision.floor_after
    assert second.stored.forecast_origin == first.stored.forecast_origin


def test_the_last_raise_and_the_last_lowering_are_known_from_the_applied_decisions(client: Client) -> None:
    lowered = a_decision(1, at=NOW, outcome="lower")
    store.write_decision(client, a_stored(lowered, id="a", applied=True))
    store.write_decision(client, a_stored(a_decision(6, at=NOW + STEP), id="b", applied=True))
    store.write_decision(client, a_stored(a_decision(1, at=NOW + 2 * STEP), id="c", applied=False, error="timed out"))
    changes = store.read_last_changes(client, "shop", until=NOW + 9 * STEP)
    assert changes == store.LastChanges(raised_at=NOW + STEP, lowered_at=NOW)
    assert store.read_last_changes(client, "shop", until=NOW) == store.LastChanges()
    newest, *_ = store.read_decisions(client, "shop", limit=2)
    assert (newest.id, newest.error, newest.capacity, newest.forecast_origin) == ("c", "timed out", None, None)


def test_rows_sent_twice_are_stored_once(client: Client) -> None:
    stored = a_stored(a_decision(6, at=NOW), capacity=Capacity(12.0, 14.0, "declared"))
    state = ReplicaState("shop", NOW, HPA, None)
    for _ in range(2):
        store.write_decision(client, stored)
        store.write_replica_states(client, [state])
        store.write_backtest(client, passed_backtest())
    assert len(store.read_decisions(client, "shop")) == 1
    states = store.read_replica_states(client, "shop", since=NOW, until=NOW + STEP)
    assert states["capacity_rps"].isna().tolist() == [True]  # nobody knew it: not 0
    assert client.query_rows("SELECT count() FROM policy_backtests") == [(1,)]
    assert store.read_latest_backtest(client, "shop") == passed_backtest()


def test_what_was_forecast_a_lead_before_is_told_for_each_step(client: Client) -> None:
    def forecast_from(origin: datetime, value: float) -> Forecast:
        frame = pd.DataFrame({"ds": [origin, origin + STEP, origin + 2 * STEP], "q0.5": [value] * 3})
        return Forecast("shop", origin, "flat", STEP, (0.5,), frame, origin - STEP, origin)

    store.write_forecast(client, forecast_from(NOW, 1.0), created_at=NOW)
    store.write_forecast(client, forecast_from(NOW + STEP, 2.0), created_at=NOW + STEP)
    known = store.read_forecast_as_known(client, "shop", since=NOW, until=NOW + 4 * STEP, lead=STEP)
    # 5 minutes ahead: 07:55 is known from 07:50 only; 08:00 and 08:05 from 07:55. 07:50 itself was not known then.
    assert known["q0.5"].tolist() == [1.0, 2.0, 2.0]
    assert known["ds"].tolist() == [NOW + STEP, NOW + 2 * STEP, NOW + 3 * STEP]
    # A demo that is played again stands before the second forecast, and must not see it.
    latest = store.read_latest_forecast(client, "shop", at=NOW)
    assert latest is not None
    assert latest.origin == NOW


def test_the_cached_history_equals_the_stored_one_as_rows_arrive(client: Client) -> None:
    import_two_weeks(client, until=RECORDED_FROM)
    cache, since = HistoryCache(), NOW - timedelta(days=7)
    for minutes in range(0, 180, 45):
        end = RECORDED_FROM + timedelta(minutes=minutes + 45)
        record_minutes(client, end - timedelta(minutes=45), end)
        cached = cache.read(client, "shop", since=since, until=end, step=STEP)
        whole = read_history(client, "shop", since=since, until=end, step=STEP)
        pd.testing.assert_frame_equal(cached, whole)
    assert len(cached) == 7 * 288


def test_history_that_a_marker_masks_is_not_learnt_from(client: Client) -> None:
    import_two_weeks(client, until=RECORDED_FROM)
    start, end = NOW - timedelta(days=2), NOW - timedelta(days=2) + timedelta(minutes=20)
    record.write_marker(client, record.Marker("shop", "load test", start, end, "", masks_history=True))
    rows = read_history(client, "shop", since=start - STEP, until=end + STEP, step=STEP)
    assert rows["ds"].tolist() == [start - STEP, end]


def test_a_backtest_of_the_service_is_stored_as_the_gate(client: Client) -> None:
    import_two_weeks(client, until=RECORDED_FROM)
    told: list[float] = []
    request = BacktestRequest(Settings(refresh=timedelta(minutes=30)), window=timedelta(hours=12))
    verdict = run_policy_backtest(client, SERVICE, now=NOW, request=request, progress=told.append)
    stored = store.read_latest_backtest(client, "shop")
    assert stored is not None
    assert (stored.passed, stored.window_from, stored.window_to) == (verdict.passed, *verdict.window)
    assert stored.report["predictive"]["replica_seconds"] == verdict.predictive.replica_seconds
    assert told == sorted(told)
    assert told


def test_the_commands_answer_from_the_store(
    client: Client, shared_store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_two_weeks(client, until=RECORDED_FROM)
    record_minutes(client, RECORDED_FROM, NOW)
    for name, value in _environment(shared_store_url, client.database, tmp_path, port=free_port()).items():
        monkeypatch.setenv(name, value)
    app = typer.Typer()
    mount(app)
    asked = ["forecast", "shop", "--as-of", NOW.isoformat(), "--horizon", "1h", "--json"]
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 0, result.output
    [forecast] = json.loads(result.stdout)["forecasts"]
    assert (forecast["origin"], len(forecast["points"])) == (f"{NOW:%Y-%m-%dT%H:%M:%SZ}", 12)
    assert forecast["points"][4]["q"]["0.5"] == pytest.approx(BUSY_RPS, rel=0.1)  # 08:10
    assert CliRunner().invoke(app, ["forecast", "shop", "--as-of", "2020-01-01", "--json"]).exit_code == 2
    # No cluster answers here: the plan says so.
    plan = json.loads(CliRunner().invoke(app, ["plan", "shop", "--json"]).stdout)
    assert plan["outcome"] == "no_plan"
    status = json.loads(CliRunner().invoke(app, ["scale", "status", "shop", "--json"]).stdout)
    assert status["autoscaler"] is None
    assert status["autoscaler_error"]
    store.write_decision(client, a_stored(a_decision(6, at=NOW), applied=True))
    history = CliRunner().invoke(app, ["scale", "history", "shop", "--since", "7d", "--json"])
    assert [one["floor_after"] for one in json.loads(history.stdout)["decisions"]] == [6]
    monkeypatch.setenv("TIDEGAUGE_CLICKHOUSE_URL", f"http://127.0.0.1:{free_port()}")
    down = CliRunner().invoke(app, ["scale", "history", "shop"])
    assert (down.exit_code, down.stderr.count("\n")) == (1, 1)


CONFIG = """version: 1
services:
  shop:
    source: events
    scaling:
      target: {kind: local, name: app}
      mode: observe
      min_replicas: 2
      max_replicas: 20
      capacity_rps: [12, 14]
      quantile: 0.95
      lead: 15m
      largest_step: 4
      cool_down: 5m
      reactive: {target_rps_per_replica: 10}
"""


def _environment(store_url: str, database: str, tmp_path: Path, *, port: int) -> dict[str, str]:
    config = tmp_path / "tidegauge.yaml"
    config.write_text(CONFIG)
    return {
        "TIDEGAUGE_CONFIG": str(config),
        "TIDEGAUGE_CLICKHOUSE_URL": store_url,
        "TIDEGAUGE_CLICKHOUSE_DATABASE": database,
        "TIDEGAUGE_FORECASTER_PORT": str(port),
        "TIDEGAUGE_CLUSTER_URL": "http://127.0.0.1:9",  # the discard port: nobody answers
    }


def _start(environment: dict[str, str]) -> subprocess.Popen[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TIDEGAUGE_")}
    return subprocess.Popen(
        [sys.executable, "-m", "forecaster"], env={**inherited, **environment}, stderr=subprocess.PIPE, text=True
    )


def _wait_for(url: str, *, status: int) -> httpx.Response:
    deadline = time.monotonic() + 30
    last = "no answer"
    while time.monotonic() < deadline:
        try:
            answer = httpx.get(url, timeout=5)
        except httpx.TransportError as error:
            last = str(error)
        else:
            if answer.status_code == status:
                return answer
            last = f"{answer.status_code} {answer.text}"
        time.sleep(0.05)  # polling with a deadline
    raise AssertionError(f"{url}: expected {status}, last: {last}")


def test_the_process_waits_for_its_store_then_works_and_stops_on_sigterm(tmp_path: Path) -> None:
    store_port, port = free_port(), free_port()
    process = _start(_environment(f"http://127.0.0.1:{store_port}", "tidegauge", tmp_path, port=port))
    base = f"http://127.0.0.1:{port}"
    started = None
    try:
        _wait_for(f"{base}/healthz", status=200)
        assert str(store_port) in _wait_for(f"{base}/readyz", status=503).text
        started = start_store(tmp_path / "store", port=store_port)
        _wait_for(f"{base}/readyz", status=200)
        assert _wait_for(f"{base}/v1/services/shop", status=200).json()["mode"] == "observe"
        assert "tidegauge_tick_seconds" in _wait_for(f"{base}/metrics", status=200).text
        started.kill()
        assert "store" in _wait_for(f"{base}/readyz", status=503).text
        assert _wait_for(f"{base}/healthz", status=200).json() == {"status": "alive"}
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()
        if started is not None and started.process.poll() is None:
            started.kill()


def test_a_port_in_use_is_told_with_its_setting(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = _start(_environment("http://127.0.0.1:9", "tidegauge", tmp_path, port=port))
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"port {port} is in use; choose another with TIDEGAUGE_FORECASTER_PORT" in stderr
