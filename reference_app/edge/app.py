"""What a viewer meets at the edge: a kept answer if there is one, else the origin's, and a stale one when that fails.

A request is counted once: what the edge answers by itself it counts, what an origin answered the origin has counted.
"""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
from prometheus_client import CollectorRegistry, Counter, generate_latest
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import compile_path
from starlette.types import Receive, Scope, Send

from reference_app.caching.answers import has_known_parameters
from reference_app.caching.compression import encoding_accepted
from reference_app.edge.origin import Origins, Unreached, end_to_end
from reference_app.edge.shelves import KeptAnswer, Shelf, Shelves, canonical_query, keeping_terms
from reference_app.parts import Readiness
from reference_app.problems import Problem, problem_response

PUBLIC_ROUTES = ("/api/flights/search", "/api/flights/{flight_id}", "/api/airports/{code}")
LARGEST_KEPT_BYTES = 1_000_000
LARGEST_PURGE_BYTES = 65_536
_OWN = frozenset([b"authorization", b"x-last-write", b"range"])
_ROUTES = [(route, compile_path(route)[0]) for route in PUBLIC_ROUTES]
_Headers = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class _Fetched:
    """A whole answer of the origin. shareable: it is the same for everybody."""

    status: int
    headers: _Headers
    body: bytes
    shareable: bool


class Edge:
    """The ASGI application of one edge process. purge_token: None switches purging by HTTP off."""

    def __init__(
        self,
        shelves: Shelves,
        origins: Callable[[], Origins],
        registry: CollectorRegistry,
        readiness: Readiness,
        *,
        purge_token: str | None = None,
    ) -> None:
        self.shelves, self._open_origins, self._registry, self._purge_token = shelves, origins, registry, purge_token
        self._readiness = readiness
        self._fetching: dict[Shelf, asyncio.Task[_Fetched]] = {}
        self._results = Counter(
            "reference_app_edge_requests",
            "Requests by what the edge did: hit, stale, shared, miss, pass, error",
            ["region", "result"],
            registry=registry,
        )

    async def open(self) -> None:
        """Open the client to the origins; to be closed with `close`."""
        self._origins = self._open_origins()

    async def close(self) -> None:
        """Close the client to the origins."""
        await self._origins.client.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["path"] in ("/healthz", "/readyz"):
            leaving = self._readiness.draining and scope["path"] == "/readyz"
            body = b'{"status": "draining"}' if leaving else b'{"status": "ready"}'
            await Response(body, 503 if leaving else 200, media_type="application/json")(scope, receive, send)
        elif scope["path"] == "/metrics":
            text = generate_latest(self._registry)
            await Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")(scope, receive, send)
        elif scope["path"] == "/edge/purge":
            await (await self._purge(Request(scope, receive)))(scope, receive, send)
        elif (shelf := _shelf_of(scope)) is not None:
            await self._answer(scope, receive, send, shelf)
        else:
            await self._pass(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, shelf: Shelf) -> None:
        kept, fresh = self.shelves.find(shelf)
        popular = self.shelves.note_use(shelf)
        if kept is not None and fresh:
            await self._serve(scope, send, kept, "hit")
            return
        shared = shelf in self._fetching
        try:
            fetched = await self._fetch_once(scope, shelf, popular=popular)
        except Unreached as unreached:
            if kept is not None:
                await self._serve(scope, send, kept, "stale", counted=unreached.seen and not shared)
                return
            await self._refuse(scope, receive, send, unreached, counted=unreached.seen and not shared)
            return
        if shared and not fetched.shareable:
            await self._pass(scope, receive, send)
        elif fetched.status >= 500 and kept is not None:
            await self._serve(scope, send, kept, "stale", counted=not shared)
        else:
            self._note(scope, "shared" if shared else "miss", counted=not shared)
            await _send_fetched(scope, send, fetched)

    async def _fetch_once(self, scope: Scope, shelf: Shelf, *, popular: bool) -> _Fetched:
        """Return the origin's answer to this question, asked once for all who wait for it."""
        task = self._fetching.get(shelf)
        if task is None:
            task = asyncio.create_task(self._fetch(scope, shelf, popular=popular))
            self._fetching[shelf] = task
            task.add_done_callback(lambda done: self._fetched(shelf, done))
        return await asyncio.shield(task)

    def _fetched(self, shelf: Shelf, task: asyncio.Task[_Fetched]) -> None:
        self._fetching.pop(shelf, None)
        if not task.cancelled():
            task.exception()  # whoever waits gets it

    async def _fetch(self, scope: Scope, shelf: Shelf, *, popular: bool) -> _Fetched:
        stamp = self.shelves.cache.stamp()
        response = await self._origins.ask(scope, None, encoding=shelf.encoding, for_many=True)
        try:
            body = await response.read()
        except TimeoutError:
            raise Unreached(504, seen=True) from None
        except (aiohttp.ClientError, OSError):
            raise Unreached(502, seen=False) from None
        headers = end_to_end(response.raw_headers)
        terms = keeping_terms({name.lower(): value for name, value in response.headers.items()})
        if response.status == 200 and terms is not None and popular and len(body) <= LARGEST_KEPT_BYTES:
            tags = response.headers.get("surrogate-key", "").split()
            self.shelves.keep(shelf, headers, body, terms=terms, tags=tags, stamp=stamp)
        return _Fetched(response.status, headers, body, shareable=response.status == 200 and terms is not None)

    async def _serve(self, scope: Scope, send: Send, kept: KeptAnswer, result: str, *, counted: bool = False) -> None:
        self._note(scope, result, counted=counted)
        headers = [*kept.headers, (b"age", b"%d" % self.shelves.age_seconds(kept)), (b"x-cache", result.encode())]
        await _send_200(scope, send, headers, kept.body, kept.etag)

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send a request that is somebody's own to the origin and its answer back, as they come."""
        try:
            body = None if scope["method"] in ("GET", "HEAD") else Request(scope, receive).stream()
            encoding = encoding_accepted(_header(scope, b"accept-encoding"))
            response = await self._origins.ask(scope, _some(body), encoding=encoding)
        except Unreached as unreached:
            await self._refuse(scope, receive, send, unreached, counted=unreached.seen)
            return
        self._note(scope, "pass", counted=True)
        headers = [*end_to_end(response.raw_headers), (b"x-cache", b"pass")]
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        async with response:
            async for chunk in response.content.iter_any():  # a break here breaks the viewer's connection too: honest
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def _refuse(self, scope: Scope, receive: Receive, send: Send, unreached: Unreached, *, counted: bool) -> None:
        self._note(scope, "error", counted=counted)
        retry = {"Retry-After": "1"}
        problem = Problem(unreached.status, "origin-unreached", "the origin gave no answer", headers=retry)
        await problem_response(problem)(scope, receive, send)

    async def _purge(self, request: Request) -> Response:
        """`POST /edge/purge {"surrogate_keys": [..]}` with the bearer token: forget what carries one of them."""
        request.scope["tidegauge"]["route"] = "/edge/purge"
        if self._purge_token is None or request.method != "POST":
            return problem_response(Problem(404, "not-found", "there is nothing here"))
        given = request.headers.get("authorization", "").encode("latin-1")
        if not hmac.compare_digest(given, f"Bearer {self._purge_token}".encode()):
            return problem_response(Problem(401, "wrong-token", "expected the edge's purge token as a bearer token"))
        keys = await _surrogate_keys(request)
        if keys is None:
            expected = 'expected {"surrogate_keys": ["seats:ATL-LHR:2030-05-02", ..]}'
            return problem_response(Problem(422, "invalid-request", expected))
        self.shelves.cache.drop(keys)
        return Response(json.dumps({"purged": len(keys)}), media_type="application/json")

    def _note(self, scope: Scope, result: str, *, counted: bool) -> None:
        """Note what was done. counted: the origin has counted this request."""
        trail = scope["tidegauge"]
        trail["route"] = next((route for route, pattern in _ROUTES if pattern.match(scope["path"])), "/edge")
        trail["cache_level"] = "none" if result == "error" else "edge"
        trail["counted_elsewhere"] = counted
        self._results.labels(trail["region"], result).inc()


