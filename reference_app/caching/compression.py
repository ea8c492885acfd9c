"""Smaller answers: zstd where it is accepted, else gzip, at level 6, over 1 kB; payments are never compressed.

A compressed answer that mixes a secret with what somebody else may choose tells its length, and so the secret: payments
stay as they are. On starlette-compress. What is compressed once is kept compressed, by who keeps whole answers.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send
from starlette_compress import CompressMiddleware

LEAST_BYTES = 1024
LEVEL = 6
NEVER_UNDER = "/api/payments"


def compressed(app: ASGIApp) -> ASGIApp:
    """Return `app` with its answers compressed as the caller accepts."""
    compressing = CompressMiddleware(app, minimum_size=LEAST_BYTES, zstd_level=LEVEL, gzip_level=LEVEL, brotli=False)

    async def chosen(scope: Scope, receive: Receive, send: Send) -> None:
        plain = scope["type"] != "http" or scope["path"].startswith(NEVER_UNDER)
        await (app if plain else compressing)(scope, receive, send)

    return chosen


def encoding_accepted(accept_encoding: bytes) -> str:
    """Return which of our encodings a caller gets: zstd, gzip or identity, after the rule of `compressed`."""
    text = accept_encoding.decode("latin-1").lower()
    if "zstd" not in text and "gzip" not in text:
        return "identity"
    accepted = dict(_weighed(part) for part in text.split(","))
    return next((name for name in ("zstd", "gzip") if accepted.get(name, 0.0) > 0), "identity")


def _weighed(part: str) -> tuple[str, float]:
    name, _, parameters = part.partition(";")
    _, _, weight = parameters.partition("q=")
    try:
        return name.strip(), float(weight) if weight else 1.0
    except ValueError:
        return name.strip(), 0.0
