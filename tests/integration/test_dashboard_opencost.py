"""The price of a replica from an OpenCost that answers over HTTP, and what is said where it does not."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest
import streamlit as st

from collector.catalog import Service, read_catalog
from dashboard.price import price_of
from tests.integration.dashboard_fixtures import ROOT

pytestmark = pytest.mark.server


class OpenCost(BaseHTTPRequestHandler):
    """Answers as OpenCost's /allocation does: a list of windows, each with its allocations by name."""

    asked: ClassVar[list[str]] = []
    allocations: ClassVar[dict[str, object]] = {}

    def do_GET(self) -> None:
        self.asked.append(self.path)
        body = json.dumps({"code": 200, "data": [self.allocations]}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """A scaled service, with OpenCost set up by its one setting."""
    st.cache_data.clear()
    OpenCost.asked.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), OpenCost) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("TIDEGAUGE_OPENCOST_URL", f"http://127.0.0.1:{server.server_port}/")
        yield read_catalog(ROOT / "tidegauge.yaml").service("reference-app")
        server.shutdown()
    st.cache_data.clear()


def pod(controller: str, cost: float, minutes: float) -> dict[str, object]:
    return {"properties": {"controller": controller}, "totalCost": cost, "minutes": minutes}


def test_a_replicas_price_is_opencosts_over_its_api(service: Service) -> None:
    assert service.scaling is not None
    own = service.scaling.name
    OpenCost.allocations = {"a": pod(own, 3.0, 600), "b": pod(own, 1.0, 600), "c": pod("another", 90.0, 60)}

    price, complaint = price_of(service)

    assert price is not None
    assert (round(price.replica_hour, 9), price.source, complaint) == (0.2, "OpenCost", None)  # 4 over 20 hours
    assert price_of(service)[0] == price
    assert OpenCost.asked == ["/allocation?window=7d&aggregate=pod"]  # asked once, kept for minutes


def test_where_opencost_does_not_know_the_service_the_declared_cost_stands_and_it_is_said(service: Service) -> None:
    OpenCost.allocations = {"c": pod("another", 90.0, 60)}
    assert service.cost is not None

    price, complaint = price_of(service)
    nobody, why = price_of(replace(service, cost=None))

    assert price is not None
    assert (price.replica_hour, price.source) == (service.cost.replica_hour, "tidegauge.yaml")
    assert complaint is not None
    assert "expected pods of the controller" in complaint
    assert (nobody, why) == (None, complaint)


def test_an_opencost_that_is_away_is_said(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEGAUGE_OPENCOST_URL", "http://127.0.0.1:9")

    price, complaint = price_of(service)

    assert price is not None
    assert price.source == "tidegauge.yaml"
    assert complaint is not None
    assert complaint.startswith("OpenCost at http://127.0.0.1:9:")
