"""Thirty days from a real Prometheus by `tidegauge backfill`, killed in the middle; native histograms by a pull."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import cramjam
import httpx
import pytest

from collector.clickhouse import ClickHouseSettings, Client, connect, migrate
from collector.pulls import may_be_pulled_from
from collector.record.store import SCHEMA_FOLDER
from collector.sources.backfill import Progress, backfill
from collector.sources.cardinality import CardinalityGuard
from collector.sources.prometheus import PrometheusSettings, pull_once
from collector.sources.remote_write_proto import write_request_class
from tests.integration.collector_fixtures import until
from tests.integration.prometheus_fixtures import running_prometheus, write_past
from tests.integration.store_fixtures import shared_store_url as shared_store_url

pytestmark = pytest.mark.server

DAY = 86400
CONFIG = """\
version: 1
services:
  shop:
    source: prometheus
    prometheus: {{url: '{url}', requests_metric: shop_requests_total, match: {{job: shop}}, scrape_interval: 60s}}
"""


@contextmanager
def record(store_url: str) -> Iterator[Client]:
    client = connect(ClickHouseSettings(url=store_url))
    migrate(client, SCHEMA_FOLDER, owner="collector")
    try:
        yield client
    finally:
        client.close()


def past(now: int) -> str:
    """A scrape each minute for 31 days: one request a second, and a restart ten days ago, 30 s before its scrape."""
    begin, restart = now - 31 * DAY, now - 10 * DAY
    labels = '{job="shop",instance="a",status="200"}'
    lines = [
        f"shop_requests_total{labels} {at - begin if at < restart else at - restart + 30} {at}"
        for at in range(begin, now + 1, 60)
    ]
    return "# TYPE shop_requests counter\n" + "\n".join(lines) + "\n# EOF\n"


@pytest.mark.timeout(300)  # three commands, and blocks of 31 days to write
def test_thirty_days_are_there_once_though_it_was_killed(shared_store_url: str, tmp_path: Path) -> None:
    now = int(time.time()) // 60 * 60
    write_past(tmp_path / "data", past(now))
    config = tmp_path / "tidegauge.yaml"
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("TIDEGAUGE_")},
        "TIDEGAUGE_CONFIG": str(config),
        "TIDEGAUGE_DATA": str(tmp_path / "state"),
        "TIDEGAUGE_CLICKHOUSE_URL": shared_store_url,
    }
    command = [sys.executable, "-m", "tidegauge", "backfill", "shop", "--days", "30"]
    with record(shared_store_url) as client, running_prometheus(tmp_path) as url:
        config.write_text(CONFIG.format(url=url))

        def stored() -> tuple[int, int]:
            sql = "SELECT uniqExact(minute), sum(requests) FROM red_1m WHERE service = 'shop'"
            return tuple(client.query_rows(sql)[0])  # type: ignore[return-value]  # two whole numbers

        first = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            until(lambda: stored()[0] > 3 * 360, why="some parts are stored")
        finally:
            first.kill()
            first.wait(10)
        assert 0 < stored()[0] < 30 * 1440 - 360
        again = subprocess.run([*command, "--json"], env=environment, capture_output=True, text=True, timeout=200)
        assert again.returncode == 0, again.stderr
        told = json.loads(again.stdout)
        assert told["skipped"] >= 2
        assert told["gap_minutes"] == 0
        minutes, requests = stored()
        # Up to two scrapes before its own start: 30 days, less at most three minutes.
        assert 30 * 1440 - 4 <= minutes <= 30 * 1440
        # 60 in each minute, but for the one of the restart: 30 are known there.
        assert requests == minutes * 60 - 30
        third = subprocess.run([*command, "--json"], env=environment, capture_output=True, text=True, timeout=200)
        assert json.loads(third.stdout)["parts"] <= 2  # the two that are not whole
        minutes, requests = stored()
        assert requests == minutes * 60 - 30
        assert "parts" in again.stderr  # the bar


def test_minutes_that_the_live_pull_writes_meanwhile_are_there_once(shared_store_url: str, tmp_path: Path) -> None:
    now = datetime.fromtimestamp(int(time.time()) // 60 * 60, UTC)
    write_past(tmp_path / "data", past(int(now.timestamp())))
    with record(shared_store_url) as client, running_prometheus(tmp_path) as url:
        settings = PrometheusSettings(
            service="meanwhile", url=url, requests_metric="shop_requests_total", match=(("job", "shop"),),
            scrape_interval=timedelta(seconds=60),
        )  # fmt: skip

        class Meanwhile:
            """A store in which the live pull has written everything between the look and the first insert."""

            pulled = False

            def query_rows(self, *asked: Any) -> Any:
                return client.query_rows(*asked)

            def insert_columns(self, table: str, columns: Any, *, token: str) -> int:
                if not self.pulled:
                    self.pulled = True
                    pull_once(settings, since=now - timedelta(hours=6), until=now, write=live)
                return client.insert_columns(table, columns, token=token)

        def live(columns: dict[str, list[Any]], token: str) -> None:
            client.insert_columns("red_1m", columns, token=token)

        guard = CardinalityGuard(tmp_path / "cardinality.jsonl", day=lambda: 0)
        backfill(
            Meanwhile(),  # type: ignore[arg-type]  # all that it asks of a client
            settings, since=now - timedelta(hours=9), until=now - timedelta(minutes=2),
            live_from=may_be_pulled_from(now), progress=Progress(tmp_path / "progress.json", "one"),
            guard=guard, on_progress=lambda *_: None,
        )  # fmt: skip
        guard.close()
        sql = "SELECT uniqExact(minute), sum(requests) FROM red_1m WHERE service = 'meanwhile'"
        ((minutes, requests),) = client.query_rows(sql)
    assert minutes >= 9 * 60 - 4
    assert requests == minutes * 60


def native_past(begin: int) -> bytes:
    """Five minutes of a native histogram of scale 0, a scrape every 15 s.

    Bucket 0 holds (0.5 s, 1 s] and bucket 1 (1 s, 2 s]: one in 0 and two in 1 are added by every scrape. At 120 s the
    process begins anew: what it tells then is of the last scrape interval alone.
    """
    request = write_request_class()()
    series = request.timeseries.add()
    for name, value in (("__name__", "shop_seconds"), ("instance", "a"), ("job", "shop"), ("route", "/")):
        series.labels.add(name=name, value=value)
    for at in range(-60, 301, 15):
        scrapes = (at + 60) // 15 + 1 if at < 120 else (at - 120) // 15 + 1
        told = series.histograms.add(timestamp=(begin + at) * 1000, count_int=3 * scrapes, sum=4.0 * scrapes)
        told.positive_spans.add(offset=0, length=2)
        told.positive_deltas.extend([scrapes, scrapes])
        told.zero_threshold = 2.0**-128
    return bytes(cramjam.snappy.compress_raw(request.SerializeToString()))


def test_a_native_histogram_is_pulled_with_its_durations_over_a_restart(tmp_path: Path) -> None:
    begin = int(time.time()) // 60 * 60 - 600
    written: dict[int, dict[str, list[Any]]] = {}
    with running_prometheus(tmp_path) as url:
        headers = {"Content-Encoding": "snappy", "X-Prometheus-Remote-Write-Version": "0.1.0"}
        answer = httpx.post(url + "/api/v1/write", content=native_past(begin), headers=headers)
        assert answer.status_code == 204, answer.text
        settings = PrometheusSettings(
            service="shop",
            url=url,
            requests_metric="shop_seconds",
            duration_metric="shop_seconds",
            match=(("job", "shop"),),
        )
        pulled = pull_once(
            settings,
            since=datetime.fromtimestamp(begin, UTC),
            until=datetime.fromtimestamp(begin, UTC) + timedelta(seconds=240 + 30),
            write=lambda columns, _: written.update({columns["minute"][0]: columns}),
        )
    assert (pulled.minutes, pulled.gap_minutes, pulled.warnings) == (4, 0, ())
    for columns in written.values():
        # Four scrapes a minute, each with one request up to 1 s and two up to 2 s: 12 requests of 16 s together,
        # the restart's first scrape among them.
        assert (columns["requests"], columns["duration_us_sum"]) == ([12], [16_000_000])
        (histogram,) = columns["histogram"]
        assert sum(histogram.values()) == 12
        # 1 s is 10^6 us: log2 is 19.93, times 8 is 159.45, so bucket 160 holds the border; 0.5 s is in 152, 2 s in 168.
        assert sum(count for bucket, count in histogram.items() if bucket <= 160) >= 4
        assert min(histogram) >= 152
        assert max(histogram) == 168
