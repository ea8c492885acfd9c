"""Real senders of metrics against a real collector: the OpenTelemetry SDK, and Prometheus writing to us."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cramjam
import httpx
import pytest
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource

from collector.clickhouse import ClickHouseSettings, Client, connect
from collector.record.exponential import Exponential
from collector.record.samples import read_increases, read_series
from collector.sources.remote_write_proto import write_request_class
from tests.integration.collector_fixtures import CollectorProcess, start_collector, until
from tests.integration.native_histograms import Shop, served
from tests.integration.prometheus_fixtures import running_prometheus
from tests.integration.store_fixtures import shared_store_url as shared_store_url

pytestmark = pytest.mark.server


@dataclass
class Record:
    collector: CollectorProcess
    client: Client

    def gained(self, service: str, name: str, **labels: str) -> list[float | Exponential]:
        """What the series of a name gained in the last hour, in the order of their labels."""
        found = read_series(self.client, service=service, name=name)
        wanted = [each for each in found if labels.items() <= each.labels.items()]
        now = datetime.now(UTC)
        gains = read_increases(self.client, wanted, since=now - timedelta(hours=1), until=now + timedelta(seconds=5))
        return [gains[each.series_id] for each in wanted if each.series_id in gains]


@pytest.fixture(scope="module")
def record(shared_store_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Record]:
    collector = start_collector(tmp_path_factory.mktemp("collector"), shared_store_url)
    client = connect(ClickHouseSettings(url=shared_store_url))
    try:
        collector.wait_until_alive("/readyz")
        yield Record(collector, client)
    finally:
        client.close()
        collector.kill()


def export(record: Record, service: str, *, delta: bool) -> None:
    """Export two rounds with the SDK: 3 then 4 requests; durations of 1 s (2 of them) and 3 s (1)."""
    temporality = AggregationTemporality.DELTA if delta else AggregationTemporality.CUMULATIVE
    exporter = OTLPMetricExporter(
        record.collector.url + "/v1/metrics", preferred_temporality={Counter: temporality, Histogram: temporality}
    )
    provider = MeterProvider(
        resource=Resource.create({"service.name": service, "service.version": "7"}),
        metric_readers=[PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)],
        views=[View(instrument_name="seconds.exponential", aggregation=ExponentialBucketHistogramAggregation())],
    )
    meter = provider.get_meter("test")
    requests, free = meter.create_counter("shop.requests", unit="1"), meter.create_gauge("shop.free")
    explicit = meter.create_histogram("seconds.explicit", unit="s", explicit_bucket_boundaries_advisory=[0.5, 2.0])
    exponential = meter.create_histogram("seconds.exponential", unit="s")
    for count, seconds in ((3, [1.0, 1.0]), (4, [3.0])):
        requests.add(count, {"status": 200})
        free.set(20 - count)
        for value in seconds:
            explicit.record(value)
            exponential.record(value)
        provider.force_flush()
    provider.shutdown()


@pytest.mark.parametrize("delta", [False, True], ids=["cumulative", "delta"])
def test_the_sdks_metrics_are_samples_of_the_right_kind_and_sum(record: Record, *, delta: bool) -> None:
    service = f"sdk-{'delta' if delta else 'cumulative'}"
    export(record, service, delta=delta)
    until(lambda: record.gained(service, "shop.requests") == [7.0], why="3 + 4 requests")
    until(lambda: record.gained(service, "seconds.explicit_count") == [3.0], why="three durations")
    assert record.gained(service, "seconds.explicit_sum") == [5.0]
    # at or below 0.5 s: none; at or below 2 s: two; in all: three
    assert [record.gained(service, "seconds.explicit_bucket", le=le) for le in ("0.5", "2", "+Inf")] == [
        [0.0], [2.0], [3.0]
    ]  # fmt: skip
    (gained,) = record.gained(service, "seconds.exponential")
    assert isinstance(gained, Exponential)
    assert (gained.count, gained.sum) == (3.0, 5.0)
    # 1 s is the upper edge of bucket 0 on any scale: (.., 2^0].
    assert gained.positive[0] == 2.0
    (gauge,) = read_series(record.client, service=service, name="shop.free")
    assert (gauge.kind, gauge.labels["version"]) == ("gauge", "7")
    (counter,) = read_series(record.client, service=service, name="shop.requests")
    assert counter.labels["status"] == "200"


def test_otlp_json_is_read_and_what_is_too_old_is_told(record: Record) -> None:
    now = time.time_ns()
    points = [{"timeUnixNano": str(now), "asDouble": 1.5}, {"timeUnixNano": str(now - 100 * 86400 * 10**9)}]
    metric = {"name": "depth", "gauge": {"dataPoints": points}}
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "json"}}]}
    body = {"resourceMetrics": [{"resource": resource, "scopeMetrics": [{"metrics": [metric]}]}]}
    answer = httpx.post(record.collector.url + "/v1/metrics", json=body)
    assert (answer.status_code, answer.json()["partialSuccess"]["rejectedDataPoints"]) == (200, "1")
    sql = "SELECT value FROM samples WHERE series_id IN (SELECT series_id FROM series WHERE service = 'json')"
    until(lambda: record.client.query_rows(sql) == [(1.5,)], why="one point of two")
    assert httpx.post(record.collector.url + "/v1/metrics", content=b"{}").status_code == 415


def test_prometheus_writes_counters_and_native_histograms_to_us(record: Record, tmp_path: Path) -> None:
    # bucket 8 of scale 3 holds (2^(7/8), 2] s, bucket 0 holds (2^(-1/8), 1] s
    shop = Shop(requests=10, buckets={0: 4, 8: 2}, seconds=7.0)
    url = record.collector.url + "/api/v1/write"
    with served(shop) as port, running_prometheus(tmp_path, target_port=port, remote_write=url):
        until(lambda: record.gained("shop", "shop_requests_total") == [0.0], why="two samples of the counter")
        shop.requests, shop.buckets, shop.seconds = 25, {0: 5, 8: 2, 9: 1}, 10.5
        until(lambda: record.gained("shop", "shop_requests_total") == [15.0], why="25 - 10")
        # a restart: 4 requests since, and a histogram with one observation
        shop.requests, shop.buckets, shop.seconds = 4, {8: 1}, 1.9
        until(lambda: record.gained("shop", "shop_requests_total") == [19.0], why="15 before the restart, 4 after")

        def histogram() -> Exponential | None:
            found = record.gained("shop", "shop_seconds")
            return found[0] if found and isinstance(found[0], Exponential) else None

        # (5 - 4) + (1 of bucket 9) before the restart, then the one of bucket 8
        wanted = {0: 1.0, 8: 1.0, 9: 1.0}
        until(lambda: (found := histogram()) is not None and found.count == 3.0, why="three new observations")
        found = histogram()
        assert found is not None
        assert found.positive == wanted
        assert found.sum == pytest.approx(3.5 + 1.9)
    stored = record.client.query_rows("SELECT count(), uniqExact(series_id, ts) FROM samples FINAL")[0]
    assert stored[0] == stored[1]


@pytest.mark.timeout(300)  # a collector starts three times, beside Prometheus
def test_prometheus_repeats_what_a_collector_that_was_killed_had_not_taken(
    shared_store_url: str, tmp_path: Path
) -> None:
    shop, folder = Shop(requests=1), tmp_path / "collector"
    client = connect(ClickHouseSettings(url=shared_store_url))
    collector = start_collector(folder, shared_store_url)
    port = int(collector.url.rsplit(":", 1)[1])
    url = collector.url + "/api/v1/write"
    sql = """SELECT arraySort(groupArray(toUnixTimestamp64Milli(ts))) FROM samples FINAL WHERE series_id IN
      (SELECT series_id FROM series WHERE name = 'shop_requests_total' AND labels['instance'] = {instance:String})"""

    def instants(target: int) -> list[int]:
        return list(client.query_rows(sql, {"instance": f"127.0.0.1:{target}"})[0][0])

    try:
        collector.wait_until_alive("/readyz")
        with served(shop) as target, running_prometheus(tmp_path, target_port=target, remote_write=url) as server:
            until(lambda: len(instants(target)) >= 3, why="three scrapes arrived")
            collector.kill()
            before = shop.scrapes
            until(lambda: shop.scrapes >= before + 4, why="it scrapes on while the collector is away")
            collector = start_collector(folder, shared_store_url, port=port)
            restarted = len(instants(target))
            until(lambda: len(instants(target)) >= restarted + 6, why="it writes again, what was missed first")
            query = {"query": "shop_requests_total[10m]"}
            (found,) = httpx.get(server + "/api/v1/query", params=query).json()["data"]["result"]
            scraped = [round(float(at) * 1000) for at, _ in found["values"]]
            until(lambda: instants(target)[-1:] >= scraped[-1:], why="the newest of them is stored")
            stored = instants(target)
    finally:
        client.close()
        collector.kill()
    assert [at for at in stored if at <= scraped[-1]] == scraped


def write_body(*, name: str = "x_total", ts_ms: int, values: list[float]) -> bytes:
    request = write_request_class()()
    series = request.timeseries.add()
    for label, value in (("__name__", name), ("job", "by-hand")):
        series.labels.add(name=label, value=value)
    for at, value in enumerate(values):
        series.samples.add(value=value, timestamp=ts_ms + at * 1000)
    return bytes(cramjam.snappy.compress_raw(request.SerializeToString()))


def test_remote_write_answers_so_that_prometheus_repeats_what_it_should(record: Record) -> None:
    url, headers = record.collector.url + "/api/v1/write", {"Content-Encoding": "snappy"}
    now_ms = int(time.time() * 1000) - 60_000
    body = write_body(ts_ms=now_ms, values=[1, 2, 3])
    for _ in range(3):  # resent: stored once
        assert httpx.post(url, content=body, headers=headers).status_code == 204
    sql = "SELECT count() FROM samples WHERE series_id IN (SELECT series_id FROM series WHERE service = 'by-hand')"
    until(lambda: record.client.query_rows(sql) == [(3,)], why="three samples")
    mixed = write_body(name="old_total", ts_ms=now_ms - 95 * 86_400_000, values=[1])
    old = httpx.post(url, content=mixed, headers=headers)
    assert (old.status_code, "1 too old" in old.text) == (400, True)
    assert httpx.post(url, content=b"not snappy", headers=headers).status_code == 400
    assert httpx.post(url, content=body).status_code == 415
    nameless = write_request_class()()
    nameless.timeseries.add().labels.add(name="job", value="x")
    packed = bytes(cramjam.snappy.compress_raw(nameless.SerializeToString()))
    assert httpx.post(url, content=packed, headers=headers).status_code == 400
    assert record.client.query_rows(sql) == [(3,)]


def test_samples_are_acknowledged_while_the_store_is_away_and_stored_later(
    shared_store_url: str, tmp_path: Path
) -> None:
    url = "http://127.0.0.1:1"  # nobody listens there
    headers = {"Content-Encoding": "snappy"}
    body = write_body(name="later_total", ts_ms=int(time.time() * 1000), values=[5])
    collector = start_collector(tmp_path, url)
    try:
        collector.wait_until_alive()
        assert httpx.post(collector.url + "/api/v1/write", content=body, headers=headers).status_code == 204
    finally:
        collector.kill()
    again = start_collector(tmp_path, shared_store_url)
    client = connect(ClickHouseSettings(url=shared_store_url))
    sql = "SELECT value FROM samples WHERE series_id IN (SELECT series_id FROM series WHERE name = 'later_total')"
    try:
        until(lambda: client.query_rows(sql) == [(5.0,)], why="what was acknowledged before the kill is stored")
    finally:
        client.close()
        again.kill()
