"""Samples before they are stored: what is taken, what is left out, and how OTLP and remote write are read."""

from __future__ import annotations

import json
import struct
from typing import Any

import cramjam
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from collector.sources.events import BatchRefusedError
from collector.sources.otlp_metrics import add_metrics
from collector.sources.remote_write import add_write_request
from collector.sources.remote_write_proto import write_request_class
from collector.sources.samples import Beginnings, SampleBatch, series_id

NOW = 1_790_000_000.0
NOW_MS = int(NOW * 1000)
BATCH_ID = "6f0d5c1e-8a51-4b5c-9d6f-0c6a4f9f0f11"


def batch(*, most_series: int = 100) -> SampleBatch:
    known: set[int] = set()

    def admits(_service: str, identity: int) -> bool:
        known.add(identity)
        return len(known) <= most_series

    return SampleBatch("test", now_seconds=NOW, admits=admits)


def points(of: SampleBatch) -> dict[str, list[tuple[float, float]]]:
    """Name and labels -> (seconds before now, value)."""
    document = json.loads(of.document(BATCH_ID))
    names = {row[0]: f"{row[1]}{sorted(row[4].items())}" for row in document["series"]}
    found: dict[str, list[tuple[float, float]]] = {}
    columns = document["samples"]
    for identity, ts, value in zip(columns["series_id"], columns["ts"], columns["value"], strict=True):
        found.setdefault(names[identity], []).append(((ts - NOW_MS) / 1000, value))
    return found


def test_labels_in_any_order_are_one_series() -> None:
    assert series_id("x", "s", "gauge", {"a": "1", "b": "2"}) == series_id("x", "s", "gauge", {"b": "2", "a": "1"})
    assert series_id("x", "s", "gauge", {"a": "1"}) != series_id("x", "s", "counter", {"a": "1"})


def test_what_the_record_cannot_take_is_counted() -> None:
    taken = batch(most_series=1)
    stale = struct.unpack(">d", struct.pack(">Q", 0x7FF0000000000002))[0]
    for ts_ms, value in ((NOW_MS, 1.0), (NOW_MS - 95 * 86_400_000, 1.0), (NOW_MS, stale), (NOW_MS, float("nan"))):
        taken.add("x", "s", "gauge", {}, ts_ms=ts_ms, value=value)
    taken.add("y", "s", "gauge", {}, ts_ms=NOW_MS, value=1.0)
    assert len(taken) == 1
    assert taken.left_out == {"too old": 1, "stale": 1, "not a number": 1, "too many series": 1}


def sum_request(*, value: int, start_seconds: float, at_seconds: float) -> bytes:
    request = ExportMetricsServiceRequest()
    of_resource = request.resource_metrics.add()
    of_resource.resource.attributes.add(key="service.name").value.string_value = "shop"
    metric = of_resource.scope_metrics.add().metrics.add(name="requests")
    metric.sum.aggregation_temporality, metric.sum.is_monotonic = 2, True
    point = metric.sum.data_points.add(as_int=value)
    point.start_time_unix_nano = int((NOW + start_seconds) * 1e9)
    point.time_unix_nano = int((NOW + at_seconds) * 1e9)
    return request.SerializeToString()  # type: ignore[no-any-return]  # its types are not shipped


def test_a_cumulative_point_tells_where_it_began_once_for_each_beginning() -> None:
    taken, beginnings = batch(), Beginnings()
    for value, start, at in ((5, -100, -80), (9, -100, -60), (20, -50, -40)):
        body = sum_request(value=value, start_seconds=start, at_seconds=at)
        add_metrics(taken, body, "application/x-protobuf", beginnings)
    # A millisecond after each beginning a zero. 20 is more than 9, and is a restart all the same.
    assert sorted(points(taken)["requests[]"]) == [(-99.999, 0), (-80, 5), (-60, 9), (-49.999, 0), (-40, 20)]


def written(**fields: Any) -> bytes:
    request = write_request_class()()
    series = request.timeseries.add()
    series.labels.add(name="__name__", value="x")
    series.histograms.add(timestamp=NOW_MS, **fields)
    return bytes(cramjam.snappy.compress_raw(request.SerializeToString()))


def test_native_buckets_are_read_from_their_spans_and_deltas() -> None:
    request = write_request_class()()
    series = request.timeseries.add()
    series.labels.add(name="__name__", value="x")
    told = series.histograms.add(timestamp=NOW_MS, count_int=10, sum=4.5, schema=2, zero_count_int=1)
    # Spans: two buckets from index -2, a gap of 3 (so -2, -1, then 3). Deltas 2, +1, -2 are counts 2, 3, 1.
    told.positive_spans.add(offset=-2, length=2)
    told.positive_spans.add(offset=3, length=1)
    told.positive_deltas.extend([2, 1, -2])
    told.negative_spans.add(offset=4, length=1)
    told.negative_counts.extend([3.0])
    taken = batch()
    add_write_request(taken, bytes(cramjam.snappy.compress_raw(request.SerializeToString())))
    found = json.loads(taken.document(BATCH_ID))["histograms"]
    assert found["positive"] == [[[-2, 2], [-1, 3], [3, 1]]]
    assert found["negative"] == [[[4, 3]]]
    assert (found["count"], found["sum"], found["scale"], found["zero_count"]) == ([10], [4.5], [2], [1])


def test_a_histogram_that_is_not_exponential_or_whole_is_refused() -> None:
    with pytest.raises(BatchRefusedError, match="schema: expected -4 to 8, got -53"):
        add_write_request(batch(), written(schema=-53))
    with pytest.raises(BatchRefusedError, match="as many buckets"):
        add_write_request(batch(), written(positive_deltas=[1]))


@pytest.mark.parametrize("body", [b"", b"\xff" * 40, bytes(cramjam.snappy.compress_raw(b"\xff\xff"))])
def test_what_is_no_write_request_is_refused(body: bytes) -> None:
    with pytest.raises(BatchRefusedError):
        add_write_request(batch(), body)


def test_a_body_that_would_unpack_to_too_much_is_refused_before_it_is_unpacked() -> None:
    # A snappy block begins with its length, seven bits a byte: 2^30 here.
    with pytest.raises(BatchRefusedError) as refused:
        add_write_request(batch(), b"\x80\x80\x80\x80\x04" + b"\x00" * 10)
    assert refused.value.status == 413
