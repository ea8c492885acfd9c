"""The replica as the cluster runs it: starts, serves, stops politely, and outlives the platform."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from reference_app.prepare import SeedTerms, prepare
from tests.integration.database_fixtures import Cluster, cluster, wait_until
from tests.integration.reference_app_fixtures import app_process

__all__ = ["cluster"]
pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def database_url(cluster: Cluster) -> str:
    url = cluster.primary.url(cluster.new_database())
    prepare(url, today=datetime.now(UTC).date(), terms=SeedTerms())
    return url


def answers(url: str) -> int | None:
    try:
        return httpx.get(url, timeout=5).status_code
    except httpx.TransportError:
        return None


@contextmanager
def fake_collector() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Take batches as POST /v1/events does."""
    batches: list[dict[str, Any]] = []

    class Taking(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            batches.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            body = b'{"acknowledged": 0, "duplicate": false}'
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Taking)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", batches
    finally:
        server.shutdown()
        server.server_close()


def test_on_sigterm_it_is_unready_finishes_what_it_accepted_flushes_events_and_exits_0(database_url):
    search = {"origin": "ATL", "destination": "LHR", "date": str(datetime.now(UTC).date()), "class": "economy"}
    with fake_collector() as (collector_url, batches):
        environment = {
            "REFERENCE_APP_DATABASE_URL": database_url,
            "REFERENCE_APP_INSTANCE": "replica-7",
            "REFERENCE_APP_VERSION": "1.2.3",
            "REFERENCE_APP_SUPPLIER_LATENCY_MS": "1000",
            "REFERENCE_APP_DRAIN_SECONDS": "0.3",
            "TIDEGAUGE_COLLECTOR_URL": collector_url,
        }
        with app_process(environment) as (base, process), ThreadPoolExecutor() as pool:
            wait_until(lambda: answers(f"{base}/readyz") == 200, what="the replica to be ready")
            slow = pool.submit(httpx.get, f"{base}/api/flights/search", params=search, timeout=30)
            metrics = f"{base}/metrics"
            wait_until(lambda: "supplier_asked_total 1.0" in httpx.get(metrics).text, what="the request to arrive")
            process.send_signal(signal.SIGTERM)
            wait_until(lambda: answers(f"{base}/readyz") == 503, what="the replica to say unready")
            assert slow.result(timeout=30).status_code == 200
            assert process.wait(20) == 0
    columns = batches[-1]["columns"]
    assert columns["route"] == ["/api/flights/search"]
    assert (columns["instance"], columns["version"], columns["cache_level"]) == (["replica-7"], ["1.2.3"], ["db"])
    assert batches[-1]["client"]["service"] == "reference-app"


def test_without_a_collector_it_works_all_the_same(database_url):
    environment = {"REFERENCE_APP_DATABASE_URL": database_url, "TIDEGAUGE_COLLECTOR_URL": "http://127.0.0.1:9"}
    with app_process(environment) as (base, process):
        wait_until(lambda: answers(f"{base}/readyz") == 200, what="the replica to be ready")
        assert answers(f"{base}/api/airports/JFK") == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_a_wrong_setting_is_named_and_ends_with_2():
    with app_process({"REFERENCE_APP_SUPPLIER_CONCURRENCY": "none"}) as (_, process):
        assert process.wait(30) == 2
        assert process.stderr is not None
        assert "REFERENCE_APP_SUPPLIER_CONCURRENCY: expected a number" in process.stderr.read()


def test_preparing_twice_changes_nothing(cluster):
    environment = {"REFERENCE_APP_DATABASE_URL": cluster.primary.url(cluster.new_database())}
    command = [sys.executable, "-m", "reference_app.prepare"]
    first, second = (
        subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout for _ in range(2)
    )
    assert "migrations applied: 0001_booking, 0002_partitions" in first
    assert "(3660 added)" in first  # 60 flights on 61 days
    assert "migrations applied: none" in second
    assert "(0 added)" in second
