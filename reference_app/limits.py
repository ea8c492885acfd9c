"""Refuses bodies larger than any request of this API needs, before they are read, with a problem document.

FastAPI's own limit answers an announced size in plain text; this one says it as every other error is said.
"""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reference_app.problems import Problem, problem_response

LARGEST_BODY_BYTES = 16_384
_TOO_LARGE = f"expected a body of at most {LARGEST_BODY_BYTES} bytes"


def with_body_limit(app: ASGIApp) -> ASGIApp:
    """Return `app` behind a limit of 16 KiB per request body: 413 beyond it."""

    async def limited(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            await app(scope, receive, send)
            return
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if announced.isdigit() and int(announced) > LARGEST_BODY_BYTES:
            await problem_response(Problem(413, "content-too-large", _TOO_LARGE))(scope, receive, send)
            return
        received = 0

        async def counting() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > LARGEST_BODY_BYTES:
                raise HTTPException(413, _TOO_LARGE)
            return message

        await app(scope, counting, send)

    return limited
