"""Exporters of a running collector, to receivers that check what real ones do: each request told once, over a kill."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from collector.instrument import Event
from tests.integration.collector_fixtures import CATALOG, CollectorProcess, start_collector, until
from tests.integration.store_fixtures import shared_store_url
from tests.unit.test_collector_exporters import signature_by_hand

__all__ = ["shared_store_url"]
pytestmark = pytest.mark.server
SPEED = 60
EXPORTERS = """\
exporters:
  - {kind: prometheus}
  - {kind: otlp, url: "URL", headers_env: OTLP_HEADERS}
  - {kind: datadog, url: "URL", api_key_env: DD_KEY}
  - {kind: cloudwatch, url: "URL", region: eu-west-1, access_key_id_env: AWS_ID, secret_access_key_env: AWS_SECRET}
"""
SECRETS = {"OTLP_HEADERS": "authorization=Bearer abc", "DD_KEY": "dd-key", "AWS_ID": "AKID", "AWS_SECRET": "aws-secret"}


@dataclass
class Receivers:
    """All three in one server. datadog: by metric, tags and instant; refusing: the next answers are 503."""

    url: str = ""
    refusing: int = 0
    datadog: dict[tuple[str, str, int], float] = field(default_factory=dict)
    cloudwatch: list[dict[str, str]] = field(default_factory=list)
    otlp: list[ExportMetricsServiceRequest] = field(default_factory=list)

    def take(self, path: str, headers: dict[str, str], body: bytes) -> int:
        """Return the status that the real one would answer with."""
        if self.refusing > 0:
            self.refusing -= 1
            return 503
        if path == "/api/v2/series":
            return self._take_datadog(headers, body)
        if path == "/v1/metrics":
            if headers.get("authorization") != "Bearer abc":
                return 401
            self.otlp.append(ExportMetricsServiceRequest.FromString(body))
            return 200
        return self._take_cloudwatch(headers, body)

    def _take_datadog(self, headers: dict[str, str], body: bytes) -> int:
        if headers.get("dd-api-key") != "dd-key":
            return 403
        for series in json.loads(body)["series"]:
            (point,) = series["points"]
            self.datadog[series["metric"], ",".join(series["tags"]), point["timestamp"]] = point["value"]
        return 202

    def _take_cloudwatch(self, headers: dict[str, str], body: bytes) -> int:
        named = {"Authorization": headers["authorization"], "x-amz-date": headers["x-amz-date"],
                 "content-type": headers["content-type"]}  # fmt: skip
        signature = signature_by_hand(named, body, host=headers["host"], region="eu-west-1", secret="aws-secret")
        if not headers["authorization"].endswith(f"Signature={signature}"):
            return 403
        self.cloudwatch.append({name: values[0] for name, values in parse_qs(body.decode()).items()})
        return 200

    def datadog_requests(self) -> float:
        return sum(value for (metric, _, _), value in self.datadog.items() if metric == "tidegauge.requests")

    def cloudwatch_requests(self) -> float:
        return sum(
            float(form[f"{name.removesuffix('.MetricName')}.Value"])
            for form in self.cloudwatch
            for name, value in form.items()
            if name.endswith(".MetricName") and value == "Requests"
        )

    def otlp_requests(self) -> int:
        if not self.otlp:
            return 0
        metrics = self.otlp[-1].resource_metrics[0].scope_metrics[0].metrics
        return sum(int(point.as_int) for metric in metrics for point in metric.sum.data_points)


@contextmanager
def running_receivers() -> Iterator[Receivers]:
    receivers = Receivers()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            self.send_response(receivers.take(self.path, headers, body))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    receivers.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield receivers
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def feed(collector: CollectorProcess, begin: float, *, count: int) -> None:
    played = begin - 36000 + (time.time() - begin) * SPEED
    rows = [Event(ts_us=int(played * 1e6), route="/a", method="GET", status=200, duration_us=1500)] * count
    columns = {name: [getattr(row, name) for row in rows] for name in Event._fields}
    sender = {"id": "c", "service": "shop", "generated_total": count, "dropped_total": 0}
    batch = {"schema": 1, "batch_id": str(uuid.uuid4()), "client": sender, "columns": columns}
    assert httpx.post(collector.url + "/v1/events", json=batch, timeout=10).status_code == 200


@pytest.mark.timeout(240)
def test_every_request_is_told_to_each_exporter_once_over_refusals_and_a_kill(
    shared_store_url: str, tmp_path: Path
) -> None:
    begin = time.time()
    with running_receivers() as receivers:
        environment = {
            "TIDEGAUGE_CLOCK": f"{begin - 36000}:{begin}:{SPEED}",
            "TIDEGAUGE_CLICKHOUSE_DATABASE": "exporters",
            **SECRETS,
        }
        config = CATALOG + EXPORTERS.replace("URL", receivers.url)
        collector = start_collector(tmp_path, shared_store_url, environment=environment, config_text=config)
        try:
            collector.wait_until_alive("/readyz")
            # from here on every minute is told: the watermarks are there
            until(lambda: len(list((tmp_path / "exporters").glob("*.json"))) == 3, why="the first push")
            receivers.refusing = 4
            feed(collector, begin, count=40)
            until(lambda: receivers.datadog_requests() == 40, why="Datadog has the requests")
            collector.kill()
            feeding = start_collector(
                tmp_path, shared_store_url, port=int(collector.url.rsplit(":", 1)[1]), environment=environment,
                config_text=config,
            )  # fmt: skip
            collector.process = feeding.process
            collector.wait_until_alive("/readyz")
            feed(collector, begin, count=7)
            until(lambda: receivers.datadog_requests() >= 47, why="Datadog has the later requests")
            until(lambda: receivers.cloudwatch_requests() >= 47, why="CloudWatch has them")
            until(lambda: receivers.otlp_requests() >= 47, why="OTLP has them")
            assert receivers.datadog_requests() == 47
            assert receivers.cloudwatch_requests() == 47
            assert receivers.otlp_requests() == 47
            check_exposition(collector.url)
        finally:
            collector.kill()
        log = collector.log.read_text()
        assert not [secret for secret in ("dd-key", "aws-secret", "Bearer abc") if secret in log]


def check_exposition(url: str) -> None:
    answer = httpx.get(url + "/metrics/record", timeout=30)
    assert answer.status_code == 200
    assert 'tidegauge_requests_total{route="/a",service="shop",status_class="2xx"} 47.0' in answer.text
    assert 'tidegauge_slo_sli{service="shop",slo="availability"} 1.0' in answer.text
    promtool = shutil.which("promtool")
    if promtool is not None:
        checked = subprocess.run([promtool, "check", "metrics"], input=answer.text, capture_output=True, text=True)
        assert "error while linting" not in checked.stderr + checked.stdout


def test_without_an_exporter_there_is_no_page(shared_store_url: str, tmp_path: Path) -> None:
    collector = start_collector(
        tmp_path, shared_store_url, environment={"TIDEGAUGE_CLICKHOUSE_DATABASE": "no_exporters"}
    )
    try:
        collector.wait_until_alive("/readyz")
        assert httpx.get(collector.url + "/metrics/record", timeout=10).status_code == 404
    finally:
        collector.kill()
