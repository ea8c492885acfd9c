"""The messages of Prometheus' remote write 1.0, built from their field numbers: no generated code, no compiler.

Field numbers and types are those of the published `remote.proto` and `types.proto`; exemplars are not read.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_PACKAGE = "tidegauge.remote_write"
_SCALARS = {"string": 9, "double": 1, "int64": 3, "uint64": 4, "sint32": 17, "uint32": 13, "sint64": 18, "int32": 5}
# message -> (name, number, type); a leading "*" repeats it.
_MESSAGES = {
    "Label": [("name", 1, "string"), ("value", 2, "string")],
    "Sample": [("value", 1, "double"), ("timestamp", 2, "int64")],
    "BucketSpan": [("offset", 1, "sint32"), ("length", 2, "uint32")],
    "Histogram": [
        ("count_int", 1, "uint64"), ("count_float", 2, "double"), ("sum", 3, "double"), ("schema", 4, "sint32"),
        ("zero_threshold", 5, "double"), ("zero_count_int", 6, "uint64"), ("zero_count_float", 7, "double"),
        ("negative_spans", 8, "*BucketSpan"), ("negative_deltas", 9, "*sint64"), ("negative_counts", 10, "*double"),
        ("positive_spans", 11, "*BucketSpan"), ("positive_deltas", 12, "*sint64"), ("positive_counts", 13, "*double"),
        ("reset_hint", 14, "int32"), ("timestamp", 15, "int64"),
    ],
    "TimeSeries": [("labels", 1, "*Label"), ("samples", 2, "*Sample"), ("histograms", 4, "*Histogram")],
    "MetricMetadata": [("type", 1, "int32"), ("metric_family_name", 2, "string")],
    "WriteRequest": [("timeseries", 1, "*TimeSeries"), ("metadata", 3, "*MetricMetadata")],
}  # fmt: skip


def _described() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="tidegauge_remote_write.proto", package=_PACKAGE, syntax="proto3")
    for message, fields in _MESSAGES.items():
        described = file.message_type.add(name=message)
        for name, number, kind in fields:
            repeated, kind = kind.startswith("*"), kind.removeprefix("*")
            one = described.field.add(name=name, number=number, label=3 if repeated else 1)
            if kind in _SCALARS:
                one.type = _SCALARS[kind]
            else:
                one.type, one.type_name = 11, f".{_PACKAGE}.{kind}"
    return file


@cache
def write_request_class() -> Any:
    """Return the class of WriteRequest."""
    pool = descriptor_pool.DescriptorPool()
    pool.Add(_described())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.WriteRequest"))
