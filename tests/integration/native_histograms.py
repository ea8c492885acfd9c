"""A target with a native histogram, as Prometheus scrapes it: the protobuf exposition, built from its field numbers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_KINDS = {"string": 9, "double": 1, "uint64": 4, "sint32": 17, "uint32": 13, "sint64": 18, "int32": 5}
# From Prometheus' metrics.proto (client_model): the fields a counter and a native histogram need.
_MESSAGES = {
    "LabelPair": [("name", 1, "string"), ("value", 2, "string")],
    "Counter": [("value", 1, "double")],
    "BucketSpan": [("offset", 1, "sint32"), ("length", 2, "uint32")],
    "Histogram": [
        ("sample_count", 1, "uint64"), ("sample_sum", 2, "double"), ("schema", 5, "sint32"),
        ("zero_threshold", 6, "double"), ("zero_count", 7, "uint64"), ("positive_span", 12, "*BucketSpan"),
        ("positive_delta", 13, "*sint64"),
    ],
    "Metric": [("label", 1, "*LabelPair"), ("counter", 3, "Counter"), ("histogram", 7, "Histogram")],
    "MetricFamily": [("name", 1, "string"), ("help", 2, "string"), ("type", 3, "int32"), ("metric", 4, "*Metric")],
}  # fmt: skip
COUNTER, HISTOGRAM = 0, 4


def _family_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="exposition.proto", package="exposition", syntax="proto2")
    for message, fields in _MESSAGES.items():
        described = file.message_type.add(name=message)
        for name, number, kind in fields:
            bare = kind.lstrip("*")
            one = described.field.add(name=name, number=number, label=3 if kind != bare else 1)
            one.type = _KINDS.get(bare, 11)
            if one.type == 11:
                one.type_name = f".exposition.{bare}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("exposition.MetricFamily"))


@dataclass
class Shop:
    """What the target tells: a counter, and a native histogram of scale 3 as {bucket index: count}."""

    requests: float = 0
    buckets: dict[int, int] = field(default_factory=dict)
    seconds: float = 0.0
    scrapes: int = 0

    def exposition(self) -> bytes:
        family = _family_class()
        counter = family(name="shop_requests_total", help="r", type=COUNTER)
        metric = counter.metric.add()
        metric.label.add(name="status", value="200")
        metric.counter.value = self.requests
        told = family(name="shop_seconds", help="d", type=HISTOGRAM)
        histogram = told.metric.add().histogram
        histogram.sample_count, histogram.sample_sum = sum(self.buckets.values()), self.seconds
        histogram.schema, histogram.zero_threshold, histogram.zero_count = 3, 2.0**-128, 0
        at, before = 0, 0
        for index, count in sorted(self.buckets.items()):
            histogram.positive_span.add(offset=index - at, length=1)
            histogram.positive_delta.append(count - before)
            at, before = index + 1, count
        return b"".join(_delimited(each.SerializeToString()) for each in (counter, told))


def _delimited(message: bytes) -> bytes:
    length, prefix = len(message), b""
    while length > 127:
        prefix, length = prefix + bytes([length & 127 | 128]), length >> 7
    return prefix + bytes([length]) + message


@contextmanager
def served(shop: Shop) -> Iterator[int]:
    """Serve a shop's exposition on loopback; gives the port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            shop.scrapes += 1
            self.send_response(200)
            kind = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(shop.exposition())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class' name
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
