"""A client with too many labels, and samples that the store refuses, at a real collector."""

from __future__ import annotations

import json
import time
import uuid
from pathlib import Path

import httpx
import pytest
import typer
from typer.testing import CliRunner

from collector.clickhouse import ClickHouseSettings, connect
from collector.commands import mount
from collector.instrument import Event, EventClient
from collector.sources.samples import SampleBatch
from tests.integration.collector_fixtures import start_collector, until
from tests.integration.store_fixtures import shared_store_url as shared_store_url

pytestmark = pytest.mark.server


def test_raw_paths_and_endless_labels_are_folded_told_and_remembered(shared_store_url: str, tmp_path: Path) -> None:
    collector = start_collector(tmp_path, shared_store_url)
    client = connect(ClickHouseSettings(url=shared_store_url, database="tidegauge"))

    def send(first: int, requests: int) -> None:
        events = EventClient(collector.url, service="shop", instance="a")
        for number in range(first, first + requests):
            now_us = round(time.time() * 1e6)
            fields = {"method": "GET", "status": 200, "duration_us": 5}
            events.record(Event(ts_us=now_us, route=f"/items/{number}", version=f"build-{number}", **fields))  # type: ignore[arg-type]
        assert events.close(30)

    def known() -> dict[str, dict[str, int]]:
        services = httpx.get(collector.url + "/v1/services").json()["services"]
        return {each["service"]: each["labels"] for each in services}["shop"]

    sql = "SELECT count(), uniqExact(route), uniqExact(version), any(route) FROM request_events WHERE service = 'shop'"
    try:
        collector.wait_until_alive("/readyz")
        send(0, 1000)
        # 1000 items are one template; of 1000 versions 200 are kept, and `other`. No request is lost.
        until(lambda: client.query_rows(sql) == [(1000, 1, 201, "/items/{id}")], why="all are stored under few labels")
        assert (known()["version"]["values"], known()["version"]["cap"]) == (200, 200)
        assert known()["version"]["folded"] == 800
        metrics = httpx.get(collector.url + "/metrics").text
        assert 'tidegauge_label_values{dimension="version",service="shop"} 200.0' in metrics
        assert 'tidegauge_label_values_folded_total{dimension="version",service="shop"} 800.0' in metrics
        collector.kill()
        collector = start_collector(tmp_path, shared_store_url)
        collector.wait_until_alive("/readyz")
        send(5000, 100)
        until(lambda: client.query_rows(sql)[0][:3] == (1100, 1, 201), why="a restart admits no second set")
    finally:
        client.close()
        collector.kill()


def test_samples_that_the_store_refuses_are_dead_letters_and_can_be_taken_back(
    shared_store_url: str, tmp_path: Path
) -> None:
    batch = SampleBatch("test", now_seconds=time.time(), admits=lambda *_: True)
    for number in range(3):
        batch.add("depth", "letters", "gauge", {}, ts_ms=int(time.time() * 1000) + number, value=float(number))
    batch_id = str(uuid.uuid4())
    whole = json.loads(batch.document(batch_id))
    pending = tmp_path / "spool-samples" / "pending"
    pending.mkdir(parents=True)
    name = f"{round(time.time() * 1e6):020d}-{batch_id}.json"
    # As a disk fault may leave it: one value is no number any more.
    (pending / name).write_text(json.dumps({**whole, "samples": {**whole["samples"], "value": [0.0, "?", 2.0]}}))
    collector = start_collector(tmp_path, shared_store_url)
    client = connect(ClickHouseSettings(url=shared_store_url))

    def run(*arguments: str) -> tuple[int, str]:
        app = typer.Typer()
        mount(app)
        environment = {"TIDEGAUGE_DATA": str(tmp_path), "TIDEGAUGE_COLLECTOR_URL": collector.url}
        result = CliRunner().invoke(app, ["spool", *arguments], env=environment)
        return result.exit_code, result.output

    try:
        collector.wait_until_alive("/readyz")
        until(lambda: json.loads(run("list", "--json")[1])["dead_letters"], why="the batch is a dead letter")
        (letter,) = json.loads(run("list", "--json")[1])["dead_letters"]
        assert (letter["name"], letter["kind"], letter["service"], letter["events"]) == (name, "samples", "letters", 3)
        assert "could not convert string to float" in letter["reason"]
        (tmp_path / "spool-samples" / "dead-letter" / name).write_text(json.dumps(whole))  # mended
        assert run("retry", name)[0] == 0
        sql = "SELECT count() FROM samples WHERE series_id IN (SELECT series_id FROM series WHERE service = 'letters')"
        until(lambda: client.query_rows(sql) == [(3,)], why="what was mended is stored")
        assert json.loads(run("list", "--json")[1])["dead_letters"] == []
        assert run("retry", name)[0] == 1
    finally:
        client.close()
        collector.kill()
