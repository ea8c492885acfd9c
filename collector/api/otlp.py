"""POST /v1/traces: OTLP/HTTP. What it accepts goes through the same check and the same spool as /v1/events."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from google.protobuf.json_format import MessageToJson
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from collector.sources.events import BatchRefusedError, decompressed, parse_batch, within_caps
from collector.sources.otlp import batch_document, batches_of, parse_traces
from collector.sources.spool import SpoolFullError

if TYPE_CHECKING:
    from collector.api.app import CollectorParts

_JSON = "application/json"


class _Intake:
    """Turns exports into batches; used by the one thread that accepts, so its counters need no lock."""

    def __init__(self, parts: CollectorParts) -> None:
        self._parts, self._started = parts, f"{time.time():.6f}"
        self._generated: dict[str, int] = {}

    def accept(self, body: bytes, content_type: str, encoding: str) -> int:
        """Put an export on disk and return the number of rejected spans. Raises BatchRefusedError, SpoolFullError."""
        plain, now = decompressed(body, encoding), self._parts.clock.now_seconds()
        events = parse_traces(plain, content_type, now_seconds=now)
        for batch_id, service, rows in batches_of(plain, events):
            total = self._generated.get(service, 0) + len(rows)
            client = {"id": f"otlp/{service}@{self._started}", "service": service}
            document = batch_document(batch_id, {**client, "generated_total": total, "dropped_total": 0}, rows)
            batch = parse_batch(document, now_seconds=now)
            document = within_caps(self._parts.guard, batch, document)
            if self._parts.spool.accept(batch_id, document, received_us=round(now * 1e6)):
                self._generated[service] = total
                self._parts.metrics.acknowledged(batch)
            else:
                self._parts.metrics.duplicate()
        return events.rejected


def add_traces(
    app: FastAPI,
    parts: CollectorParts,
    *,
    read_body: Callable[[Request], Awaitable[bytes]],
    retry_after_seconds: int,
) -> None:
    """Add the route."""
    intake = _Intake(parts)

    @app.post("/v1/traces")
    async def post_traces(request: Request) -> Response:
        content_type = request.headers.get("content-type", "")
        try:
            body, encoding = await read_body(request), request.headers.get("content-encoding", "")
            rejected = await asyncio.get_running_loop().run_in_executor(
                parts.intake, intake.accept, body, content_type, encoding
            )
        except BatchRefusedError as error:
            parts.metrics.refused(error.status)
            return JSONResponse({"message": str(error)}, error.status)
        except SpoolFullError as error:
            parts.metrics.refused(429)
            return JSONResponse({"message": str(error)}, 429, headers={"Retry-After": str(retry_after_seconds)})
        return _answer(rejected, as_json=content_type.startswith(_JSON))


def _answer(rejected: int, *, as_json: bool) -> Response:
    answer: Any = ExportTraceServiceResponse()
    if rejected:
        answer.partial_success.rejected_spans = rejected
        answer.partial_success.error_message = "spans older than seven days or more than a day ahead are not taken"
    if as_json:
        return Response(MessageToJson(answer, indent=None), media_type=_JSON)
    return Response(answer.SerializeToString(), media_type="application/x-protobuf")
