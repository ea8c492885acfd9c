"""Prometheus metrics of one replica, gathered when they are asked for; a request costs one histogram entry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp

from reference_app.database.view import database_metrics
from reference_app.parts import Parts
from reference_app.request_metrics import observed, request_histogram


class Metrics:
    """The registry of one app, and the middleware that fills its histogram."""

    def __init__(self, parts: Parts) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(_State(parts))
        ProcessCollector(registry=self.registry)
        self._requests = request_histogram(self.registry)

    def text(self) -> bytes:
        """Return Prometheus' text format."""
        return generate_latest(self.registry)

    def observed(self, app: ASGIApp) -> ASGIApp:
        """Return `app` with every HTTP request counted."""
        return observed(app, self._requests)


class _State(Collector):
    """Reads the parts' own counters at each scrape."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def collect(self) -> Iterator[Metric]:
        supplier, databases = self._parts.supplier, self._parts.databases
        yield _gauge("reference_app_supplier_waiting", "Requests waiting for the fare supplier", supplier.waiting)
        yield _counter("reference_app_supplier_asked", "Questions to the fare supplier", supplier.asked_total)
        yield _counter("reference_app_supplier_shed", "Requests the fare supplier shed", supplier.shed_total)
        yield from _caches(self._parts)
        yield from _service(self._parts)
        yield from database_metrics(databases)


def _caches(parts: Parts) -> Iterator[Metric]:
    l1, shared = parts.caches.l1, parts.caches.tiers.shared
    yield _gauge("reference_app_l1_keys", "Keys in the process's own cache", len(l1))
    yield _counter("reference_app_l1_hits", "Found in the process's own cache", l1.hits_total)
    yield _counter("reference_app_l1_misses", "Not found in the process's own cache", l1.misses_total)
    yield _counter("reference_app_l1_swept", "Values that were swept out, too old", l1.swept_total)
    yield _counter("reference_app_l2_failures", "Failures of the shared cache", shared.failures_total)
    yield _counter(
        "reference_app_l2_retries", "Second, third and fourth tries at the shared cache", shared.retries_total
    )
    yield _counter("reference_app_loads", "Values loaded because no cache had them", parts.caches.tiers.loads_total)
    yield _counter(
        "reference_app_changes_published", "Changes told to all caches", parts.caches.publisher.published_total
    )


def _service(parts: Parts) -> Iterator[Metric]:
    admission, purchases = parts.admission, parts.purchases
    yield _gauge("reference_app_requests_in_flight", "Requests that run", admission.in_flight)
    yield _gauge("reference_app_requests_queued", "Requests that wait for a place", admission.waiting)
    yield by_label("reference_app_requests_shed", "Requests turned away", "reason", admission.shed_total)
    yield _counter("reference_app_deadlines_passed", "Requests ended by their deadline", admission.expired_total)
    yield _counter("reference_app_holds", "Bookings that took their seats", purchases.holds_total)
    yield by_label("reference_app_payments", "Payments by outcome", "outcome", purchases.payments_total)


def by_label(name: str, text: str, label: str, counts: Mapping[str, int]) -> Metric:
    """Return a counter with one value for each key of `counts`."""
    family = CounterMetricFamily(name, text, labels=[label])
    for key, value in counts.items():
        family.add_metric([key], value)
    return family


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(name, text, value=value)
