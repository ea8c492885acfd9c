"""A request's body, decoded and in pieces, from the messages of ASGI."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any

from collector.embedded.encoding import decoder_for
from collector.embedded.request import RequestError

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
PIECE_BYTES = 1 << 20


class ClientGoneError(Exception):
    """The client went away before its request was whole."""


class Body:
    """Reads a body once, from front to back, never holding more than was asked for and one piece."""

    def __init__(self, receive: Receive, content_encoding: str) -> None:
        """Raises EncodingError when the encoding is not spoken."""
        self._pieces = _decoded(receive, content_encoding)
        self.ended = False

    async def read(self, least_bytes: int) -> bytes:
        """Return at least so many bytes, or fewer at the end (then `ended`); raises ClientGoneError, EncodingError."""
        parts: list[bytes] = []
        held = 0
        while held < least_bytes and not self.ended:
            piece = await anext(self._pieces, None)
            if piece is None:
                self.ended = True
            else:
                parts.append(piece)
                held += len(piece)
        return parts[0] if len(parts) == 1 else b"".join(parts)


async def _decoded(receive: Receive, content_encoding: str) -> AsyncIterator[bytes]:
    decoder = decoder_for(content_encoding)
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        for piece in decoder.feed(message.get("body", b"")):
            yield piece
        more = message.get("more_body", False)
    decoder.finish()


def read_form(body: bytes, content_type: str) -> dict[str, str]:
    """Return the fields of a multipart form: clickhouse-connect sends long parameters so. Raises RequestError."""
    parsed = BytesParser(policy=HTTP).parsebytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body)
    fields: dict[str, str] = {}
    for part in parsed.iter_parts():
        name = part.get_param("name", header="content-disposition")
        if part.get_filename() is not None or not isinstance(name, str):
            raise RequestError("external data: expected form fields only", code=48, name="NOT_IMPLEMENTED")
        payload = part.get_payload(decode=True)
        fields[name] = payload.decode() if isinstance(payload, bytes) else ""
    return fields
