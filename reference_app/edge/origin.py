"""How the edge asks an origin: one HTTP client, headers passed on as a proxy must, traces continued.

`Unreached` is raised when no answer came; who then serves something stale or refuses is the app's matter.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass

import aiohttp
from multidict import CIMultiDict
from starlette.types import Scope
from yarl import URL

from collector.instrument import trace_id_of

ANSWER_SECONDS = 15.0
CONNECT_SECONDS = 2.0
HOP_BY_HOP = frozenset(
    ["connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "host"]
)  # RFC 9110, 7.6.1, and the host, which is the origin's own
_OURS = frozenset([*HOP_BY_HOP, "accept-encoding", "x-region", "x-network-from", "traceparent", "content-length"])
_CONDITIONS = ("if-none-match", "if-modified-since", "if-match", "if-unmodified-since", "if-range")
_INVENTED = frozenset(["User-Agent", "Accept", "Accept-Encoding", "Content-Type"])  # by aiohttp, were they missing


class Unreached(Exception):  # noqa: N818 - a state, not a fault
    """The origin gave no answer. status: 502, or 504 when it took too long; seen: it may have seen the request."""

    def __init__(self, status: int, *, seen: bool) -> None:
        super().__init__(status)
        self.status, self.seen = status, seen


@dataclass(frozen=True, slots=True)
class Origins:
    """The origins by region, and the one for all others under "". Opened by `open_client`."""

    urls: Mapping[str, str]
    client: aiohttp.ClientSession

    def url(self, region: str) -> str:
        """Return the region's origin."""
        return self.urls.get(region) or self.urls[""]

    async def ask(
        self, scope: Scope, body: AsyncIterator[bytes] | None, *, encoding: str, for_many: bool = False
    ) -> aiohttp.ClientResponse:
        """Send a viewer's request on; return the answer, its body not yet read. Raises Unreached.

        for_many: the answer is not for this viewer alone, so it must be whole whatever they have already.
        """
        scope["tidegauge"]["counted_elsewhere"] = True  # from here on the origin counts, unless it turns out otherwise
        region = scope["tidegauge"]["region"]
        query = scope["query_string"].decode("latin-1")
        target = self.url(region) + scope["raw_path"].decode("latin-1") + (f"?{query}" if query else "")
        headers = _passed_on(scope, region, encoding)
        if for_many:
            for name in _CONDITIONS:
                headers.popall(name, None)
        try:
            return await self.client.request(
                scope["method"], URL(target, encoded=True), headers=headers, data=body, allow_redirects=False
            )
        except aiohttp.ClientConnectorError:
            raise Unreached(502, seen=False) from None
        except TimeoutError:
            raise Unreached(504, seen=True) from None
        except (aiohttp.ClientError, OSError):
            raise Unreached(502, seen=False) from None  # it broke down, and with it its report of the request


def open_client() -> aiohttp.ClientSession:
    """Return the client: bodies as they come, no cookies, no limit of its own."""
    return aiohttp.ClientSession(
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=_INVENTED,
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=3.0),  # sooner than an origin hangs up
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=ANSWER_SECONDS),
    )


def continued(traceparent: bytes) -> str:
    """Return the traceparent of our question: the viewer's trace and flags with a span of our own, or a new trace."""
    trace_id = trace_id_of(traceparent)
    span_id = secrets.token_hex(8)
    if not trace_id:
        return f"00-{secrets.token_hex(16)}-{span_id}-00"
    flags = traceparent.decode("latin-1").strip().split("-")[3][:2]
    return f"00-{trace_id}-{span_id}-{flags}"


def end_to_end(pairs: Iterable[tuple[bytes, bytes]]) -> tuple[tuple[bytes, bytes], ...]:
    """Return an answer's headers without those of one connection, nor the surrogate keys, which are ours."""
    hidden = {name.encode() for name in HOP_BY_HOP} | {b"surrogate-key"}
    lowered = ((name.lower(), value) for name, value in pairs)
    return tuple((name, value) for name, value in lowered if name not in hidden)


def _passed_on(scope: Scope, region: str, encoding: str) -> CIMultiDict[str]:
    headers: CIMultiDict[str] = CIMultiDict()
    named = b",".join(value for name, value in scope["headers"] if name == b"connection").decode("latin-1").lower()
    dropped = {*_OURS, *(part.strip() for part in named.split(","))}
    traceparent = b""
    for raw_name, value in scope["headers"]:
        name = raw_name.decode("latin-1")
        if name == "traceparent":
            traceparent = value
        elif name not in dropped:
            headers.add(name, value.decode("latin-1"))
    headers["accept-encoding"] = encoding
    headers["x-region"] = headers["x-network-from"] = region
    headers["traceparent"] = scope["tidegauge"]["traceparent"] = continued(traceparent)
    peer = (scope.get("client") or ("unknown",))[0]
    before = headers.get("x-forwarded-for")
    headers["x-forwarded-for"] = f"{before}, {peer}" if before else peer
    length = next((value for name, value in scope["headers"] if name == b"content-length"), None)
    if length is not None and scope["method"] not in ("GET", "HEAD"):
        headers["content-length"] = length.decode("latin-1")
    return headers
