"""OTLP metrics become samples: gauges, sums, explicit and exponential histograms, summaries. Pure.

Names stay as they are; an explicit histogram becomes Prometheus' series `_bucket` (label `le`), `_sum` and `_count`.
Cumulative points carry the instant at which they began from zero; each beginning is stored as a zero one millisecond
after it, so that a restart is seen even when the new count has outgrown the old one. A delta stays a delta.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, DataPointFlags

from collector.record.exponential import Exponential
from collector.sources.otlp import attributes_of, decoded
from collector.sources.samples import Beginnings, Kind, SampleBatch

_DELTA = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
_NOTHING = DataPointFlags.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK
_RESOURCE_LABELS = {
    "service.instance.id": "instance",
    "service.version": "version",
    "service.namespace": "namespace",
    "cloud.region": "region",
    "host.name": "host",
}
_NS_PER_MS = 1_000_000


def add_metrics(batch: SampleBatch, body: bytes, content_type: str, beginnings: Beginnings) -> None:
    """Add an export's points to `batch`. Raises BatchRefusedError (400, 415)."""
    request = ExportMetricsServiceRequest()
    decoded(body, content_type, request, what="metrics")
    for of_resource in request.resource_metrics:
        resource = attributes_of(of_resource.resource.attributes)
        service = str(resource.get("service.name") or "unknown_service")
        labels = {short: str(resource[name]) for name, short in _RESOURCE_LABELS.items() if resource.get(name)}
        for scope in of_resource.scope_metrics:
            for metric in scope.metrics:
                _Metric(batch, beginnings, metric, service, labels).add()


class _Metric:
    def __init__(
        self, batch: SampleBatch, beginnings: Beginnings, metric: Any, service: str, resource: dict[str, str]
    ) -> None:
        self._batch, self._beginnings, self._metric = batch, beginnings, metric
        self._service, self._resource = service, resource

    def add(self) -> None:
        shape = self._metric.WhichOneof("data")
        if shape is None:
            return
        data = getattr(self._metric, shape)
        delta = shape not in ("gauge", "summary") and data.aggregation_temporality == _DELTA
        for point in data.data_points:
            if point.flags & _NOTHING:
                self._batch.left_out["stale"] += 1
                continue
            if shape == "exponential_histogram":
                self._add_exponential(point, delta=delta)
                continue
            for suffix, more, value, counts in _values(shape, data, point):
                kind: Kind = "gauge" if not counts else "delta" if delta else "counter"
                self._add_value(suffix, more, kind, point, value)

    def _labels(self, point: Any, more: dict[str, str]) -> dict[str, str]:
        own = {name: _text(value) for name, value in attributes_of(point.attributes).items()}
        unit = {"__unit__": self._metric.unit} if self._metric.unit else {}
        return {**self._resource, **own, **unit, **more}

    def _add_value(self, suffix: str, more: dict[str, str], kind: Kind, point: Any, value: float) -> None:
        name, labels = self._metric.name + suffix, self._labels(point, more)
        ts_ms, start_ms = _instants(point)
        identity = self._batch.add(name, self._service, kind, labels, ts_ms=ts_ms, value=value)
        began = kind == "counter" and identity is not None and 0 < start_ms < ts_ms
        if began and identity is not None and self._beginnings.is_new(identity, start_ms):
            self._batch.add(name, self._service, kind, labels, ts_ms=start_ms, value=0.0)

    def _add_exponential(self, point: Any, *, delta: bool) -> None:
        kind: Kind = "histogram_delta" if delta else "histogram"
        name, labels = self._metric.name, self._labels(point, {})
        ts_ms, start_ms = _instants(point)
        found = Exponential(
            count=point.count,
            sum=point.sum,
            scale=point.scale,
            zero_threshold=point.zero_threshold,
            zero_count=point.zero_count,
            positive=_buckets(point.positive),
            negative=_buckets(point.negative),
        )
        identity = self._batch.add_exponential(name, self._service, kind, labels, ts_ms=ts_ms, point=found)
        if not delta and identity is not None and 0 < start_ms < ts_ms and self._beginnings.is_new(identity, start_ms):
            empty = Exponential(0, 0.0, point.scale, point.zero_threshold, 0, {}, {}, reset=True)
            self._batch.add_exponential(name, self._service, kind, labels, ts_ms=start_ms, point=empty)


def _values(shape: str, data: Any, point: Any) -> Iterator[tuple[str, dict[str, str], float, bool]]:
    """Yield (suffix, more labels, value, whether it is a count that only grows)."""
    if shape in ("gauge", "sum"):
        number = float(getattr(point, point.WhichOneof("value") or "as_double"))
        delta = shape == "sum" and data.aggregation_temporality == _DELTA
        yield "", {}, number, shape == "sum" and (data.is_monotonic or delta)
        return
    if shape == "histogram":
        below = 0
        edges = [_text(float(edge)) for edge in point.explicit_bounds] + ["+Inf"]
        for edge, count in zip(edges, point.bucket_counts, strict=False):
            below += count
            yield "_bucket", {"le": edge}, float(below), True
    else:
        for quantile in point.quantile_values:
            yield "", {"quantile": _text(quantile.quantile)}, quantile.value, False
    if shape == "summary" or point.HasField("sum"):
        yield "_sum", {}, point.sum, True
    yield "_count", {}, float(point.count), True


def _instants(point: Any) -> tuple[int, int]:
    """Return the point's instant and the one just after its beginning, in epoch milliseconds; 0 when not told."""
    start = point.start_time_unix_nano
    return point.time_unix_nano // _NS_PER_MS, start // _NS_PER_MS + 1 if start else 0


def _buckets(buckets: Any) -> dict[int, float]:
    # OTLP's bucket i holds (base^i, base^(i+1)]; ours, as in Prometheus, is named after its upper edge.
    return {buckets.offset + 1 + at: float(count) for at, count in enumerate(buckets.bucket_counts) if count}


def _text(value: Any) -> str:
    if isinstance(value, float) and value.is_integer() and math.isfinite(value):
        value = int(value)
    return ("true" if value else "false") if isinstance(value, bool) else str(value)
