"""A real OpenTelemetry SDK exports to a real collector: its server spans are requests in the record, once."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind

from collector.clickhouse import ClickHouseSettings, connect
from tests.integration.collector_fixtures import start_collector, until
from tests.integration.store_fixtures import shared_store_url as shared_store_url

pytestmark = pytest.mark.server


def test_server_spans_of_the_sdk_are_requests_in_the_record(shared_store_url: str, tmp_path: Path) -> None:
    collector = start_collector(tmp_path, shared_store_url)
    client = connect(ClickHouseSettings(url=shared_store_url))
    try:
        collector.wait_until_alive("/readyz")
        provider = TracerProvider(resource=Resource.create({"service.name": "shop", "service.version": "7"}))
        exporter = OTLPSpanExporter(collector.url + "/v1/traces", compression=Compression.Gzip)
        provider.add_span_processor(BatchSpanProcessor(exporter))
        tracer = provider.get_tracer("test")
        for number in range(20):
            attributes = {
                "http.request.method": "GET",
                "http.route": "/items/{item}",
                "http.response.status_code": 500 if number < 5 else 200,
            }
            with (
                tracer.start_as_current_span("GET", kind=SpanKind.SERVER, attributes=attributes),
                tracer.start_as_current_span("query", kind=SpanKind.CLIENT),
            ):
                pass
        provider.shutdown()
        sql = "SELECT count(), countIf(status = 500), any(version) FROM request_events WHERE route = '/items/{item}'"
        until(lambda: client.query_rows(sql) == [(20, 5, "7")], why="twenty requests, five of them failed")
        refused = httpx.post(collector.url + "/v1/traces", content=b"?", headers={"Content-Type": "application/json"})
        assert refused.status_code == 400
        empty = httpx.post(collector.url + "/v1/traces", json={"resourceSpans": []})
        assert (empty.status_code, empty.json()) == (200, {})
    finally:
        client.close()
        collector.kill()
