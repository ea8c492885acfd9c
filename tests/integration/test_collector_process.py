"""The collector as a process: what it acknowledged is stored once, whatever dies in between."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI, HTTPException, Request

from collector.clickhouse import ClickHouseSettings, Client, connect
from collector.instrument import Event, EventClient, RecordRequests
from collector.record.store import IngestCounts, read_demand, read_ingest_counts, read_red
from tests.integration.collector_fixtures import CollectorProcess, start_collector, until, unused_port
from tests.integration.store_fixtures import start_store

pytestmark = pytest.mark.server
DAY = timedelta(days=1)


@contextmanager
def running(folder: Path) -> Iterator[tuple[CollectorProcess, Client]]:
    """A store and a ready collector, which `restarted` starts again under the same port and state."""
    store = start_store(folder / "store")
    try:
        store.wait_until_ready()
        collector = start_collector(folder / "state", store.url)
        try:
            collector.wait_until_alive("/readyz")
            client = connect(ClickHouseSettings(url=store.url))
            yield collector, client
            client.close()
        finally:
            collector.kill()
    finally:
        store.kill()


def restarted(collector: CollectorProcess, store_url: str) -> None:
    """Start the collector again in place, so that whoever holds it ends the new one."""
    again = start_collector(collector.log.parent, store_url, port=int(collector.url.rsplit(":", 1)[1]))
    collector.process = again.process
    collector.wait_until_alive("/readyz")


def batch(number: int, *, events: int = 3) -> dict[str, Any]:
    now = int(time.time() * 1e6)
    rows = [
        Event(ts_us=now + row, route="/a", method="GET", status=200, duration_us=5, instance=f"i{number}")
        for row in range(events)
    ]
    columns = {name: [getattr(row, name) for row in rows] for name in Event._fields}
    client = {"id": f"client-{number}", "service": "shop", "generated_total": events, "dropped_total": 0}
    return {"schema": 1, "batch_id": str(uuid.uuid4()), "client": client, "columns": columns}


def post(collector: CollectorProcess, document: dict[str, Any]) -> dict[str, Any]:
    response = httpx.post(collector.url + "/v1/events", json=document, timeout=10)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def books(client: Client) -> IngestCounts:
    now = datetime.now(UTC)
    return read_ingest_counts(client, since=now - DAY, until=now + DAY)


def balanced(events: int) -> IngestCounts:
    return IngestCounts(generated=events, acknowledged=events, stored=events, dropped=0, duplicates=0)


def metric(collector: CollectorProcess, name: str) -> float:
    lines = httpx.get(collector.url + "/metrics", timeout=10).text.splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))


def test_a_batch_sent_three_times_is_stored_once_even_across_a_restart(tmp_path: Path) -> None:
    with running(tmp_path) as (collector, client):
        document = batch(1)
        answers = [post(collector, document) for _ in range(2)]
        until(lambda: books(client) == balanced(3), why="stored")
        assert collector.stop() == 0
        restarted(collector, store_url_of(client))
        answers.append(post(collector, document))
        post(collector, batch(2))
        until(lambda: books(client) == balanced(6), why="the second batch stored, the first not again")
    assert [answer["duplicate"] for answer in answers] == [False, True, True]
    assert {answer["acknowledged"] for answer in answers} == {3}


def store_url_of(client: Client) -> str:
    return str(client._driver.url)


def test_kill_9_between_acknowledging_and_storing_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    with running(tmp_path) as (collector, client):
        acknowledged = 0
        for life in range(3):
            for number in range(20):
                acknowledged += post(collector, batch(life * 100 + number))["acknowledged"]
            collector.kill()  # the youngest batches are on disk only, or under way to the store
            restarted(collector, store_url_of(client))
        assert acknowledged == 180
        until(lambda: books(client) == balanced(180), why="everything acknowledged is stored, once")
        assert client.query_rows("SELECT sum(requests) FROM red_1h") == [(180,)]


def test_while_the_store_is_away_events_are_acknowledged_and_stored_when_it_is_back(tmp_path: Path) -> None:
    store_port = unused_port()
    collector = start_collector(tmp_path / "state", f"http://127.0.0.1:{store_port}")
    store = None
    try:
        collector.wait_until_alive()
        assert httpx.get(collector.url + "/readyz").status_code == 503
        assert httpx.get(collector.url + "/v1/slo?service=shop").status_code == 503
        for number in range(5):
            post(collector, batch(number))
        assert metric(collector, "tidegauge_spool_batches") == 5
        store = start_store(tmp_path / "store", port=store_port)
        store.wait_until_ready()
        collector.wait_until_alive("/readyz")
        client = connect(ClickHouseSettings(url=store.url))
        until(lambda: books(client) == balanced(15), why="stored after the store came")
        store.kill()
        post(collector, batch(7))
        store = start_store(tmp_path / "store", port=store_port)
        store.wait_until_ready()
        until(lambda: books(client) == balanced(18), why="stored after the store came back")
        client.close()
        assert collector.stop() == 0
    finally:
        collector.kill()
        if store is not None:
            store.kill()


def application(events: EventClient) -> RecordRequests:
    app = FastAPI()

    @app.get("/items/{item}")
    async def item(request: Request, item: int) -> dict[str, int]:
        request.scope["tidegauge"]["cache_level"] = "l1" if item % 2 else "miss"
        if item % 10 == 0:
            raise HTTPException(503)
        return {"item": item}

    return RecordRequests(app, client=events, service="shop", instance="web-1", version="1")


@contextmanager
def serving(app: Any) -> Iterator[str]:
    port = unused_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None, ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until(lambda: server.started, why="the app serves")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


def test_every_request_of_a_real_app_is_in_every_table_with_exact_counts(tmp_path: Path) -> None:
    with running(tmp_path) as (collector, client):
        events = EventClient(collector.url, service="shop", instance="web-1", flush_seconds=0.05)
        started = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
        with serving(application(events)) as url, httpx.Client(base_url=url) as caller:
            for number in range(200):
                caller.get(f"/items/{number}", headers={"x-region": "eu-west" if number < 150 else "us-east"})
            caller.get("/healthz")
        # the app has stopped: its last report was sent before it ended
        until(lambda: books(client) == balanced(200), why="the books balance")
        until_ = started + timedelta(hours=2)
        totals = client.query_rows("SELECT (SELECT sum(requests) FROM red_1m), (SELECT sum(requests) FROM red_1h)")
        assert totals == [(200, 200)]
        demand = read_demand(client, "shop", since=started, until=until_, step=timedelta(minutes=1))
        assert demand["rps"].sum() * 60 == pytest.approx(200)
        hour = timedelta(hours=1)
        by_region = read_red(client, "shop", since=started, until=until_, step=hour, by="region")
        assert by_region.groupby("region")["requests"].sum().to_dict() == {"eu-west": 150, "us-east": 50}
        by_cache = read_red(client, "shop", since=started, until=until_, step=hour, by="cache_level")
        assert by_cache.groupby("cache_level")["errors"].sum().to_dict() == {"l1": 0, "miss": 20}
        slo = httpx.get(collector.url + "/v1/slo?service=shop").json()
        availability, fast = slo["slos"]
        assert (availability["valid"], availability["good"], availability["sli"]) == (200, 180, 0.9)
        assert (fast["valid"], fast["good"]) == (180, 180)
        assert slo["classic_rule"][0]["route"] == "/items/{item}"
        assert metric(collector, "tidegauge_events_acknowledged_total") == 200
        assert metric(collector, "tidegauge_events_stored_total") == 200
        assert metric(collector, "tidegauge_record_freshness_seconds") >= 0


def test_the_other_posts_are_stored_and_bad_ones_say_what_was_expected(tmp_path: Path) -> None:
    with running(tmp_path) as (collector, client):
        now = int(time.time())
        seconds = {
            "second": [now - 2, now - 1], "intended": [5, 5], "sent": [5, 5], "done": [5, 4], "failed": [0, 1],
            "unsent": [0, 0], "send_lag_us_max": [9, 9], "response_histogram": [{"80": 5}, {"80": 4}],
            "service_histogram": [{}, {}], "users": [7, None],
        }  # fmt: skip
        run = {
            "run_id": "r1", "service": "shop", "scenario": "s", "target": "http://x", "started_at": now - 2,
            "status": "running", "batch_id": "b1", "seconds": seconds,
        }  # fmt: skip
        for _ in range(2):
            assert httpx.post(collector.url + "/v1/load-runs", json=run).status_code == 200
        assert client.query_rows("SELECT count(), sum(done) FROM load_seconds") == [(2, 9)]
        requests = {
            "intended_us": [now * 10**6 - 5, now * 10**6], "sent_us": [now * 10**6, None],
            "first_byte_us": [now * 10**6 + 9, None], "done_us": [now * 10**6 + 10, None], "status": [200, None],
            "name": ["search", "search"], "error": [None, "refused"],
        }  # fmt: skip
        with_requests = {**run, "batch_id": "b3", "status": "passed", "seconds": {}, "requests": requests}
        for _ in range(2):
            answer = httpx.post(collector.url + "/v1/load-runs", json=with_requests).json()
            assert answer == {"stored": True, "seconds": 0, "requests": 2}
        facts = "count(), countIf(isNull(sent) AND error = 'refused'), toFloat64(max(done) - min(intended))"
        assert client.query_rows(f"SELECT {facts} FROM load_requests") == [(2, 1, 15e-6)]
        vanishing = {**with_requests, "requests": {**requests, "intended_us": [1, 2]}}
        assert "7 days" in httpx.post(collector.url + "/v1/load-runs", json=vanishing).json()["error"]
        listed = httpx.get(collector.url + "/v1/load-runs?service=shop").json()["runs"]
        assert [(each["run_id"], each["status"]) for each in listed] == [("r1", "passed")]
        assert httpx.get(collector.url + "/v1/load-runs?service=other").json() == {"runs": []}
        found = httpx.get(collector.url + "/v1/load-runs/r1").json()
        assert found["seconds"]["users"] == [7, None]
        assert found["seconds"] == seconds
        assert datetime.fromisoformat(found["started_at"]).timestamp() == now - 2
        quiet = {"run_id": "r2", "service": "quiet", "started_at": now, "status": "running"}
        httpx.post(collector.url + "/v1/load-runs", json=quiet)
        found = httpx.get(collector.url + "/v1/load-runs/r2").json()
        assert found["seconds"] == {name: [] for name in seconds}
        assert httpx.get(collector.url + "/v1/load-runs/none").status_code == 404
        old = {**run, "batch_id": "b2", "seconds": {**seconds, "second": [now - 100 * 86400, now]}}
        assert "94 days" in httpx.post(collector.url + "/v1/load-runs", json=old).json()["error"]
        capacity = {"service": "shop", "version": "1", "source": "search", "low_rps": 12, "high_rps": 14, "details": {}}
        assert httpx.post(collector.url + "/v1/capacities", json=capacity).status_code == 200
        (measured,) = httpx.get(collector.url + "/v1/capacities?service=shop").json()["capacities"]
        assert {**measured, "measured_at": None} == {**capacity, "measured_at": None}
        bad = httpx.post(collector.url + "/v1/capacities", json={**capacity, "low_rps": 15})
        assert bad.status_code == 400
        assert "low_rps <= high_rps" in bad.json()["error"]
        assert httpx.get(collector.url + "/v1/slo?service=none").status_code == 404
        assert httpx.get(collector.url + "/v1/demand?service=shop&from=soon&to=1").status_code == 400
        demand = httpx.get(collector.url + "/v1/demand?service=shop&from=0&to=3600&step_seconds=60").json()
        assert demand == {"service": "shop", "step_seconds": 60, "ts": [], "rps": []}
        refused = httpx.post(collector.url + "/v1/events", content=json.dumps({**batch(1), "schema": 3}))
        assert refused.status_code == 400
        assert httpx.post(collector.url + "/v1/events", content=bytes(9 * 1024 * 1024)).status_code == 413


def test_a_taken_port_is_named_with_the_setting_that_changes_it(tmp_path: Path) -> None:
    first = start_collector(tmp_path / "a", "http://127.0.0.1:9")
    try:
        first.wait_until_alive()
        port = int(first.url.rsplit(":", 1)[1])
        second = start_collector(tmp_path / "b", "http://127.0.0.1:9", port=port)
        assert second.process.wait(20) == 1
        assert f"127.0.0.1:{port}" in second.log.read_text()
        assert "TIDEGAUGE_COLLECTOR_PORT" in second.log.read_text()
    finally:
        assert first.stop() == 0
