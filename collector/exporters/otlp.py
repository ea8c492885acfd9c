"""OTLP/HTTP metrics: the month's totals as cumulative sums and histograms, and the SLOs' gauges. Pure.

Cumulative points are a function of the record: sent twice they say the same, and one that was never sent loses nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality

from collector.exporters.measures import BOUNDS_SECONDS, Gauge, Series, bound_counts, dotted

PATH = "/v1/metrics"


def otlp_request(series: Sequence[Series], gauges: Sequence[Gauge], *, since: datetime, at: datetime) -> bytes:
    """Return the body of POST /v1/metrics. since: when the totals began; at: the instant they are of."""
    request = ExportMetricsServiceRequest()
    resource = request.resource_metrics.add()
    resource.resource.attributes.extend(_attributes({"service.name": "tidegauge"}))
    scope = resource.scope_metrics.add()
    scope.scope.name = "tidegauge.record"
    start, end = _nanos(since), _nanos(at)
    if series:
        _add_requests(scope.metrics.add(), series, start, end)
        _add_durations(scope.metrics.add(), series, start, end)
    for name in dict.fromkeys(gauge.name for gauge in gauges):
        metric = scope.metrics.add(name=dotted(name), unit="s" if name.endswith("_seconds") else "1")
        for gauge in gauges:
            if gauge.name == name:
                metric.gauge.data_points.add(
                    attributes=_attributes(gauge.labels), time_unix_nano=end, as_double=gauge.value
                )
    return bytes(request.SerializeToString())


def otlp_headers(secret: str | None) -> dict[str, str]:
    """Return the headers of a request. secret: `name=value,name=value`. Raises ValueError without naming it."""
    headers = {"Content-Type": "application/x-protobuf"}
    for part in (secret or "").split(","):
        name, found, value = part.strip().partition("=")
        if part.strip() and not (found and name):
            raise ValueError("exporters otlp: headers_env: expected name=value, several with commas between")
        if found:
            headers[name.strip()] = value.strip()
    return headers


def _add_requests(metric: Any, series: Sequence[Series], start: int, end: int) -> None:
    metric.name, metric.unit = "tidegauge.requests", "{request}"
    metric.sum.aggregation_temporality = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
    metric.sum.is_monotonic = True
    for each in series:
        metric.sum.data_points.add(
            attributes=_attributes(each.labels), start_time_unix_nano=start, time_unix_nano=end, as_int=each.requests
        )


def _add_durations(metric: Any, series: Sequence[Series], start: int, end: int) -> None:
    metric.name, metric.unit = "tidegauge.request.duration", "s"
    metric.histogram.aggregation_temporality = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
    for each in series:
        counts = bound_counts(each.histogram)
        metric.histogram.data_points.add(
            attributes=_attributes(each.labels),
            start_time_unix_nano=start,
            time_unix_nano=end,
            count=sum(counts),
            sum=each.duration_us / 1e6,
            bucket_counts=counts,
            explicit_bounds=BOUNDS_SECONDS,
        )


def _attributes(labels: Mapping[str, str]) -> list[KeyValue]:
    return [KeyValue(key=key, value=AnyValue(string_value=value)) for key, value in labels.items()]


def _nanos(instant: datetime) -> int:
    return int(instant.timestamp()) * 1_000_000_000
