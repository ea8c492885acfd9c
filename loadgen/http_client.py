"""A lean HTTP/1.1 client: raw keep-alive sockets and httptools. The client is what a generator's cost consists of.

It uses the plain `socket` module, which in the child is gevent's: a blocking call there lets the other users go on.
No TLS, no redirects, no cookies: a declared request goes out, its answer is counted and thrown away.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter

import httptools

from loadgen.journeys import Request

READ_BYTES = 65_536
IDLE_SECONDS = 3.0  # servers close idle connections after 5 s by custom; a younger one is rarely stale


class NoConnectionError(Exception):
    """The server could not be reached, or closed the connection before it had answered."""


class NoAnswerError(Exception):
    """No full answer came within the time-out."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """An answer: its status, when (perf_counter seconds) its first byte came and it was complete, its body if asked."""

    status: int
    first_byte_at: float
    done_at: float
    body: bytes = b""


@dataclass(slots=True)
class _Connection:
    socket: socket.socket
    idle_since: float


class _Answer:
    """What httptools tells while it parses one answer."""

    def __init__(self, *, keep_body: bool) -> None:
        self.complete = False
        self.keep_alive = False
        self.has_length = False
        self.body = bytearray()
        if keep_body:
            self.on_body = self.body.extend  # looked up once, by the parser: a body that nobody reads costs nothing
        self.parser = httptools.HttpResponseParser(self)

    def on_header(self, name: bytes, _value: bytes) -> None:
        if name.lower() in (b"content-length", b"transfer-encoding"):
            self.has_length = True

    def on_message_complete(self) -> None:
        self.complete = True
        self.keep_alive = self.parser.should_keep_alive()  # asked any later, the parser has forgotten it


@dataclass(slots=True)
class LeanClient:
    """Connections to one target, the most recently used first: as few stay open as are needed at once.

    timeout_seconds: from the call to the complete answer.
    """

    host: str
    port: int
    timeout_seconds: float
    now: Callable[[], float] = perf_counter
    _idle: list[_Connection] = field(default_factory=list)

    def exchange(self, request: Request, *, keep_body: bool = False) -> Exchange:
        """Send the request and return its answer.

        A kept connection that the server closed meanwhile is replaced once, as browsers do.

        Raises NoConnectionError, NoAnswerError.
        """
        deadline = self.now() + self.timeout_seconds
        data = self._encode(request)
        kept = self._take_idle()
        if kept is not None:
            try:
                return self._converse(kept, data, deadline, keep_body)
            except _StaleError:
                pass  # nothing of an answer came: the server had closed it while it was idle
        try:
            return self._converse(self._connect(deadline), data, deadline, keep_body)
        except _StaleError as error:
            raise NoConnectionError(str(error)) from error

    def _encode(self, request: Request) -> bytes:
        lines = [f"{request.method} {request.path} HTTP/1.1", f"host: {self.host}:{self.port}"]
        lines += [f"{name}: {value}" for name, value in request.headers]
        if request.body:
            lines += ["content-type: application/json", f"content-length: {len(request.body)}"]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + request.body

    def _take_idle(self) -> _Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if self.now() - connection.idle_since < IDLE_SECONDS:
                return connection
            connection.socket.close()
        return None

    def _connect(self, deadline: float) -> _Connection:
        try:
            opened = socket.create_connection((self.host, self.port), timeout=max(deadline - self.now(), 0.001))
        except TimeoutError as error:
            raise NoAnswerError("connecting took too long") from error
        except OSError as error:
            raise NoConnectionError(str(error)) from error
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return _Connection(opened, self.now())

    def _converse(self, connection: _Connection, data: bytes, deadline: float, keep_body: bool) -> Exchange:
        """Send and read on this connection; keep it if the answer allows, close it on everything else."""
        keep = False
        try:
            exchange, keep = self._send_and_read(connection.socket, data, deadline, keep_body)
        except TimeoutError as error:
            raise NoAnswerError(f"no answer within {self.timeout_seconds:g} s") from error
        except (OSError, httptools.HttpParserError) as error:
            raise NoConnectionError(str(error)) from error
        finally:
            if keep:
                connection.idle_since = self.now()
                self._idle.append(connection)
            else:
                connection.socket.close()
        return exchange

    def _send_and_read(
        self, opened: socket.socket, data: bytes, deadline: float, keep_body: bool
    ) -> tuple[Exchange, bool]:
        answer = _Answer(keep_body=keep_body)
        first_byte_at = 0.0
        while not answer.complete:
            remaining = deadline - self.now()
            if remaining <= 0:
                raise TimeoutError
            opened.settimeout(remaining)
            try:
                if data:
                    opened.sendall(data)
                    data = b""
                received = opened.recv(READ_BYTES)
            except ConnectionError as error:
                raise (_StaleError(str(error)) if not first_byte_at else NoConnectionError(str(error))) from error
            if not received:
                if not first_byte_at:
                    raise _StaleError("the server closed the connection without an answer")
                return self._read_until_closed(answer, first_byte_at)
            first_byte_at = first_byte_at or self.now()
            answer.parser.feed_data(received)
        exchange = Exchange(answer.parser.get_status_code(), first_byte_at, self.now(), bytes(answer.body))
        return exchange, answer.keep_alive

    def _read_until_closed(self, answer: _Answer, first_byte_at: float) -> tuple[Exchange, bool]:
        """Return an answer without a length, which ends where the connection does."""
        if answer.has_length or not answer.parser.get_status_code():
            raise NoConnectionError("the server closed the connection within an answer")
        return Exchange(answer.parser.get_status_code(), first_byte_at, self.now(), bytes(answer.body)), False


class _StaleError(Exception):
    """The connection was closed before the first byte of an answer."""
