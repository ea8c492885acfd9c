"""The cluster's own metrics for Prometheus, read from its parts when asked for: a request costs nothing here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tidegauge.cluster.autoscaler import Autoscaler
from tidegauge.cluster.fleet import Fleet
from tidegauge.cluster.front import Traffic

_STATES = ("starting", "ready", "draining")


class ClusterMetrics(Collector):
    """Replicas by state, what is wanted, the floor, and what passed the front."""

    content_type = CONTENT_TYPE_PLAIN_0_0_4

    def __init__(self, *, autoscaler: Autoscaler, fleet: Fleet, traffic: Traffic) -> None:
        """Read from these."""
        self._autoscaler = autoscaler
        self._fleet = fleet
        self._traffic = traffic
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Yield the metric families as they are now."""
        state, last = self._autoscaler.state, self._autoscaler.last
        replicas = GaugeMetricFamily("tidegauge_cluster_replicas", "Replicas by state.", labels=["state"])
        by_state: Counter[str] = Counter(replica.state for replica in self._fleet.replicas)
        for name in _STATES:
            replicas.add_metric([name], by_state[name])
        yield replicas
        yield GaugeMetricFamily("tidegauge_cluster_desired_replicas", "Replicas wanted.", state.desired)
        yield GaugeMetricFamily("tidegauge_cluster_floor_replicas", "The floor in force.", state.floor)
        if last.offered_rps is not None:
            help_text = "Offered requests per second of the clock in use, at the last sync."
            yield GaugeMetricFamily("tidegauge_cluster_offered_rps", help_text, last.offered_rps)
        yield from self._of_traffic()

    def _of_traffic(self) -> Iterator[Metric]:
        traffic = self._traffic
        yield CounterMetricFamily("tidegauge_cluster_arrivals", "Requests that reached the front.", traffic.arrivals)
        answered = CounterMetricFamily(
            "tidegauge_cluster_requests", "Requests answered, by status (499: the client left).", labels=["status"]
        )
        for status, count in traffic.answered.items():
            answered.add_metric([str(status)], count)
        yield answered
        refused = CounterMetricFamily(
            "tidegauge_cluster_refused", "Requests that the front itself refused, by status.", labels=["status"]
        )
        for status, count in traffic.refused.items():
            refused.add_metric([str(status)], count)
        yield refused
        yield GaugeMetricFamily("tidegauge_cluster_in_flight", "Requests the front holds now.", traffic.in_flight)
