"""POST /v1/metrics (OTLP/HTTP) and POST /api/v1/write (Prometheus remote write 1.0): samples, acknowledged on disk.

The answers differ because the senders do. Prometheus gives up a request that is answered 4xx, 429 among them, and
repeats what is answered 5xx: a full spool is 503 to it. An OTLP exporter repeats 429 and 503.
"""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from google.protobuf.json_format import MessageToJson
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse

from collector.api.models import LetterIn
from collector.sources.events import BatchRefusedError, decompressed
from collector.sources.otlp_metrics import add_metrics
from collector.sources.remote_write import add_write_request
from collector.sources.samples import Beginnings, SampleBatch
from collector.sources.spool import SpoolFullError

if TYPE_CHECKING:
    from collector.api.app import CollectorParts

_JSON = "application/json"
_NAMESPACE = uuid.UUID("2f6c1a0b-7f0e-4f7e-9a3b-6f0f4a1f7c55")
_NO_FAULT = ("stale", "not a number")  # left out, and nobody's mistake
ReadBody = Callable[[Request], Awaitable[bytes]]


class SampleIntake:
    """Puts batches of samples on disk; its methods run in its one thread."""

    def __init__(self, parts: CollectorParts) -> None:
        self._parts = parts
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="samples")
        self._beginnings = Beginnings()

    def accept_otlp(self, body: bytes, content_type: str, encoding: str) -> SampleBatch:
        """Take an OTLP export. Raises BatchRefusedError, SpoolFullError."""
        batch, plain = self._batch("otlp"), decompressed(body, encoding)
        add_metrics(batch, plain, content_type, self._beginnings)
        return self._keep(batch, plain)

    def accept_write(self, body: bytes) -> SampleBatch:
        """Take a remote-write request. Raises BatchRefusedError, SpoolFullError."""
        batch = self._batch("remote_write")
        add_write_request(batch, body)
        return self._keep(batch, body)

    def revive(self, name: str) -> bool:
        """Take a dead letter back into the spool; False when there is none of this name. Raises SpoolFullError."""
        batch_id = str(uuid.uuid5(_NAMESPACE, name))
        received_us = round(self._parts.clock.now_seconds() * 1e6)
        return self._parts.sample_spool.revive(name, batch_id=batch_id, received_us=received_us)

    def _batch(self, source: str) -> SampleBatch:
        now = self._parts.clock.now_seconds()
        return SampleBatch(source, now_seconds=now, admits=self._parts.guard.admits_series)

    def _keep(self, batch: SampleBatch, body: bytes) -> SampleBatch:
        # The same body has the same id, so that a sender's repetition is stored once.
        batch_id = str(uuid.uuid5(_NAMESPACE, hashlib.sha256(body).hexdigest()))
        self._parts.metrics.left_out(batch.left_out)
        if len(batch):
            received_us = round(self._parts.clock.now_seconds() * 1e6)
            if self._parts.sample_spool.accept(batch_id, batch.document(batch_id), received_us=received_us):
                self._parts.metrics.samples_acknowledged(len(batch))
            else:
                self._parts.metrics.duplicate()
        return batch


def add_samples(app: FastAPI, parts: CollectorParts, *, read_body: ReadBody, retry_after_seconds: int) -> None:
    """Add the routes."""
    intake = SampleIntake(parts)
    add_sample_letters(app, intake)
    retry_after = {"Retry-After": str(retry_after_seconds)}

    async def taken(accept: Callable[..., SampleBatch], *arguments: Any) -> SampleBatch:
        return await asyncio.get_running_loop().run_in_executor(intake.thread, accept, *arguments)

    @app.post("/v1/metrics")
    async def post_metrics(request: Request) -> Response:
        content_type = request.headers.get("content-type", "")
        try:
            body, encoding = await read_body(request), request.headers.get("content-encoding", "")
            batch = await taken(intake.accept_otlp, body, content_type, encoding)
        except BatchRefusedError as error:
            parts.metrics.refused(error.status)
            return JSONResponse({"message": str(error)}, error.status)
        except SpoolFullError as error:
            parts.metrics.refused(429)
            return JSONResponse({"message": str(error)}, 429, headers=retry_after)
        return _otlp_answer(batch, as_json=content_type.startswith(_JSON))

    @app.post("/api/v1/write")
    async def post_write(request: Request) -> Response:
        try:
            _check_write_headers(request)
            batch = await taken(intake.accept_write, await read_body(request))
        except BatchRefusedError as error:
            parts.metrics.refused(error.status)
            return Response(str(error) + "\n", error.status, media_type="text/plain")
        except SpoolFullError as error:
            parts.metrics.refused(503)
            return Response(str(error) + "\n", 503, headers=retry_after, media_type="text/plain")
        faults = _faults(batch)
        if faults:  # what was good is stored: the sender shall not repeat the rest
            return Response(f"{len(batch)} points taken; left out: {faults}\n", 400, media_type="text/plain")
        return Response(status_code=204)


def add_sample_letters(app: FastAPI, intake: SampleIntake) -> None:
    """Add the route by which `tidegauge spool retry` has dead letters of samples taken back."""

    @app.post("/v1/samples/retry")
    def post_retry(letter: LetterIn) -> JSONResponse:
        try:
            found = intake.revive(letter.name)
        except SpoolFullError as error:
            return JSONResponse({"error": str(error)}, 429)
        if not found:
            return JSONResponse({"error": f"{letter.name}: expected the name of a dead letter of samples"}, 404)
        return JSONResponse({"accepted": True})


def _check_write_headers(request: Request) -> None:
    encoding = request.headers.get("content-encoding", "")
    if encoding != "snappy":
        raise BatchRefusedError(f"Content-Encoding: expected snappy, got {encoding!r}", status=415)
    content_type = request.headers.get("content-type", "")
    if "io.prometheus.write.v2" in content_type:
        raise BatchRefusedError("Content-Type: expected remote write 1.0, got 2.0", status=415)


def _faults(batch: SampleBatch) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in sorted(batch.left_out.items()) if reason not in _NO_FAULT)


def _otlp_answer(batch: SampleBatch, *, as_json: bool) -> Response:
    answer: Any = ExportMetricsServiceResponse()
    faults = _faults(batch)
    if faults:
        rejected = sum(count for reason, count in batch.left_out.items() if reason not in _NO_FAULT)
        answer.partial_success.rejected_data_points = rejected
        answer.partial_success.error_message = f"left out: {faults}"
    if as_json:
        return Response(MessageToJson(answer, indent=None), media_type=_JSON)
    return Response(answer.SerializeToString(), media_type="application/x-protobuf")
