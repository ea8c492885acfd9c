"""The front: an HTTP/1.1 reverse proxy on aiohttp that gives every request to one ready replica.

It counts arrivals (the offered load that the autoscaler scales on) and tells of requests it had to refuse itself, since
no replica recorded those. Which replica gets a request is the rotation's choice. It costs about 0.2 ms of CPU per
request, so that a protocol of our own would not be worth its code.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from tidegauge.cluster.rotation import Backend, Rotation

log = logging.getLogger(__name__)

HOP_BY_HOP = frozenset(
    ["connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"]
)  # RFC 9110, 7.6.1
_IDEMPOTENT = frozenset(["GET", "HEAD", "OPTIONS"])
_INVENTED = frozenset(["User-Agent", "Accept", "Accept-Encoding", "Content-Type"])  # by aiohttp, were they missing
_CLIENT_CLOSED = 499  # nginx's word for it


@dataclass(frozen=True, slots=True)
class FrontSettings:
    """Real seconds. A connection is dropped after `keep_alive_seconds` of idleness: sooner than a replica drops it."""

    wait_for_ready_seconds: float = 2.0
    connect_seconds: float = 2.0
    answer_seconds: float = 30.0
    keep_alive_seconds: float = 3.0


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that no replica answered: what the client asked for, and what the front said instead."""

    method: str
    path: str
    status: int
    duration_seconds: float
    headers: Mapping[str, str]


class Refusals(Protocol):
    """Where refused requests are told: they are demand that nobody else records."""

    def record(self, refusal: Refusal) -> None:
        """Take one refused request."""


@dataclass(slots=True)
class Traffic:
    """What passed: arrivals count when they arrive, statuses when they are answered (499: the client left first)."""

    arrivals: int = 0
    in_flight: int = 0
    answered: dict[int, int] = field(default_factory=dict)
    refused: dict[int, int] = field(default_factory=dict)


class _Refused(Exception):  # noqa: N818 - an outcome, not an error
    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status
        self.why = why


def open_session(settings: FrontSettings) -> aiohttp.ClientSession:
    """Return the client that keeps connections to the replicas: bodies as they come, no cookies, no limit."""
    return aiohttp.ClientSession(
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=_INVENTED,
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=settings.keep_alive_seconds),
        timeout=aiohttp.ClientTimeout(
            total=None, sock_connect=settings.connect_seconds, sock_read=settings.answer_seconds
        ),
    )


class Front:
    """The request handler. Serve it with `aiohttp.web.Server(front.answer, handler_cancellation=True)`."""

    def __init__(
        self, *, rotation: Rotation, session: aiohttp.ClientSession, refusals: Refusals, settings: FrontSettings
    ) -> None:
        """Take requests as soon as it is served."""
        self._rotation = rotation
        self._session = session
        self._refusals = refusals
        self._settings = settings
        self.traffic = Traffic()

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Pass a request to a ready replica and its response back; refuse with 502, 503 or 504 when that fails."""
        started = time.monotonic()
        self.traffic.arrivals += 1
        self.traffic.in_flight += 1
        status = _CLIENT_CLOSED
        try:
            response = await self._forward(request)
            status = response.status
        except _Refused as refused:
            response = self._refuse(request, refused, time.monotonic() - started)
            status = response.status
        finally:
            self.traffic.in_flight -= 1
            self.traffic.answered[status] = self.traffic.answered.get(status, 0) + 1
        return response

    def _refuse(self, request: web.BaseRequest, refused: _Refused, duration_seconds: float) -> web.Response:
        self.traffic.refused[refused.status] = self.traffic.refused.get(refused.status, 0) + 1
        self._refusals.record(
            Refusal(request.method, request.path, refused.status, duration_seconds, headers=request.headers)
        )
        headers = {"Retry-After": "1"} if refused.status == 503 else {}
        return web.json_response({"error": refused.why}, status=refused.status, headers=headers)

    async def _forward(self, request: web.BaseRequest) -> web.StreamResponse:
        await _continue_if_asked(request)
        failed: Backend | None = None
        while True:
            backend = await self._rotation.take_soon(
                within_seconds=self._settings.wait_for_ready_seconds, besides=failed
            )
            if backend is None:
                raise _Refused(503, "no replica is ready")
            try:
                upstream = await self._send(request, backend)
                if upstream is not None:
                    async with upstream:
                        return await self._pass_back(request, upstream)
            finally:
                self._rotation.give_back(backend)
            if failed is not None:
                raise _Refused(502, "two replicas closed the connection without an answer")
            failed = backend

    async def _send(self, request: web.BaseRequest, backend: Backend) -> aiohttp.ClientResponse | None:
        """Return the replica's response with its head read; None when another replica may be asked instead."""
        try:
            return await self._session.request(
                request.method,
                URL(f"http://127.0.0.1:{backend.port}{_target(request)}", encoded=True),
                headers=_request_headers(request),
                data=request.content if request.body_exists else None,
                allow_redirects=False,
            )
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
            return None  # never sent
        except TimeoutError:
            raise _Refused(504, "the replica did not answer in time") from None
        except (aiohttp.ClientError, ConnectionError) as error:
            if request.method in _IDEMPOTENT and not request.body_exists:
                return None
            raise _Refused(502, f"the replica closed the connection ({type(error).__name__})") from error

    async def _pass_back(self, request: web.BaseRequest, upstream: aiohttp.ClientResponse) -> web.StreamResponse:
        response = web.StreamResponse(
            status=upstream.status, reason=upstream.reason, headers=_end_to_end(upstream.headers.items())
        )
        await response.prepare(request)
        try:
            async for chunk in upstream.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
        except aiohttp.ClientConnectionResetError:
            return response  # the client left, and with it everyone who wanted the rest
        except (aiohttp.ClientError, TimeoutError) as error:
            # The head is out: a broken connection is the one honest way left to say that the body is not whole.
            log.warning("a response of %s broke off: %s", upstream.url.port, type(error).__name__)
            if request.transport is not None:
                request.transport.abort()
            raise _Refused(502, "the response broke off") from error
        return response


async def _continue_if_asked(request: web.BaseRequest) -> None:
    """Tell a client that waits with its body (`Expect: 100-continue`) to send it."""
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the response itself has not begun


def _target(request: web.BaseRequest) -> str:
    target = request.raw_path
    return target if target.startswith("/") else request.path_qs  # an absolute-form target names our own host


def _request_headers(request: web.BaseRequest) -> CIMultiDict[str]:
    headers = _end_to_end(request.headers.items())
    headers.popall("Expect", None)  # answered here
    before = request.headers.get("X-Forwarded-For")
    peer = request.remote or "unknown"
    headers["X-Forwarded-For"] = f"{before}, {peer}" if before else peer
    return headers


def _end_to_end(pairs: Iterable[tuple[str, str]]) -> CIMultiDict[str]:
    """Return the headers without those that concern one connection only, by name or by naming in `Connection`."""
    headers = CIMultiDict(pairs)
    named = headers.getall("Connection", [])
    for name in (*HOP_BY_HOP, *(part.strip() for value in named for part in value.split(","))):
        headers.popall(name, None)
    return headers
