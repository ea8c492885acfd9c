"""Prometheus metrics of one replica, gathered when they are asked for; a request costs one histogram entry."""

from __future__ import annotations

import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from collector.instrument import route_template
from reference_app.database.view import database_metrics
from reference_app.parts import Parts

BUCKETS_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0)


class Metrics:
    """The registry of one app, and the middleware that fills its histogram."""

    def __init__(self, parts: Parts) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_State(parts))
        ProcessCollector(registry=self._registry)
        self._requests = Histogram(
            "http_request_duration_seconds",
            "Requests by route, method, status and cache level",
            ["route", "method", "status", "cache_level"],
            buckets=BUCKETS_SECONDS,
            registry=self._registry,
        )

    def text(self) -> bytes:
        """Return Prometheus' text format."""
        return generate_latest(self._registry)

    def observed(self, app: ASGIApp) -> ASGIApp:
        """Return `app` with every HTTP request counted."""

        async def counted(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            status = 500
            started = time.perf_counter()

            async def noting_status(message: Message) -> None:
                nonlocal status
                if message["type"] == "http.response.start":
                    status = message["status"]
                await send(message)

            try:
                await app(scope, receive, noting_status)
            finally:
                cache_level = scope.get("tidegauge", {}).get("cache_level", "none")
                labels = (route_template(scope), scope["method"], str(status), cache_level)
                self._requests.labels(*labels).observe(time.perf_counter() - started)

        return counted


class _State(Collector):
    """Reads the parts' own counters at each scrape."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def collect(self) -> Iterator[Metric]:
        supplier, databases = self._parts.supplier, self._parts.databases
        yield _gauge("reference_app_supplier_waiting", "Requests waiting for the fare supplier", supplier.waiting)
        yield _counter("reference_app_supplier_asked", "Questions to the fare supplier", supplier.asked_total)
        yield _counter("reference_app_supplier_shed", "Requests the fare supplier shed", supplier.shed_total)
        yield _counter("reference_app_l2_failures", "Failures of the shared cache", self._parts.shared.failures_total)
        yield from database_metrics(databases)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(name, text, value=value)
