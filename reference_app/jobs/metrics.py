"""Prometheus metrics of the job worker, gathered when they are asked for."""

from __future__ import annotations

from dataclasses import dataclass

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from reference_app.database import DatabaseBusy, DatabaseDown
from reference_app.jobs.queue import JobQueues, QueueDown, Workers
from reference_app.jobs.relay import Relay
from reference_app.jobs.sweep import Sweep
from reference_app.metrics import by_label
from reference_app.purchases import Purchases
from reference_app.stores.outbox import OutboxStore


@dataclass(frozen=True, slots=True)
class JobMetrics:
    """Reads the counters of this worker, and the state of the queues and the outbox, which all workers share."""

    queues: JobQueues
    workers: Workers
    relay: Relay
    sweep: Sweep
    outbox: OutboxStore
    purchases: Purchases

    async def text(self) -> bytes:
        """Return Prometheus' text format. What can't be asked just now is left out, not zero."""
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        registry.register(_Gathered([*self._own(), *await self._queues(), *await self._outbox()]))
        return generate_latest(registry)

    def _own(self) -> list[Metric]:
        workers, relay = self.workers, self.relay
        return [
            by_label("reference_app_jobs_done", "Jobs done by this worker", "queue", workers.done_total),
            by_label(
                "reference_app_jobs_retried", "Attempts that failed and are tried again", "queue", workers.retried_total
            ),
            by_label("reference_app_jobs_failed", "Jobs given up", "queue", workers.failed_total),
            by_label(
                "reference_app_jobs_stalled", "Jobs found without a living worker", "queue", workers.stalled_total
            ),
            CounterMetricFamily("reference_app_outbox_enqueued", "Jobs put into Redis", relay.enqueued_total),
            CounterMetricFamily("reference_app_outbox_events", "Events published", relay.events_total),
            CounterMetricFamily("reference_app_outbox_lost", "Jobs that Redis had lost", relay.found_lost_total),
            CounterMetricFamily("reference_app_holds_expired", "Holds that were over", self.sweep.expired_total),
            CounterMetricFamily("reference_app_payments_settled", "Settlements ordered", self.sweep.settled_total),
            by_label("reference_app_payments", "Payments by outcome", "outcome", self.purchases.payments_total),
        ]

    async def _queues(self) -> list[Metric]:
        try:
            counts = await self.queues.counts()
        except QueueDown:
            return []
        family = GaugeMetricFamily("reference_app_jobs", "Jobs in Redis by queue and state", labels=["queue", "state"])
        for queue, states in counts.items():
            for state, number in states.items():
                family.add_metric([queue, state], number)
        return [family]

    async def _outbox(self) -> list[Metric]:
        try:
            state = await self.outbox.state()
        except (DatabaseBusy, DatabaseDown):
            return []
        family = GaugeMetricFamily("reference_app_outbox_rows", "Rows of the outbox by state", labels=["state"])
        for name in ("unpublished", "published", "failed"):
            family.add_metric([name], getattr(state, name))
        oldest = GaugeMetricFamily("reference_app_outbox_oldest_seconds", "Age of the oldest row that is to be done")
        oldest.add_metric([], state.oldest_seconds)
        return [family, oldest]


class _Gathered:
    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> list[Metric]:
        return self._metrics
