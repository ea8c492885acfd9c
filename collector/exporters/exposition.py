"""GET /metrics/record: the record's metrics as Prometheus scrapes them. Counters begin anew with each month (UTC)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from collector.exporters.measures import BOUNDS_SECONDS, Gauge, Series, bound_counts

_LABELS = ("service", "route", "status_class")


def record_exposition(series: Sequence[Series], gauges: Sequence[Gauge], *, counted_since: datetime) -> bytes:
    """Return the text of the page. counted_since: when the counters began."""
    registry = CollectorRegistry()
    registry.register(_Record(series, gauges, counted_since))
    return generate_latest(registry)


class _Record:
    """What a scrape gets."""

    def __init__(self, series: Sequence[Series], gauges: Sequence[Gauge], counted_since: datetime) -> None:
        self._series, self._gauges, self._created = series, gauges, counted_since.timestamp()

    def collect(self) -> Iterator[CounterMetricFamily | HistogramMetricFamily | GaugeMetricFamily]:
        """Yield the families; a gauge that is not known is absent, never 0."""
        requests = CounterMetricFamily("tidegauge_requests", "Requests of the month.", labels=_LABELS)
        durations = HistogramMetricFamily(
            "tidegauge_request_duration_seconds", "Durations of the month's requests.", labels=_LABELS
        )
        for each in self._series:
            labels = (each.service, each.route, each.status_class)
            requests.add_metric(labels, each.requests, created=self._created)
            durations.add_metric(labels, _cumulative(each), sum_value=each.duration_us / 1e6)
        yield requests
        yield durations
        yield from _families(self._gauges)


def _cumulative(series: Series) -> list[tuple[str, float]]:
    total, buckets = 0, []
    for bound, count in zip(
        (*(repr(each) for each in BOUNDS_SECONDS), "+Inf"), bound_counts(series.histogram), strict=True
    ):
        total += count
        buckets.append((bound, float(total)))
    return buckets


def _families(gauges: Iterable[Gauge]) -> Iterator[GaugeMetricFamily]:
    families: dict[str, GaugeMetricFamily] = {}
    for each in gauges:
        if each.name not in families:
            families[each.name] = GaugeMetricFamily(each.name, each.help, labels=list(each.labels))
        families[each.name].add_metric(list(each.labels.values()), each.value)
    yield from families.values()
