"""ClickHouse's HTTP interface as an ASGI application in front of the engine.

The event loop only moves bytes: whatever enters the engine runs in threads, inserts in their own, so that slow SELECTs
hold up neither `/ping` nor the record. Results leave in pieces and inserts arrive in pieces, each as fast as the other
side takes them. A client that goes away cancels its SELECT; an INSERT whose data came whole runs to its end.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import uuid
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Any, ParamSpec, TypeVar

from collector.embedded.body import PIECE_BYTES, Body, ClientGoneError, Message, Receive, Send, read_form
from collector.embedded.encoding import EncodingError, encoder_for
from collector.embedded.engine import Engine, EngineError, Handle, Totals
from collector.embedded.errors import http_status
from collector.embedded.request import Request, RequestError, Setup, read_credentials, read_request
from collector.embedded.response import answer, exception_headers, late_exception, refuse, result_headers, start
from collector.embedded.statement import Insert, find_insert_data, forbidden_to_readers, read_statement

MOST_STATEMENT_BYTES = 64 << 20


class LateError(Exception):
    """A result failed after its status had gone out: it carries ClickHouse's mark, and the connection breaks."""


log = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Threads:
    """Where the engine's blocking calls run: SELECTs, inserts, and what must never wait (cancelling, readiness).

    The quick statements about tables run with the inserts: clickhouse-connect sends a DESCRIBE before it inserts.
    """

    readers: Executor
    writers: Executor
    control: Executor


@dataclass(frozen=True, slots=True)
class Front:
    """The application. `user` None and `password` None: no credentials are asked for, but `reader` may only read."""

    engine: Engine
    threads: Threads
    query_memory_bytes: int
    user: str | None = None
    password: str | None = None
    reader: str = "tidegauge_reader"
    reader_password: str | None = None
    table_functions: frozenset[str] = frozenset()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        path, method = scope["path"], scope["method"]
        if path in {"/ping", "/healthz"}:
            await answer(send, 200, b"Ok.\n")
        elif path == "/readyz":
            await self._answer_readiness(send)
        elif path != "/":
            await answer(send, 404, f"{path}: expected /, /ping, /healthz or /readyz\n".encode())
        elif method in {"GET", "POST"}:
            await self._answer_statement(scope, receive, send)
        else:
            await answer(send, 501, b"expected GET or POST\n")

    async def _answer_readiness(self, send: Send) -> None:
        try:
            await _run(self.threads.control, self.engine.ping)
        except EngineError as error:
            await answer(send, 503, error.text.encode() + b"\n")
        else:
            await answer(send, 200, b"Ok.\n")

    async def _answer_statement(self, scope: Message, receive: Receive, send: Send) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            reads_only = self._check_caller(scope["query_string"].decode("latin-1"), headers)
            await self._statement(scope, headers, receive, send, reads_only=reads_only)
        except ClientGoneError:
            log.info("a client went away before it had its answer")
        except LateError as error:  # returning without the end of the body makes the server cut the connection
            log.warning("a result broke off: %s", error)
        except EncodingError as error:
            await refuse(send, 117, "INCORRECT_DATA", str(error))
        except RequestError as error:
            await refuse(send, error.code, error.name, str(error))
        except EngineError as error:
            await answer(send, http_status(error.name), error.text.encode() + b"\n", exception_headers(error.code))

    def _check_caller(self, query_string: str, headers: dict[str, str]) -> bool:
        """Return whether the caller may only read. Raises RequestError for one who may nothing."""
        if "origin" in headers:  # a web page could otherwise post statements to a port on its reader's machine
            raise _forbidden("expected no Origin header: browsers are not served")
        user, password = read_credentials(query_string, headers)
        reads_only = hmac.compare_digest(user.encode(), self.reader.encode())
        if self.user is None and self.password is None and not (reads_only and self.reader_password):
            return reads_only
        name, secret = (self.reader, self.reader_password) if reads_only else (self.user or "default", self.password)
        locked = reads_only and secret is None  # an account that was given no password
        if locked or not hmac.compare_digest(f"{user}\0{password}".encode(), f"{name}\0{secret or ''}".encode()):
            raise _forbidden(f"{user}: password is incorrect, or there is no such user")
        return reads_only

    async def _statement(
        self, scope: Message, headers: dict[str, str], receive: Receive, send: Send, *, reads_only: bool
    ) -> None:
        query_string = scope["query_string"].decode("latin-1")
        body = Body(receive, headers.get("content-encoding", ""))
        form: dict[str, str] | None = None
        content_type = headers.get("content-type", "")
        if content_type.startswith("multipart/form-data"):
            form = read_form(await _whole(body, b""), content_type)
        request = read_request(scope["method"], query_string, headers, memory_bytes=self.query_memory_bytes, form=form)
        if reads_only:
            request = replace(request, setup=_for_reader(request.setup))
        head = f"{request.query}\n".encode() if request.query else b""
        while (insert := find_insert_data(head, whole=body.ended)) == "more":
            head += await body.read(1)
            if len(head) > MOST_STATEMENT_BYTES:
                raise _too_large()
        if isinstance(insert, Insert):
            if reads_only:
                raise RequestError("INSERT: not for an account that may only read", code=164, name="READONLY")
            await self._insert(request, insert, head[insert.data_offset :], body, send)
        else:
            text = (await _whole(body, head)).decode("utf-8", "surrogateescape").strip().rstrip(";")
            if not text and scope["method"] == "GET":
                await answer(send, 200, b"Ok.\n")  # as ClickHouse does: some clients look for a server so
                return
            if reads_only and (wrong := forbidden_to_readers(text, self.table_functions)) is not None:
                raise RequestError(wrong, code=164, name="READONLY")
            await self._query(request, text, receive, send)

    async def _insert(self, request: Request, insert: Insert, data: bytes, body: Body, send: Send) -> None:
        data += await body.read(max(0, PIECE_BYTES - len(data)))
        handle = await _run(self.threads.writers, self.engine.handle, request.setup)
        try:
            if body.ended:
                totals = await _run(self.threads.writers, _insert_at_once, handle, insert, data)
            else:
                await _run(self.threads.writers, handle.open_insert, insert.text, insert.format)
                while data:
                    await _run(self.threads.writers, handle.append, data)
                    data = await body.read(PIECE_BYTES)
                totals = await _run(self.threads.writers, handle.finish)
        finally:
            await _run(self.threads.writers, handle.close)
        summary = {"written_rows": totals.rows, "written_bytes": totals.bytes}
        await answer(send, 200, b"", result_headers(request, totals, summary))

    async def _query(self, request: Request, text: str, receive: Receive, send: Send) -> None:
        statement = read_statement(text)
        threads = self.threads.writers if statement.is_quick else self.threads.readers
        handle = await _run(threads, self.engine.handle, request.setup)
        try:
            if statement.streams_as(request.default_format):
                await self._stream(request, handle, text, receive, send)
                return
            result, totals = await self._or_cancel(threads, handle, receive, handle.query, text, request.default_format)
        finally:
            await _run(self.threads.control, handle.close)
        formats = {"X-ClickHouse-Format": (statement.formats or (request.default_format,))[-1]}
        answers = formats if result or statement.answers_with_rows else {}
        summary = {"read_rows": totals.rows, "read_bytes": totals.bytes}
        await answer(send, 200, result, {**result_headers(request, totals, summary), **answers})

    async def _stream(self, request: Request, handle: Handle, text: str, receive: Receive, send: Send) -> None:
        def open_and_read() -> tuple[bytes, int, bool]:
            handle.open_stream(text, request.default_format)
            return _read_piece(handle)

        piece, rows, more = await self._or_cancel(self.threads.readers, handle, receive, open_and_read)
        encoder = encoder_for(request.accept_encoding) if len(piece) > 1024 or more else None
        tag = uuid.uuid4().hex[:16]
        formats = read_statement(text).formats or (request.default_format,)
        headers = {
            **result_headers(request, Totals(), {"read_rows": rows, "result_rows": rows}),
            "X-ClickHouse-Format": formats[-1],
            "X-ClickHouse-Exception-Tag": tag,
        }
        if encoder is not None:
            headers["Content-Encoding"] = encoder.name
        await send(start(200, headers))
        while True:
            if encoder is not None:
                piece = await _run(self.threads.readers, encoder.compress, piece)
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            if not more:
                break
            try:
                piece, _, more = await self._or_cancel(self.threads.readers, handle, receive, _read_piece, handle)
            except EngineError as error:
                mark = late_exception(tag, error)
                rest = encoder.compress(mark) + encoder.flush() if encoder else mark
                await send({"type": "http.response.body", "body": rest, "more_body": True})
                raise LateError(error.text) from error
        await send({"type": "http.response.body", "body": encoder.flush() if encoder else b""})

    async def _or_cancel(
        self,
        threads: Executor,
        handle: Handle,
        receive: Receive,
        call: Callable[P, T],
        *arguments: P.args,
        **named: P.kwargs,
    ) -> T:
        """Run a reading call; cancel it when the client goes away meanwhile."""
        job = threads.submit(call, *arguments, **named)
        done = asyncio.wrap_future(job)
        gone = asyncio.ensure_future(_wait_until_gone(receive))
        try:
            first: set[asyncio.Future[Any]] = {done, gone}
            await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
            if done.done():
                return done.result()
            raise ClientGoneError
        finally:
            gone.cancel()
            if not job.done():
                done.add_done_callback(lambda late: late.cancelled() or late.exception())
                self.threads.control.submit(self.engine.stop, handle, job)


