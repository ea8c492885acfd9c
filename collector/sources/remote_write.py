"""Prometheus remote write 1.0 becomes samples: snappy, protobuf, counters, gauges and native histograms. Pure.

Stale markers and what is not a number are left out: a series that ended has no more values. Exemplars are not read.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from typing import Any

import cramjam
from google.protobuf.message import DecodeError

from collector.record.exponential import Exponential
from collector.sources.events import LARGEST_BODY_BYTES, BatchRefusedError
from collector.sources.remote_write_proto import write_request_class
from collector.sources.samples import Kind, SampleBatch

_RESET_YES, _GAUGE_HISTOGRAM = 1, 3
_COUNTER_SUFFIXES = ("_total", "_count", "_sum", "_bucket")
_LOWEST_SCALE, _HIGHEST_SCALE = -4, 8


def add_write_request(batch: SampleBatch, body: bytes) -> None:
    """Add a snappy-compressed WriteRequest's points to `batch`. Raises BatchRefusedError (400, 413)."""
    request = write_request_class()()
    try:
        request.ParseFromString(_plain(body))
    except DecodeError as error:
        raise BatchRefusedError(f"body: expected a remote-write 1.0 request, got: {error}") from error
    for series in request.timeseries:
        labels = {label.name: label.value for label in series.labels}
        name = labels.pop("__name__", "")
        if not name:
            raise BatchRefusedError("timeseries.labels: expected a __name__, got none")
        service = labels.get("service") or labels.get("job") or "unknown_service"
        kind: Kind = "counter" if name.endswith(_COUNTER_SUFFIXES) else "gauge"
        for sample in series.samples:
            batch.add(name, service, kind, labels, ts_ms=sample.timestamp, value=sample.value)
        for histogram in series.histograms:
            if histogram.reset_hint == _GAUGE_HISTOGRAM:
                batch.left_out["gauge histogram"] += 1
                continue
            batch.add_exponential(
                name, service, "histogram", labels, ts_ms=histogram.timestamp, point=exponential_of(histogram)
            )


def exponential_of(histogram: Any) -> Exponential:
    """Return a native histogram, of whole or fractional counts. Raises BatchRefusedError for other buckets."""
    if not _LOWEST_SCALE <= histogram.schema <= _HIGHEST_SCALE:
        raise BatchRefusedError(
            f"histograms.schema: expected {_LOWEST_SCALE} to {_HIGHEST_SCALE}, got {histogram.schema}"
        )
    return Exponential(
        count=histogram.count_float or float(histogram.count_int),
        # A stale histogram is marked by its sum alone.
        sum=math.nan if _is_stale(histogram.sum) else histogram.sum,
        scale=histogram.schema,
        zero_threshold=histogram.zero_threshold,
        zero_count=histogram.zero_count_float or float(histogram.zero_count_int),
        positive=dict(_buckets(histogram.positive_spans, histogram.positive_deltas, histogram.positive_counts)),
        negative=dict(_buckets(histogram.negative_spans, histogram.negative_deltas, histogram.negative_counts)),
        reset=histogram.reset_hint == _RESET_YES,
    )


def _buckets(spans: Any, deltas: Any, counts: Any) -> Iterator[tuple[int, float]]:
    # Spans say which buckets there are: the first offset is an index, the others gaps. A delta is to the one before.
    if sum(span.length for span in spans) != (len(deltas) or len(counts)):
        raise BatchRefusedError("histograms: expected as many buckets as the spans are long")
    index, at, count = 0, 0, 0.0
    for span in spans:
        index += span.offset
        for _ in range(span.length):
            count = count + deltas[at] if deltas else counts[at]
            yield index, count
            index, at = index + 1, at + 1


def _plain(body: bytes) -> bytes:
    try:
        if cramjam.snappy.decompress_raw_len(body) > LARGEST_BODY_BYTES:
            raise BatchRefusedError(f"body: expected at most {LARGEST_BODY_BYTES} bytes, got more", status=413)
        return bytes(cramjam.snappy.decompress_raw(body))
    except (cramjam.DecompressionError, ValueError, OverflowError) as error:
        if isinstance(error, BatchRefusedError):
            raise
        raise BatchRefusedError(f"body: expected snappy (block format), got: {error}") from error


def _is_stale(value: float) -> bool:
    return math.isnan(value) and struct.pack(">d", value) == b"\x7f\xf0\x00\x00\x00\x00\x00\x02"
