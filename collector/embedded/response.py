"""The answers of ClickHouse's HTTP interface: headers, and how an exception looks on the wire."""

from __future__ import annotations

import json

from collector.embedded.body import Message, Send
from collector.embedded.engine import EngineError, Totals
from collector.embedded.errors import http_status
from collector.embedded.request import Request


def result_headers(request: Request, totals: Totals, summary: dict[str, int]) -> dict[str, str]:
    """Return what clickhouse-connect reads of a good answer: query id, zone, summary."""
    told = {**summary, "elapsed_ns": int(totals.seconds * 1e9)}
    return {
        "Content-Type": "text/plain; charset=UTF-8",
        "X-ClickHouse-Query-Id": request.query_id,
        "X-ClickHouse-Timezone": "UTC",
        "X-ClickHouse-Summary": json.dumps({name: str(value) for name, value in told.items()}),
    }


def exception_headers(code: int) -> dict[str, str]:
    """Return the header with ClickHouse's code of an exception."""
    return {"Content-Type": "text/plain; charset=UTF-8", "X-ClickHouse-Exception-Code": str(code)}


def late_exception(tag: str, error: EngineError) -> bytes:
    """Return ClickHouse's mark of an exception inside a body; `tag` was announced in a header."""
    text = error.text.encode() + b"\n"
    mark = tag.encode()
    return b"\r\n__exception__\r\n%b\r\n%b%d %b\r\n__exception__\r\n" % (mark, text, len(text), mark)


async def refuse(send: Send, code: int, name: str, message: str) -> None:
    """Answer with an exception of our own, worded as ClickHouse words its."""
    text = f"Code: {code}. DB::Exception: {message}. ({name})\n"
    await answer(send, http_status(name), text.encode(), exception_headers(code))


def start(status: int, headers: dict[str, str]) -> Message:
    """Return the message that starts an answer."""
    encoded = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http.response.start", "status": status, "headers": encoded}


async def answer(send: Send, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
    """Send a whole answer."""
    await send(start(status, {**(headers or {}), "Content-Length": str(len(body))}))
    await send({"type": "http.response.body", "body": body})