def _for_reader(setup: Setup) -> Setup:
    """Return a setup that only reads; without a database it is `system`, for in `default` files are tables."""
    database = setup.database if setup.database not in (None, "default") else "system"
    return replace(setup, database=database, read_only=True)


async def _run(executor: Executor, call: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    return await asyncio.get_running_loop().run_in_executor(executor, lambda: call(*arguments, **named))


async def _wait_until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass  # the server may tell the end of the body twice


async def _whole(body: Body, head: bytes) -> bytes:
    head += await body.read(MOST_STATEMENT_BYTES)
    if not body.ended or len(head) > MOST_STATEMENT_BYTES:
        raise _too_large()
    return head


def _forbidden(message: str) -> RequestError:
    return RequestError(message, code=516, name="AUTHENTICATION_FAILED")


def _too_large() -> RequestError:
    message = f"expected a statement of at most {MOST_STATEMENT_BYTES} bytes"
    return RequestError(message, code=307, name="QUERY_IS_TOO_LARGE")


def _insert_at_once(handle: Handle, insert: Insert, data: bytes) -> Totals:
    handle.open_insert(insert.text, insert.format)
    if data:
        handle.append(data)
    return handle.finish()


def _read_piece(handle: Handle) -> tuple[bytes, int, bool]:
    """Return about PIECE_BYTES of the result, the rows in it, and whether there is more."""
    parts: list[bytes] = []
    held = rows = 0
    while held < PIECE_BYTES:
        block = handle.read()
        if block is None:
            return b"".join(parts), rows, False
        parts.append(block[0])
        held += len(block[0])
        rows += block[1]
    return b"".join(parts), rows, True