def _shelf_of(scope: Scope) -> Shelf | None:
    """Return where the answer to a request may lie; None for what is somebody's own or changes something."""
    if scope["method"] != "GET" or not any(pattern.match(scope["path"]) for _, pattern in _ROUTES):
        return None
    if not has_known_parameters(scope["query_string"]):
        return None
    for name, value in scope["headers"]:
        if name in _OWN or (name == b"cookie" and b"x-last-write" in value.lower()):
            return None
    encoding = encoding_accepted(_header(scope, b"accept-encoding"))
    return Shelf(scope["tidegauge"]["region"], scope["path"], canonical_query(scope["query_string"]), encoding)


async def _send_fetched(scope: Scope, send: Send, fetched: _Fetched) -> None:
    headers = [*fetched.headers, (b"x-cache", b"miss")]
    if fetched.status == 200:
        etag = next((value for name, value in fetched.headers if name == b"etag"), b"")
        await _send_200(scope, send, headers, fetched.body, etag)
        return
    await send({"type": "http.response.start", "status": fetched.status, "headers": headers})
    await send({"type": "http.response.body", "body": fetched.body})


async def _send_200(scope: Scope, send: Send, headers: list[tuple[bytes, bytes]], body: bytes, etag: bytes) -> None:
    known = [part.strip().removeprefix(b"W/") for part in _header(scope, b"if-none-match").split(b",")]
    status = 304 if etag and (etag in known or b"*" in known) else 200
    if status == 304:
        headers, body = [pair for pair in headers if pair[0] not in (b"content-length", b"content-type")], b""
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _header(scope: Scope, name: bytes) -> bytes:
    return b",".join(value for known, value in scope["headers"] if known == name)


def _some(body: AsyncIterator[bytes] | None) -> AsyncIterator[bytes] | None:
    if body is None:
        return None

    async def read() -> AsyncIterator[bytes]:
        try:
            async for chunk in body:
                if chunk:
                    yield chunk
        except ClientDisconnect:
            raise OSError("the viewer left before its request was whole") from None

    return read()


async def _surrogate_keys(request: Request) -> list[str] | None:
    read = b""
    async for chunk in request.stream():
        read += chunk
        if len(read) > LARGEST_PURGE_BYTES:
            return None
    try:
        document: Any = json.loads(read)
    except (ValueError, RecursionError):
        return None
    keys = document.get("surrogate_keys") if isinstance(document, dict) else None
    return keys if isinstance(keys, list) and all(isinstance(key, str) for key in keys) else None
