"""The collector's own metrics: what it took, stored and refused, what waits, and how fresh the record is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from collector.sources.cardinality import CardinalityGuard
from collector.sources.events import EventBatch
from collector.sources.spool import Spool
from collector.sources.writer import Flushed

_MOST_CLIENTS = 10_000  # clients remembered; a client is one process of an observed app


class CollectorMetrics:
    """Counters since the start of this process; written by the API and the writer, read by GET /metrics."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._acknowledged = Counter(
            "tidegauge_events_acknowledged", "Events on disk.", ["service"], registry=self.registry
        )
        self._stored = Counter("tidegauge_events_stored", "Events the store has taken.", registry=self.registry)
        self._dropped = Counter(
            "tidegauge_events_dropped_by_clients", "Events clients had to drop.", ["service"], registry=self.registry
        )
        self._duplicates = Counter(
            "tidegauge_batches_duplicate", "Batches that came again and were not stored twice.", registry=self.registry
        )
        self._refused = Counter(
            "tidegauge_batches_refused", "Batches refused, by HTTP status.", ["status"], registry=self.registry
        )
        self._flush_failures = Counter(
            "tidegauge_flush_failures", "Attempts to store that will be repeated.", registry=self.registry
        )
        self._samples = Counter("tidegauge_samples_acknowledged", "Points of metrics on disk.", registry=self.registry)
        self._samples_stored = Counter(
            "tidegauge_samples_stored", "Points of metrics the store has taken.", registry=self.registry
        )
        self._left_out = Counter(
            "tidegauge_samples_left_out", "Points not taken, by reason.", ["reason"], registry=self.registry
        )
        self._sampler_up = Gauge(
            "tidegauge_sampler_up", "1 when it answered last time.", ["sampler", "source"], registry=self.registry
        )
        self._dropped_by_client: dict[str, int] = {}

    def acknowledged(self, batch: EventBatch) -> None:
        """Count a batch that was put on disk, and what its client dropped since its last report."""
        self._acknowledged.labels(batch.service).inc(batch.events)
        before = self._dropped_by_client.pop(batch.client_id, 0)
        if batch.dropped_total > before:
            self._dropped.labels(batch.service).inc(batch.dropped_total - before)
        self._dropped_by_client[batch.client_id] = max(before, batch.dropped_total)
        if len(self._dropped_by_client) > _MOST_CLIENTS:
            del self._dropped_by_client[next(iter(self._dropped_by_client))]  # the one not heard of for longest

    def duplicate(self) -> None:
        """Count a batch that was already known."""
        self._duplicates.inc()

    def refused(self, status: int) -> None:
        """Count a batch that was not accepted."""
        self._refused.labels(str(status)).inc()

    def flushed(self, flushed: Flushed) -> None:
        """Count what one tick of the writer stored."""
        self._stored.inc(flushed.stored_events)

    def samples_acknowledged(self, points: int) -> None:
        """Count points that were put on disk."""
        self._samples.inc(points)

    def left_out(self, reasons: Mapping[str, int]) -> None:
        """Count points that were not taken."""
        for reason, points in reasons.items():
            self._left_out.labels(reason).inc(points)

    def samples_flushed(self, flushed: Flushed) -> None:
        """Count what one tick of the samples' writer stored."""
        self._samples_stored.inc(flushed.stored_events)

    def sampled(self, up: Mapping[tuple[str, str], bool]) -> None:
        """Note which sources answered in this round; those no longer asked are told no more."""
        self._sampler_up.clear()
        for (sampler, source), answered in up.items():
            self._sampler_up.labels(sampler, source).set(float(answered))

    def flush_failed(self) -> None:
        """Count a tick that has to be repeated."""
        self._flush_failures.inc()


def exposition(
    metrics: CollectorMetrics,
    spool: Spool,
    sample_spool: Spool,
    guard: CardinalityGuard,
    *,
    watermarks: Mapping[str, datetime | None] | None,
    now: datetime,
) -> bytes:
    """Return the text of GET /metrics. watermarks: by service; None when the store is away (then it says so)."""
    present = CollectorRegistry()
    present.register(_Present(spool, sample_spool, guard, watermarks, now))
    return generate_latest(metrics.registry) + generate_latest(present)


class _Present:
    """What is true at the moment of the scrape."""

    def __init__(
        self,
        spool: Spool,
        sample_spool: Spool,
        guard: CardinalityGuard,
        watermarks: Mapping[str, datetime | None] | None,
        now: datetime,
    ) -> None:
        self._state, self._samples, self._guard = spool.state(), sample_spool.state(), guard.report()
        self._watermarks, self._now = watermarks, now

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges; what is not known is absent, never 0."""
        state = self._state
        yield _gauge("tidegauge_spool_bytes", "Bytes acknowledged and not stored yet.", state.size_bytes)
        yield _gauge("tidegauge_spool_batches", "Batches acknowledged and not stored yet.", state.batches)
        yield _gauge("tidegauge_dead_letter_batches", "Batches the store refused for good.", state.dead_letters)
        age = 0.0
        if state.oldest_received_us is not None:
            age = max(0.0, self._now.timestamp() - state.oldest_received_us / 1e6)
        yield _gauge("tidegauge_spool_oldest_seconds", "Age of the oldest batch not stored yet, by the clock.", age)
        yield _gauge("tidegauge_sample_spool_bytes", "Bytes of samples not stored yet.", self._samples.size_bytes)
        yield _gauge("tidegauge_sample_spool_batches", "Batches of samples not stored yet.", self._samples.batches)
        yield _gauge("tidegauge_sample_dead_letter_batches", "Batches of samples refused.", self._samples.dead_letters)
        yield from self._cardinality()
        yield _gauge("tidegauge_store_up", "1 when the store answers.", 0 if self._watermarks is None else 1)
        freshness = GaugeMetricFamily(
            "tidegauge_record_freshness_seconds",
            "Clock time since the newest recorded minute ended.",
            labels=["service"],
        )
        for service, watermark in (self._watermarks or {}).items():
            if watermark is not None:
                freshness.add_metric([service], max(0.0, (self._now - watermark).total_seconds()))
        yield freshness

    def _cardinality(self) -> Iterator[Metric]:
        names = ["service", "dimension"]
        values = GaugeMetricFamily("tidegauge_label_values", "Different values known.", labels=names)
        caps = GaugeMetricFamily("tidegauge_label_values_cap", "Different values allowed.", labels=names)
        folded = CounterMetricFamily("tidegauge_label_values_folded", "Times a value was over the cap.", labels=names)
        for service, dimensions in self._guard.items():
            for dimension, known in dimensions.items():
                values.add_metric([service, dimension], known.values)
                caps.add_metric([service, dimension], known.cap)
                folded.add_metric([service, dimension], known.folded)
        yield from (values, caps, folded)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)
