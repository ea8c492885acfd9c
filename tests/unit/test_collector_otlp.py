import json
from typing import Any

import pytest
from backports import zstd
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from collector.sources.events import LARGEST_BODY_BYTES, BatchRefusedError, decompressed, parse_batch
from collector.sources.otlp import batch_document, batches_of, parse_traces

NOW = 1_777_900_000.0
NANO = int(NOW * 1e9)
TRACE = "5b8efff798038103d269b633813fc60c"


def text(key: str, value: str) -> dict[str, Any]:
    return {"key": key, "value": {"stringValue": value}}


def export(*spans: dict[str, Any]) -> bytes:
    resource = {
        "attributes": [text("service.name", "shop"), text("service.version", "1.2"), text("cloud.region", "eu")]
    }
    return json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": list(spans)}]}]}).encode()


def span(*, kind: int = 2, start: int = NANO, status: int | None = 503) -> dict[str, Any]:
    attributes = [text("http.request.method", "GET"), text("http.route", "/items/{item}")]
    if status is not None:
        attributes.append({"key": "http.response.status_code", "value": {"intValue": str(status)}})
    ids = {"traceId": TRACE, "spanId": "eee19b7ec3c1b174"}
    times = {"startTimeUnixNano": str(start), "endTimeUnixNano": str(start + 2_500_000)}
    return {**ids, **times, "name": "GET", "kind": kind, "attributes": attributes}


def parse(body: bytes, kind: str = "application/json") -> Any:
    return parse_traces(body, kind, now_seconds=NOW)


def test_a_server_span_is_a_request() -> None:
    (event,) = parse(export(span())).by_service["shop"]
    assert (event.ts_us, event.duration_us) == (NANO // 1000, 2500)
    assert (event.route, event.method, event.status) == ("/items/{item}", "GET", 503)
    assert (event.region, event.version, event.trace_id) == ("eu", "1.2", TRACE)


def test_protobuf_says_the_same_as_json() -> None:
    # The same span, built by protobuf's own classes: ids are bytes there
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add()
    spans.resource.attributes.add(key="service.name").value.string_value = "shop"
    added = spans.scope_spans.add().spans.add(
        trace_id=bytes.fromhex(TRACE), kind=2, start_time_unix_nano=NANO, end_time_unix_nano=NANO + 2_500_000
    )
    added.attributes.add(key="http.route").value.string_value = "/items/{item}"
    added.attributes.add(key="http.status_code").value.int_value = 503
    (event,) = parse(request.SerializeToString(), "application/x-protobuf").by_service["shop"]
    assert (event.route, event.status, event.duration_us, event.trace_id) == ("/items/{item}", 503, 2500, TRACE)


def test_only_server_spans_count() -> None:
    assert parse(export(span(kind=1), span(kind=3), span(kind=4))).by_service == {}


def test_without_an_http_status_the_span_s_own_status_decides() -> None:
    good = parse(export(span(status=None))).by_service["shop"][0]
    failed = {**span(status=None), "status": {"code": 2}}
    bad = parse(export(failed)).by_service["shop"][0]
    assert (good.status, bad.status) == (200, 500)


def test_spans_out_of_the_record_s_time_are_rejected_and_the_rest_taken() -> None:
    found = parse(export(span(), span(start=NANO - 8 * 86400 * 10**9)))
    assert (len(found.by_service["shop"]), found.rejected) == (1, 1)


def test_a_repeated_export_has_the_same_batch_ids_and_passes_the_check_of_events() -> None:
    body = export(span())
    ((batch_id, service, rows),) = batches_of(body, parse(body))
    assert next(iter(batches_of(body, parse(body))))[0] == batch_id
    client = {"id": "otlp", "service": service, "generated_total": 1, "dropped_total": 0}
    assert parse_batch(batch_document(batch_id, client, rows), now_seconds=NOW).events == 1


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b'{"resourceSpans": 1}', "application/json", 400),
        (b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "zz"}]}]}]}', "application/json", 400),
        (b"\xff\xff", "application/x-protobuf", 400),
        (b"", "text/plain", 415),
    ],
)
def test_what_is_no_export_is_refused(body: bytes, kind: str, status: int) -> None:
    with pytest.raises(BatchRefusedError) as refused:
        parse(body, kind)
    assert refused.value.status == status


def test_zstd_bodies_are_taken_whole_and_within_the_limit_only() -> None:
    assert decompressed(zstd.compress(b"abc" * 100), "zstd") == b"abc" * 100
    with pytest.raises(BatchRefusedError, match="whole zstd stream"):
        decompressed(zstd.compress(b"abc" * 10_000)[:-4], "zstd")
    with pytest.raises(BatchRefusedError, match="expected zstd"):
        decompressed(b"plain text", "zstd")
    with pytest.raises(BatchRefusedError, match="at most"):
        decompressed(zstd.compress(b"\0" * (LARGEST_BODY_BYTES + 10)), "zstd")
