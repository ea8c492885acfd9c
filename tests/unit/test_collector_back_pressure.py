"""What a full spool answers to each kind of sender, in the sender's own words for `later`."""

from __future__ import annotations

import gzip
import json
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import cramjam
import httpx
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from collector.alerts.outbox import Outbox
from collector.api.app import CollectorParts, create_app
from collector.catalog import parse_catalog
from collector.clickhouse import ClickHouseSettings
from collector.instrument import Event
from collector.metrics import CollectorMetrics
from collector.sources.cardinality import CardinalityGuard
from collector.sources.events import zstd
from collector.sources.remote_write_proto import write_request_class
from collector.sources.spool import Spool
from collector.store_link import StoreLink
from tidegauge.clock import Clock


@pytest.fixture
def client(tmp_path: Path) -> Iterator[httpx.AsyncClient]:
    """An app whose spools hold one batch each, and whose store was never there."""
    spool, samples = Spool(tmp_path / "spool", quota_bytes=700), Spool(tmp_path / "samples", quota_bytes=900)
    guard = CardinalityGuard(tmp_path / "labels", day=lambda: 1)
    outbox = Outbox(tmp_path / "outbox.sqlite3")
    parts = CollectorParts(
        spool=spool,
        store=StoreLink(ClickHouseSettings()),
        catalog=parse_catalog("version: 1\nservices: {shop: {source: events}}\n", name="t"),
        clock=Clock(),
        metrics=CollectorMetrics(),
        outbox=outbox,
        sample_spool=samples,
        guard=guard,
    )
    transport = httpx.ASGITransport(app=create_app(parts))
    yield httpx.AsyncClient(transport=transport, base_url="http://collector")
    spool.close()
    samples.close()
    guard.close()


def events(batch_id: str) -> bytes:
    event = Event(ts_us=int(time.time() * 1e6), route="/", method="GET", status=200, duration_us=5)
    document = {
        "schema": 1,
        "batch_id": batch_id,
        "client": {"id": "c", "service": "shop", "generated_total": 1, "dropped_total": 0},
        "columns": {name: [getattr(event, name)] for name in Event._fields},
    }
    return json.dumps(document).encode()


async def test_events_plain_gzip_and_zstd_are_one_batch_and_a_full_spool_is_429(client: httpx.AsyncClient) -> None:
    body = events(str(uuid.uuid4()))
    packed = {"": body, "gzip": gzip.compress(body), "zstd": zstd.compress(body)}
    answers = [
        (await client.post("/v1/events", content=content, headers={"Content-Encoding": encoding})).json()
        for encoding, content in packed.items()
    ]
    assert [answer["duplicate"] for answer in answers] == [False, True, True]
    full = await client.post("/v1/events", content=events(str(uuid.uuid4())))
    assert (full.status_code, full.headers["Retry-After"]) == (429, "2")
    # What is on disk is known still: its repetition is no matter of room.
    assert (await client.post("/v1/events", content=body)).json()["duplicate"] is True


def otlp(value: int) -> bytes:
    request = ExportMetricsServiceRequest()
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add(name="depth" * 100)
    metric.gauge.data_points.add(as_int=value, time_unix_nano=time.time_ns())
    return request.SerializeToString()  # type: ignore[no-any-return]  # its types are not shipped


def written(value: float) -> bytes:
    request = write_request_class()()
    series = request.timeseries.add()
    series.labels.add(name="__name__", value="depth" * 100)
    series.samples.add(value=value, timestamp=int(time.time() * 1000))
    return bytes(cramjam.snappy.compress_raw(request.SerializeToString()))


async def test_a_full_spool_is_429_to_otlp_and_503_to_prometheus(client: httpx.AsyncClient) -> None:
    protobuf, snappy = {"Content-Type": "application/x-protobuf"}, {"Content-Encoding": "snappy"}
    assert (await client.post("/v1/metrics", content=otlp(1), headers=protobuf)).status_code == 200
    full = await client.post("/v1/metrics", content=otlp(2), headers=protobuf)
    assert (full.status_code, full.headers["Retry-After"]) == (429, "2")
    full = await client.post("/api/v1/write", content=written(3.0), headers=snappy)
    assert (full.status_code, full.headers["Retry-After"]) == (503, "2")


async def test_a_read_is_503_while_the_store_is_away_and_cpu_wants_a_span(client: httpx.AsyncClient) -> None:
    away = await client.get("/v1/cpu", params={"service": "shop", "from": 1, "to": 2})
    assert away.status_code == 503
    assert (await client.get("/v1/cpu", params={"service": "shop", "from": 2, "to": 1})).status_code == 400
