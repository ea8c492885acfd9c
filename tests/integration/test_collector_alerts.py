"""Alerts on a real store: kept over a restart, read by the commands, raised by the collector as a process."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer
from typer.testing import CliRunner

from collector.alerts.evaluate import Memory, evaluate_once, memory_of
from collector.alerts.local_state import LocalState, from_text, to_text
from collector.alerts.state import Notice, Silence
from collector.alerts.store import read_alerts, write_silence
from collector.catalog import Catalog, parse_catalog
from collector.clickhouse import ClickHouseSettings, Client, connect, migrate
from collector.commands import mount
from collector.instrument import Event
from collector.record.store import SCHEMA_FOLDER, SCHEMA_OWNER, Marker, write_marker
from collector.slo.minutes import read_slo_minutes
from collector.slo.objectives import Counts
from collector.slo.store import read_slo_counts
from tests.integration.collector_fixtures import CATALOG, start_collector, until
from tests.integration.store_fixtures import shared_store_url as shared_store_url

pytestmark = pytest.mark.server
MINUTE = timedelta(minutes=1)
AVAILABILITY = "burn/shop/availability/page"


@pytest.fixture
def client(shared_store_url: str) -> Iterator[Client]:
    client = connect(ClickHouseSettings(url=shared_store_url, database=f"alerts_{uuid.uuid4().hex}"))
    migrate(client, SCHEMA_FOLDER, owner=SCHEMA_OWNER)
    yield client
    client.close()


def catalog() -> Catalog:
    return parse_catalog(CATALOG, name="test")


def add_minute(client: Client, minute: datetime, *, good: int, bad: int) -> None:
    """Requests of the minute that starts at `minute`."""
    count = good + bad
    client.insert_columns(
        "request_events",
        {
            "ts": [int(minute.timestamp() * 1e6)] * count,
            "service": ["shop"] * count,
            "route": ["/a"] * count,
            "status": [200] * good + [500] * bad,
            "duration_us": [1000] * count,
        },
        token=str(uuid.uuid4()),
    )


def start_of_minute() -> datetime:
    return datetime.fromtimestamp(time.time() // 60 * 60, UTC)


class Told:
    """Collects what is told."""

    def __init__(self) -> None:
        self.reasons: list[str] = []
        self.left = LocalState()

    def __call__(self, notices: list[Notice], minute: datetime, left: LocalState) -> None:
        self.left = from_text(to_text(left))  # as it is read after a restart
        self.reasons += [f"{notice.alert.alert_id} {notice.reason}" for notice in notices]


def evaluate(client: Client, memory: Memory, minute: datetime, told: Any) -> None:
    evaluate_once(client, catalog(), memory, minute=minute, spool_age=None, tell=told)


def test_a_restart_neither_repeats_nor_forgets(client: Client) -> None:
    start, told = start_of_minute(), Told()
    add_minute(client, start - MINUTE, good=50, bad=50)
    evaluate(client, Memory(), start, told)
    assert told.reasons.count(f"{AVAILABILITY} firing") == 1
    evaluate(client, Memory(), start, told)  # the same minute after a restart
    add_minute(client, start, good=50, bad=50)
    evaluate(client, Memory(), start + MINUTE, told)
    assert told.reasons.count(f"{AVAILABILITY} firing") == 1
    for number in range(1, 7):  # six good minutes: the short window of five minutes has none of the errors
        add_minute(client, start + number * MINUTE, good=1000, bad=0)
    evaluate(client, Memory(), start + 7 * MINUTE, told)
    assert read_alerts(client)[AVAILABILITY].phase in ("firing", "resolved")
    # 1 h / 5 m is over, but 6 h / 30 m still burns: 100 bad of 6200 is 1.6 %, under 6 times 1 %: resolved
    assert read_alerts(client)[AVAILABILITY].phase == "resolved"
    assert told.reasons.count(f"{AVAILABILITY} resolved") == 1


def test_while_the_store_is_away_an_old_spool_is_told_and_stored_when_it_is_back(client: Client) -> None:
    start, told, memory = start_of_minute(), Told(), Memory()
    age = timedelta(minutes=6)
    evaluate_once(None, catalog(), memory, minute=start, spool_age=age, tell=told)
    assert told.reasons == ["spool-age/collector firing"]
    evaluate_once(client, catalog(), memory, minute=start + MINUTE, spool_age=age, tell=told)
    assert read_alerts(client)["spool-age/collector"].phase == "firing"
    assert told.reasons == ["spool-age/collector firing"]


def test_a_restart_while_the_store_is_away_neither_repeats_nor_forgets(client: Client) -> None:
    start, told, old_spool = start_of_minute(), Told(), timedelta(minutes=6)
    add_minute(client, start - MINUTE, good=50, bad=50)
    evaluate(client, Memory(), start, told)
    memory = memory_of(told.left)
    evaluate_once(None, catalog(), memory, minute=start + MINUTE, spool_age=old_spool, tell=told)
    assert told.reasons.count("spool-age/collector firing") == 1
    # restarted twice, the store still away: the same spool is not told again
    for number in (2, 3):
        memory = memory_of(told.left)
        evaluate_once(None, catalog(), memory, minute=start + number * MINUTE, spool_age=old_spool, tell=told)
    assert told.reasons.count("spool-age/collector firing") == 1
    assert told.reasons.count(f"{AVAILABILITY} firing") == 1
    # and back: the store is told of what happened meanwhile, the page still fires and is not repeated
    add_minute(client, start + 3 * MINUTE, good=50, bad=50)
    evaluate_once(
        client, catalog(), memory_of(told.left), minute=start + 4 * MINUTE, spool_age=timedelta(), tell=told
    )  # fmt: skip
    stored = read_alerts(client)
    assert (stored["spool-age/collector"].phase, stored[AVAILABILITY].phase) == ("resolved", "firing")
    assert told.reasons.count("spool-age/collector resolved") == 1
    assert told.reasons.count(f"{AVAILABILITY} firing") == 1


def test_a_lost_own_state_is_taken_from_the_store_and_an_older_one_does_not_win(client: Client) -> None:
    start, told = start_of_minute(), Told()
    add_minute(client, start - MINUTE, good=50, bad=50)
    evaluate(client, Memory(), start, told)
    older = told.left
    add_minute(client, start, good=5000, bad=0)
    evaluate(client, memory_of(told.left), start + MINUTE, told)  # 50 of 5100 in both windows: resolved
    assert read_alerts(client)[AVAILABILITY].phase == "resolved"
    for memory in (Memory(), memory_of(older)):
        told.reasons.clear()
        evaluate(client, memory, start + 2 * MINUTE, told)
        assert told.reasons == []


def test_a_clock_that_was_set_back_stops_no_evaluation(client: Client) -> None:
    start, told = start_of_minute(), Told()
    evaluate(client, Memory(), start + timedelta(hours=5), told)
    add_minute(client, start - MINUTE, good=50, bad=50)
    evaluate(client, memory_of(told.left), start, told)
    assert told.reasons.count(f"{AVAILABILITY} firing") == 1


def test_silences_and_acknowledgements_hold_over_a_restart_without_the_store(client: Client) -> None:
    start, told = start_of_minute(), Told()
    silence = Silence("s", "collector", "*", start - MINUTE, start + timedelta(hours=1), "ada", "")
    write_silence(client, silence, now=start)
    evaluate(client, Memory(), start, told)
    old_spool = timedelta(minutes=6)
    evaluate_once(None, catalog(), memory_of(told.left), minute=start + MINUTE, spool_age=old_spool, tell=told)
    assert told.reasons == []


def test_time_that_a_marker_excludes_fires_and_misses_nothing(client: Client) -> None:
    start, told = start_of_minute(), Told()
    span = (start - 30 * MINUTE, start + 30 * MINUTE)
    write_marker(client, Marker("shop", "maintenance", *span, "new database", excludes_slo=True))
    for back in range(31, 60):
        add_minute(client, start - back * MINUTE, good=30, bad=0)
    for back in range(1, 20):
        add_minute(client, start - back * MINUTE, good=0, bad=100)
    evaluate(client, Memory(), start, told)
    assert told.reasons == []
    evaluate(client, Memory(), start + 20 * MINUTE, told)  # nothing came for twenty minutes of the maintenance
    assert [reason for reason in told.reasons if "shop" in reason] == []


def test_a_database_replica_that_lags_or_vanishes_fires_and_resolves(client: Client) -> None:
    start, told, memory = start_of_minute(), Told(), Memory()
    labels = {"server": "db:5432", "sampler": "postgres"}
    add_series(client, 1, "pg_replication_lag_seconds", {**labels, "standby": "r1"})
    add_series(client, 2, "pg_start_time_seconds", labels)

    def at(minutes: int, lag_seconds: float | None) -> list[str]:
        instant, told.reasons = start + minutes * MINUTE, []
        add_sample(client, 2, instant - timedelta(seconds=10), 5.0)
        if lag_seconds is not None:
            add_sample(client, 1, instant - timedelta(seconds=10), lag_seconds)
        evaluate(client, memory, instant, told)
        return [reason for reason in told.reasons if reason.startswith("replica-lag")]

    alert = "replica-lag/shop/r1 of db:5432"
    assert at(0, 0.2) == []
    assert at(1, 31.0) == [f"{alert} firing"]
    assert at(2, 0.2) == [f"{alert} resolved"]
    assert at(14, None) == [f"{alert} firing"]  # the primary answers and names it no longer, for twelve minutes


def add_series(client: Client, identity: int, name: str, labels: dict[str, str]) -> None:
    today = int(time.time()) // 86400
    columns = {"series_id": [identity], "name": [name], "service": ["shop"], "kind": ["gauge"], "labels": [labels],
               "source": ["sampler"], "last_seen": [today]}  # fmt: skip
    client.insert_columns("series", columns, token=str(uuid.uuid4()))


def add_sample(client: Client, identity: int, at: datetime, value: float) -> None:
    columns = {"series_id": [identity], "ts": [int(at.timestamp() * 1e3)], "value": [value]}
    client.insert_columns("samples", columns, token=str(uuid.uuid4()))


def test_a_posted_condition_fires_is_acknowledged_silenced_and_listed_by_command(
    shared_store_url: str, tmp_path: Path
) -> None:
    now = time.time()
    # A clock an hour behind and sixty times as fast: a minute ends every second.
    clock = {"TIDEGAUGE_CLOCK": f"{now - 3600}:{now}:60"}
    collector = start_collector(tmp_path, shared_store_url, environment=clock)
    try:
        collector.wait_until_alive("/readyz")
        body = {"service": "shop", "name": "capacity", "severity": "page", "summary": "demand passes capacity at 18:00"}
        answer = httpx.post(collector.url + "/v1/alerts", json=body, timeout=10)
        assert answer.json() == {"alert_id": "posted/shop/capacity"}
        assert httpx.post(collector.url + "/v1/alerts", json={"service": "x"}, timeout=10).status_code == 400
        until(lambda: posted(collector.url)["phase"] == "firing", why="the posted condition fires")
        environment = {**clock, "TIDEGAUGE_CLICKHOUSE_URL": shared_store_url}
        assert run(["alerts", "ack", "posted/shop/capacity", "--by", "ada"], environment)[0] == 0
        assert run(["alerts", "silence", "--service", "shop", "--for", "2h", "--by", "ada"], environment)[0] == 0
        assert run(["alerts", "silence", "--service", "shop", "--for", "soon"], environment)[0] == 2
        (silence,) = json.loads(run(["alerts", "silences", "--json"], environment)[1])
        assert (silence["service"], silence["author"]) == ("shop", "ada")
        assert run(["alerts", "ack", "unknown"], environment)[0] == 1
        code, output = run(["alerts", "list", "--json"], environment)
        listed = {alert["alert_id"]: alert for alert in json.loads(output)}["posted/shop/capacity"]
        assert (code, listed["acknowledged_by"], listed["silenced"]) == (0, "ada", True)
        assert run(["alerts", "unsilence", silence["silence_id"]], environment)[0] == 0
        assert run(["alerts", "silences"], environment) == (0, "no silences\n")
        assert run(["alerts", "unsilence", silence["silence_id"]], environment)[0] == 1
        assert posted(collector.url)["silenced"] is False
        httpx.post(collector.url + "/v1/alerts", json={**body, "breached": False}, timeout=10)
        until(lambda: posted(collector.url)["phase"] == "resolved", why="it resolves")
    finally:
        collector.kill()


def posted(url: str) -> dict[str, Any]:
    alerts = httpx.get(url + "/v1/alerts", timeout=10).json()["alerts"]
    return next((alert for alert in alerts if alert["kind"] == "posted"), {"phase": None})


def run(arguments: list[str], environment: dict[str, str]) -> tuple[int, str]:
    app = typer.Typer()
    mount(app)
    result = CliRunner().invoke(app, arguments, env=environment)
    return result.exit_code, result.stdout


def test_errors_of_a_service_fire_an_alert_of_the_collector(shared_store_url: str, tmp_path: Path) -> None:
    now = time.time()
    clock = {"TIDEGAUGE_CLOCK": f"{now - 7200}:{now}:60", "TIDEGAUGE_CLICKHOUSE_DATABASE": "errors"}
    collector = start_collector(tmp_path, shared_store_url, environment=clock)
    try:
        collector.wait_until_alive("/readyz")
        played = int((now - 7200) * 1e6)
        rows = [Event(ts_us=played, route="/a", method="GET", status=500, duration_us=5) for _ in range(40)]
        columns = {name: [getattr(row, name) for row in rows] for name in Event._fields}
        sender = {"id": "c", "service": "shop", "generated_total": 40, "dropped_total": 0}
        batch = {"schema": 1, "batch_id": str(uuid.uuid4()), "client": sender, "columns": columns}
        assert httpx.post(collector.url + "/v1/events", json=batch, timeout=10).status_code == 200

        def fires() -> bool:
            alerts = httpx.get(collector.url + "/v1/alerts", timeout=10).json()["alerts"]
            return any(each["service"] == "shop" and each["notifications"] for each in alerts)

        until(fires, why="an alert on the errors, or on the data that stopped, is told")
    finally:
        collector.kill()


def test_the_backtest_counts_what_the_live_evaluation_counts(
    client: Client, shared_store_url: str, tmp_path: Path
) -> None:
    start = start_of_minute() - 40 * MINUTE
    watched = catalog().service("shop")
    for number in range(40):
        add_minute(client, start + number * MINUTE, good=90, bad=10 if number >= 20 else 0)
    now = start + 40 * MINUTE
    live = read_slo_counts(client, "shop", watched.slos, now=now - timedelta(microseconds=1))[0]
    starts, valid, good = read_slo_minutes(client, "shop", watched.slos[0], since=start, until=now)
    for window in (timedelta(minutes=5), timedelta(minutes=30)):
        inside = [index for index, each in enumerate(starts) if each >= (now - window).timestamp()]
        assert live[window] == Counts(sum(valid[i] for i in inside), sum(good[i] for i in inside))
    config = tmp_path / "tidegauge.yaml"
    config.write_text(CATALOG)
    environment = {
        "TIDEGAUGE_CONFIG": str(config),
        "TIDEGAUGE_CLICKHOUSE_URL": shared_store_url,
        "TIDEGAUGE_CLICKHOUSE_DATABASE": client.database,
    }
    code, output = run(["slo", "backtest", "shop", "--slo", "availability", "--days", "0.1", "--json"], environment)
    assert code == 0
    assert [each["severity"] for each in json.loads(output)[0]["judgements"]] == ["page", "ticket"]
    assert run(["slo", "backtest", "shop", "--slo", "unknown"], environment)[0] == 1
    # a policy to try: any bad request of the last two minutes, so it fires at the end of the first bad minute
    policy = tmp_path / "policy.yaml"
    policy.write_text(
        "least_requests: 1\nleast_bad: 1\nburn_pairs: [{severity: info, long: 2m, short: 1m, factor: 1}]\n"
    )
    command = ["slo", "backtest", "shop", "--slo", "availability", "--days", "0.1", "--json", "--policy", str(policy)]
    code, output = run(command, environment)
    (result,) = json.loads(output)
    assert (code, [each["severity"] for each in result["judgements"]]) == (0, ["info"])
    assert datetime.fromisoformat(result["alerts"][0]["fired_at"]) == start + 21 * MINUTE
    policy.write_text("burn_pairs: no\n")
    assert run(command, environment)[0] == 1
