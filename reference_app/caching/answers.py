"""Whole answers: HTTP's caching words on them (L3), and their bytes in L1, sent again without asking the app.

Worn outside the compression, so that what is kept is ready to be sent. A route says with `make_public` that its answer
is the same for everybody, which tags it carries and until when it holds; any other answer is nobody's to keep.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from collector.instrument import route_template
from reference_app.caching.compression import encoding_accepted
from reference_app.caching.l1 import DEFAULT_SECONDS, TaggedCache

LARGEST_S_MAXAGE_SECONDS = 600
STALE_IF_ERROR_SECONDS = 3600
# A query with any other parameter has the same answer under another name: whoever makes names up could fill a cache.
KNOWN_PARAMETERS = frozenset(
    ["origin", "destination", "date", "passengers", "class", "fields", "page", "limit", "cursor"]
)
_PUBLIC = "reference_app.public"
_PRIVATE = b"private, no-store"
_OWN_WRITE = b"x-last-write"
_Header = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Public:
    """What a route says of its answer. until: of the clock in use. keep: whether L1 may keep the bytes."""

    tags: tuple[str, ...]
    until: datetime | None = None
    keep: bool = True


def make_public(scope: Scope, public: Public) -> None:
    """Say that the answer to this request is the same for everybody who sends no `x-last-write`."""
    scope[_PUBLIC] = public


@dataclass(frozen=True, slots=True)
class Terms:
    """headers: whether HTTP caches are told; keep: whether answers are kept in L1; s_maxage_seconds: 0..600."""

    headers: bool = True
    keep: bool = True
    s_maxage_seconds: int = 300


@dataclass(frozen=True, slots=True)
class _Answer:
    body: bytes
    headers: tuple[_Header, ...]
    etag: bytes
    route: str
    until: datetime | None


class Answers:
    """The middleware. `now` is the clock in use."""

    def __init__(self, app: ASGIApp, *, l1: TaggedCache, now: Callable[[], datetime], terms: Terms) -> None:
        self._app, self._l1, self._now, self._terms = app, l1, now, terms

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the kept answer, or the app's with its caching headers."""
        if scope["type"] != "http" or not scope["path"].startswith("/api/"):
            await self._app(scope, receive, send)
            return
        asked = _Asked.of(scope)
        if asked.may_be_kept and (kept := self._kept(asked)) is not None:
            trail = scope.setdefault("tidegauge", {})
            trail["cache_level"], trail["route"] = "l1", kept.route
            await self._send(kept, asked, send)
            return
        await self._app(scope, receive, _Watch(self, scope, asked, send).send)

    def _kept(self, asked: _Asked) -> _Answer | None:
        answer: _Answer | None = self._l1.get(asked.key)
        return answer if answer is not None and (answer.until is None or self._now() < answer.until) else None

    async def _send(self, answer: _Answer, asked: _Asked, send: Send) -> None:
        headers = [*answer.headers]
        if self._terms.headers:
            headers += ((b"etag", answer.etag), (b"cache-control", self._cache_control(answer.until)))
            if asked.knows(answer.etag):
                kept = [pair for pair in headers if pair[0] not in (b"content-length", b"content-type")]
                await send({"type": "http.response.start", "status": 304, "headers": kept})
                await send({"type": "http.response.body", "body": b""})
                return
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    def _cache_control(self, until: datetime | None) -> bytes:
        seconds = float(self._terms.s_maxage_seconds)
        if until is not None:
            seconds = max(0.0, min(seconds, (until - self._now()) / timedelta(seconds=1)))
        return b"public, max-age=0, s-maxage=%d, stale-if-error=%d" % (int(seconds), STALE_IF_ERROR_SECONDS)

    def keep(self, answer: _Answer, asked: _Asked, public: Public, stamp: int) -> None:
        """Keep the answer in L1 if the terms and its route let us."""
        if self._terms.keep and public.keep and asked.may_be_kept and has_known_parameters(asked.key[2]):
            self._l1.put(asked.key, answer, tags=public.tags, seconds=DEFAULT_SECONDS, stamp=stamp)


def has_known_parameters(query: bytes) -> bool:
    """Tell whether a query names only parameters that public answers depend on, each at most once."""
    names = [part.partition("=")[0] for part in query.decode("latin-1").split("&") if part]
    return len(set(names)) == len(names) and KNOWN_PARAMETERS.issuperset(names)


class _Watch:
    """One answer on its way out: a public one is held until it is whole, any other is marked private and passed on."""

    def __init__(self, answers: Answers, scope: Scope, asked: _Asked, send: Send) -> None:
        self._answers, self._scope, self._asked, self._send = answers, scope, asked, send
        self._stamp = answers._l1.stamp()
        self._public: Public | None = None
        self._headers: list[_Header] = []
        self._parts: list[bytes] = []

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            public = self._scope.get(_PUBLIC)
            if isinstance(public, Public) and message["status"] == 200 and self._asked.may_be_kept:
                self._public, self._headers = public, list(message["headers"])
                return
            message = self._marked_private(message)
        elif self._public is not None:
            self._parts.append(message.get("body", b""))
            if not message.get("more_body", False):
                await self._send_public(self._public)
            return
        await self._send(message)

    async def _send_public(self, public: Public) -> None:
        body = b"".join(self._parts)
        if (b"content-encoding", b"gzip") in self._headers:
            body = body[:4] + bytes(4) + body[8:]  # gzip's timestamp: the same answer has the same ETag at any time
        names = (b"content-length", b"etag", b"cache-control", b"vary")
        headers = [pair for pair in self._headers if pair[0].lower() not in names]
        headers += ((b"content-length", b"%d" % len(body)), (b"vary", b"Accept-Encoding"))
        if self._answers._terms.headers:
            headers.append((b"surrogate-key", " ".join(public.tags).encode()))
        etag = b'"%s"' % hashlib.blake2b(body, digest_size=12).hexdigest().encode()
        answer = _Answer(body, tuple(headers), etag, route_template(self._scope), public.until)
        self._answers.keep(answer, self._asked, public, self._stamp)
        await self._answers._send(answer, self._asked, self._send)

    def _marked_private(self, message: Message) -> Message:
        if not self._answers._terms.headers:
            return message
        headers = [pair for pair in message["headers"] if pair[0].lower() != b"cache-control"]
        return {**message, "headers": [*headers, (b"cache-control", _PRIVATE)]}


@dataclass(frozen=True, slots=True)
class _Asked:
    """What matters of a request here. may_be_kept: a GET of someone who has not just written."""

    key: tuple[str, str, bytes, str]
    may_be_kept: bool
    if_none_match: bytes

    @classmethod
    def of(cls, scope: Scope) -> _Asked:
        encoding, own_write, if_none_match = b"", False, b""
        for name, value in scope["headers"]:
            if name == b"accept-encoding":
                encoding = value
            elif name == b"if-none-match":
                if_none_match = value
            elif name == _OWN_WRITE or (name == b"cookie" and _OWN_WRITE in value.lower()):
                own_write = True
        key = ("answer", scope["path"], scope["query_string"], encoding_accepted(encoding))
        return cls(key, scope["method"] == "GET" and not own_write, if_none_match)

    def knows(self, etag: bytes) -> bool:
        """Tell whether the caller has this answer already."""
        if not self.if_none_match:
            return False
        known = [part.strip().removeprefix(b"W/") for part in self.if_none_match.split(b",")]
        return etag in known or b"*" in known
