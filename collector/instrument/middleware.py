"""The half that sees requests: a pure ASGI middleware that makes one event of each."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from collector.instrument.client import Event, EventClient
from collector.instrument.labels import country_of, route_template, trace_id_of, user_agent_family

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]

CLIENT_CLOSED = 499  # nobody was there for the answer any more: counted, and no failure of the service
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_LARGEST_UINT32 = 2**32 - 1
_DISTINCT_REGIONS = 100
_log = logging.getLogger("tidegauge.instrument")


class RecordRequests:
    """ASGI middleware, outermost: one event per HTTP request to `client`.

    clock returns epoch seconds of the clock in use (for `ts`); durations are real. region: used without a usable
    `x-region` header. The app may fill `scope["tidegauge"]` with `cache_level`, `database_target`, the `region` it took
    the request for and, for requests that it answers before routing, `route`; a proxy with `counted_elsewhere`, for
    what another instance has answered and counted. On the lifespan's shutdown the client is closed.
    """

    def __init__(
        self,
        app: AsgiApp,
        *,
        client: EventClient,
        service: str,
        instance: str,
        version: str,
        region: str = "",
        clock: Callable[[], float] = time.time,
        excluded_paths: frozenset[str] = frozenset({"/healthz", "/readyz", "/metrics"}),
    ) -> None:
        self._app, self._client, self._clock = app, client, clock
        self.service, self._instance, self._version, self._region = service, instance, version, region
        self._excluded_paths = excluded_paths
        self._regions: set[str] = set()
        self._slow_us = 1_000.0  # running estimate of the 99th percentile

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app, watching HTTP requests and the end of the lifespan."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, self._closing_send(send))
        elif scope["type"] != "http" or scope["path"] in self._excluded_paths:
            await self._app(scope, receive, send)
        else:
            await self._record(scope, receive, send)

    async def _record(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope.setdefault("tidegauge", {})
        own_root = scope.get("root_path", "")
        exchange = _Exchange(receive, send)
        ts, started = self._clock(), time.perf_counter()
        try:
            await self._app(scope, exchange.receive, exchange.send)
        finally:  # whatever happened: answered, raised, cancelled
            duration = time.perf_counter() - started
            try:
                if not scope["tidegauge"].get("counted_elsewhere"):
                    self._client.record(self._event(scope, own_root, exchange.outcome(), (ts, duration)))
            except Exception:  # noqa: BLE001 - measuring must never fail what it measures
                _log.exception("a request could not be recorded")

    def _event(self, scope: Scope, own_root: str, outcome: tuple[int, int], timing: tuple[float, float]) -> Event:
        status, response_bytes = outcome
        headers = dict(scope.get("headers") or ())
        details = scope["tidegauge"]
        duration_us = min(_LARGEST_UINT32, round(timing[1] * 1e6))
        return Event(
            ts_us=round(timing[0] * 1e6),
            route=str(details.get("route") or route_template(scope, own_root)),
            method=scope["method"] if scope["method"] in _METHODS else "OTHER",
            status=status,
            duration_us=duration_us,
            response_bytes=min(_LARGEST_UINT32, response_bytes),
            region=str(details.get("region") or self._region_of(headers.get(b"x-region", b""))),
            instance=self._instance,
            version=self._version,
            cache_level=str(details.get("cache_level") or ""),
            database_target=str(details.get("database_target") or ""),
            user_agent_family=user_agent_family(headers.get(b"user-agent", b"")),
            trace_id=self._kept_trace(headers.get(b"traceparent", b""), status, duration_us),
            country=country_of(headers),
        )

    def _region_of(self, header: bytes) -> str:
        """Return the header's region if it looks like one; at most 100 different ones, for it comes from outside."""
        text = header[:64].decode("latin-1")
        if not text or not text.replace("-", "").replace("_", "").isalnum() or not text.isascii():
            return self._region
        if text not in self._regions:
            if len(self._regions) >= _DISTINCT_REGIONS:
                return "other"
            self._regions.add(text)
        return text

    def _kept_trace(self, traceparent: bytes, status: int, duration_us: int) -> str:
        """Return the trace id of errors, of about the slowest 1 %, and of a 1 % sample that is the same everywhere."""
        slow = duration_us > self._slow_us
        self._slow_us = max(1.0, self._slow_us * (1.0495 if slow else 0.9995))  # stands still at 1 in 100
        trace_id = trace_id_of(traceparent)
        if trace_id and (status >= 500 or slow or int(trace_id[-4:], 16) < 655):  # 655 / 65536 = 1 %
            return trace_id
        return ""

    def _closing_send(self, send: Send) -> Send:
        async def closing_send(message: Message) -> None:
            if message["type"].startswith("lifespan.shutdown."):
                await asyncio.to_thread(self._client.close)
            await send(message)

        return closing_send


class _Exchange:
    """Watches one request's messages: status, bytes, whether the answer was finished and the caller still there."""

    __slots__ = ("_body_bytes", "_caller_left", "_finished", "_receive", "_send", "_status")

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        self._status, self._body_bytes, self._finished, self._caller_left = 0, 0, False, False

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect" and not self._finished:
            self._caller_left = True
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
        elif message["type"] == "http.response.body":
            self._body_bytes += len(message.get("body", b""))
            self._finished = not message.get("more_body", False)
        elif message["type"] == "http.response.pathsend":
            self._finished = True  # the server sends a file itself, and does not tell its size
        await self._send(message)

    def outcome(self) -> tuple[int, int]:
        """Return status and body bytes: 500 for an answer that never came or broke off, 499 when nobody waited."""
        if self._finished:
            return self._status, self._body_bytes
        if self._caller_left:
            return CLIENT_CLOSED, self._body_bytes
        return max(500, self._status), self._body_bytes
