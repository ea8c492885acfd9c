"""OTLP/HTTP traces become request events: a span of kind SERVER is a request. Pure.

Reads protobuf and OTLP's own JSON (ids in hex). What is taken of a span, by the HTTP semantic conventions, new and old:
route, method, status, duration, body size, user agent; of its resource: service, instance, version, region. A span
without an HTTP status counts as 500 if it says ERROR, else as 200; without a route it is /unmatched, never a raw path.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from collector.instrument import Event
from collector.instrument.labels import UNMATCHED, user_agent_family
from collector.sources.events import (
    MOST_EVENTS,
    NEWEST_EVENT_SECONDS,
    OLDEST_EVENT_SECONDS,
    BatchRefusedError,
)

_UINT32, _LONGEST_TEXT, _SLOW_US = 2**32 - 1, 512, 1_000_000
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"})
_IDS = frozenset({"traceId", "spanId", "parentSpanId"})
_NAMESPACE = uuid.UUID("5b9d1f0e-4c0b-4d0e-9d3a-0c6f3b1d2a71")


@dataclass(frozen=True, slots=True)
class TraceEvents:
    """What an export says. by_service: events; rejected: SERVER spans outside the time the record takes."""

    by_service: Mapping[str, list[Event]]
    rejected: int


def parse_traces(body: bytes, content_type: str, *, now_seconds: float) -> TraceEvents:
    """Return the requests in an export. now_seconds: the clock in use. Raises BatchRefusedError (400, 415)."""
    request = ExportTraceServiceRequest()
    decoded(body, content_type, request, what="traces")
    oldest, newest = (now_seconds - OLDEST_EVENT_SECONDS) * 1e6, (now_seconds + NEWEST_EVENT_SECONDS) * 1e6
    by_service: dict[str, list[Event]] = {}
    rejected = 0
    for resource_spans in request.resource_spans:
        resource = attributes_of(resource_spans.resource.attributes)
        service = _text(resource, "service.name") or "unknown_service"
        for scope in resource_spans.scope_spans:
            for span in scope.spans:
                if span.kind != Span.SPAN_KIND_SERVER:
                    continue
                event = _event(span, resource)
                if oldest <= event.ts_us <= newest:
                    by_service.setdefault(service, []).append(event)
                else:
                    rejected += 1
    return TraceEvents(by_service, rejected)


def decoded(body: bytes, content_type: str, request: Any, *, what: str) -> None:
    """Read an export, protobuf or JSON, into `request`. Raises BatchRefusedError (400, 415)."""
    kind = content_type.split(";", 1)[0].strip().lower()
    try:
        if kind == "application/x-protobuf":
            request.ParseFromString(body)
        elif kind == "application/json":
            ParseDict(_with_protobuf_ids(json.loads(body)), request, ignore_unknown_fields=True)
        else:
            expected = "application/x-protobuf or application/json"
            raise BatchRefusedError(f"Content-Type: expected {expected}, got {kind!r}", status=415)
    except (DecodeError, ParseError, RecursionError, binascii.Error, ValueError, TypeError) as error:
        if isinstance(error, BatchRefusedError):
            raise
        raise BatchRefusedError(f"body: expected an OTLP export of {what}, got: {str(error)[:200]}") from error


def _with_protobuf_ids(value: Any) -> Any:
    """OTLP's JSON has ids in hex, protobuf's JSON in base64."""
    if isinstance(value, list):
        return [_with_protobuf_ids(each) for each in value]
    if isinstance(value, dict):
        return {
            key: base64.b64encode(bytes.fromhex(each)).decode()
            if key in _IDS and isinstance(each, str)
            else _with_protobuf_ids(each)
            for key, each in value.items()
        }
    return value


def attributes_of(pairs: Any) -> dict[str, Any]:
    """Return the attributes that are plain values."""
    plain = {}
    for pair in pairs:
        kind = pair.value.WhichOneof("value")
        if kind in ("string_value", "int_value", "double_value", "bool_value"):
            plain[pair.key] = getattr(pair.value, kind)
    return plain


def _event(span: Any, resource: Mapping[str, Any]) -> Event:
    own = attributes_of(span.attributes)
    duration_us = min(_UINT32, max(0, span.end_time_unix_nano - span.start_time_unix_nano) // 1000)
    status = _status(own, span)
    method = (_text(own, "http.request.method") or _text(own, "http.method")).upper()
    return Event(
        ts_us=span.start_time_unix_nano // 1000,
        route=_text(own, "http.route") or _rpc_route(own) or UNMATCHED,
        method=method if method in _METHODS else "OTHER",
        status=status,
        duration_us=duration_us,
        response_bytes=_whole(own.get("http.response.body.size"), 0, _UINT32) or 0,
        region=_text(resource, "cloud.region"),
        instance=_text(resource, "service.instance.id") or _text(resource, "host.name"),
        version=_text(resource, "service.version"),
        user_agent_family=user_agent_family(
            (_text(own, "user_agent.original") or _text(own, "http.user_agent")).encode("latin-1", "replace")
        ),
        trace_id=_kept_trace(span.trace_id.hex(), status, duration_us),
    )


def _status(own: Mapping[str, Any], span: Any) -> int:
    for name in ("http.response.status_code", "http.status_code"):
        status = _whole(own.get(name), 100, 599)
        if status is not None:
            return status
    return 500 if span.status.code == Status.STATUS_CODE_ERROR else 200


def _rpc_route(own: Mapping[str, Any]) -> str:
    service, method = _text(own, "rpc.service"), _text(own, "rpc.method")
    return f"/{service}/{method}" if service and method else ""


def _kept_trace(trace_id: str, status: int, duration_us: int) -> str:
    # The middleware's rule, but for a fixed bound of slowness: errors, slow ones, and one in a hundred.
    kept = len(trace_id) == 32 and (status >= 500 or duration_us > _SLOW_US or int(trace_id[-4:], 16) < 655)
    return trace_id if kept else ""


def _whole(value: Any, least: int, most: int) -> int | None:
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if least <= number <= most else None


def _text(values: Mapping[str, Any], name: str) -> str:
    value = values.get(name)
    if not isinstance(value, str):
        return ""
    return "".join(character for character in value[:_LONGEST_TEXT] if character.isprintable())


def batches_of(body: bytes, events: TraceEvents) -> Iterator[tuple[str, str, list[Event]]]:
    """Yield (batch id, service, events) of at most MOST_EVENTS. The same body has the same ids: a retry is harmless."""
    digest = hashlib.sha256(body).hexdigest()
    for service, rows in sorted(events.by_service.items()):
        for start in range(0, len(rows), MOST_EVENTS):
            yield str(uuid.uuid5(_NAMESPACE, f"{digest}/{service}/{start}")), service, rows[start : start + MOST_EVENTS]


def batch_document(batch_id: str, client: Mapping[str, Any], rows: list[Event]) -> bytes:
    """Return a batch as POST /v1/events takes it."""
    columns = {name: [getattr(row, name) for row in rows] for name in Event._fields}
    document = {"schema": 1, "batch_id": batch_id, "client": dict(client), "columns": columns}
    return json.dumps(document, separators=(",", ":")).encode()
