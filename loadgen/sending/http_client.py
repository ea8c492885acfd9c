"""A lean HTTP/1.1 client: raw keep-alive sockets and httptools. The client is what a generator's cost consists of.

One write sends a request that was encoded before; each connection stays registered with gevent's loop for its whole
life, and reads and parses there, so that the user who asked wakes up once per answer. No redirects, no cookies: a
declared request goes out, its answer is counted and thrown away. TLS is verified against the machine's authorities
(OpenSSL's SSL_CERT_FILE adds one's own).
"""

from __future__ import annotations

import contextlib
import errno
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, NamedTuple

import gevent
import httptools
from gevent import getcurrent
from gevent.monkey import get_original

from loadgen.sending.tls import READABLE, WRITABLE, Tls

READ_BYTES = 16_384
IDLE_SECONDS = 3.0  # servers close idle connections after 5 s by custom; a younger one is rarely stale
SWEEP_SECONDS = 0.02  # how exactly a time-out is kept

_socket, _getaddrinfo = get_original("socket", ["socket", "getaddrinfo"])


class NoConnectionError(Exception):
    """The server could not be reached, or closed the connection before it had answered."""


class NoAnswerError(Exception):
    """No full answer came within the time-out."""


class Exchange(NamedTuple):
    """An answer: its status, when (perf_counter seconds) its first byte came and it was complete, its body if asked."""

    status: int
    first_byte_at: float
    done_at: float
    body: bytes = b""


class _StaleError(Exception):
    """The connection was closed before the first byte of an answer."""


class _Connection:
    """One keep-alive connection. What httptools tells while it parses arrives in its on_ methods."""

    __slots__ = (
        "_hub", "_now", "_tls", "_waiter", "_watcher", "body", "complete", "done_at", "error", "first", "first_byte_at",
        "idle_since", "keep_alive", "keep_body", "parser", "raw", "status",
    )  # fmt: skip

    def __init__(self, raw: Any, hub: Any, now: Callable[[], float], tls: Tls | None) -> None:
        self.raw, self._hub, self._now, self._tls = raw, hub, now, tls
        self.idle_since = 0.0
        self._waiter: Any = None
        self.parser = httptools.HttpResponseParser(self)
        self._watcher = hub.loop.io(raw.fileno(), READABLE)
        self._watcher.start(self._on_readable)
        self.status, self.first_byte_at, self.done_at, self.first = 0, 0.0, 0.0, b""
        self.complete = self.keep_alive = self.keep_body = False
        self.error: Exception | None = None
        self.body = bytearray()

    def on_body(self, data: bytes) -> None:
        """Keep the body if somebody reads it."""
        if self.keep_body:
            self.body += data

    def on_message_complete(self) -> None:
        """Note the end of an answer; asked any later, the parser has forgotten about keep-alive."""
        self.status = self.parser.get_status_code()
        self.complete = self.status >= 200  # 100 Continue and its like come before the answer
        self.keep_alive = self.parser.should_keep_alive()

    def ask(self, data: bytes, keep_body: bool) -> Exchange:
        """Send a request and wait for its answer. Raises _StaleError, NoConnectionError, NoAnswerError."""
        self.first_byte_at = 0.0
        self.complete = self.keep_alive = False
        self.keep_body = keep_body
        try:
            if self._tls is not None:
                data = self._tls.encrypt(data)
            self._send(data)
            self._waiter = getcurrent()
            self._hub.switch()
        finally:
            self._waiter = None
            if not self.keep_alive:
                self.close()
        if self.error is not None:
            raise self.error
        if not keep_body:
            return Exchange(self.status, self.first_byte_at, self.done_at)
        body, self.body = bytes(self.body), bytearray()
        return Exchange(self.status, self.first_byte_at, self.done_at, body)

    def _send(self, data: bytes) -> None:
        while data:
            try:
                sent = self.raw.send(data)
                if sent == len(data):
                    return
                data = data[sent:]
            except BlockingIOError:
                self._hub.wait(self._hub.loop.io(self.raw.fileno(), WRITABLE))
            except (OSError, AttributeError) as error:  # closed by the sweeper, or by the server
                raise self.error or _StaleError(str(error)) from error

    def _on_readable(self) -> None:
        """Take what came, in the loop; wake the user when the answer is whole or will never be."""
        try:
            data = self.raw.recv(READ_BYTES)
            if data and self._tls is not None:
                data = self._tls.decrypt(data)
                if not data:
                    return
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        except OSError as error:
            self.fail(NoConnectionError(str(error)) if self.first_byte_at else _StaleError(str(error)))
            return
        if self._waiter is None:  # nobody asked: the server closed it, or says what no answer can be
            self.close()
            return
        if not data:
            self._on_end()
            return
        if not self.first_byte_at:
            self.first_byte_at, self.first = self._now(), data
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.fail(NoConnectionError(str(error)))
            return
        if self.complete:
            self.done_at = self._now()
            self._waiter.switch()

    def _on_end(self) -> None:
        """Judge a connection that the server closed: an answer without a length ends where the connection does."""
        head = self.first.partition(b"\r\n\r\n")[0].lower()
        whole = b"\r\n\r\n" in self.first and not (b"content-length:" in head or b"transfer-encoding:" in head)
        if whole:
            self.status, self.done_at = self.parser.get_status_code(), self._now()
            self._waiter.switch()
        elif self.first_byte_at:
            self.fail(NoConnectionError("the server closed the connection within an answer"))
        else:
            self.fail(_StaleError("the server closed the connection without an answer"))

    def fail(self, error: Exception) -> None:
        """End it, and tell whoever waits why."""
        self.error, self.keep_alive = error, False
        self.close()
        if self._waiter is not None:
            waiter, self._waiter = self._waiter, None
            waiter.switch()

    def close(self) -> None:
        """Close it; again does no harm."""
        if self.raw is not None:
            self._watcher.stop()
            self._watcher.close()
            self.raw.close()
            self.raw = None


@dataclass(slots=True)
class LeanClient:
    """Connections to one target, the most recently used first: as few stay open as are needed at once.

    timeout_seconds: from the call to the complete answer. context: TLS with it; None: plain.
    """

    host: str
    port: int
    timeout_seconds: float
    context: ssl.SSLContext | None = None
    now: Callable[[], float] = perf_counter
    _idle: list[_Connection] = field(default_factory=list)
    _asking: dict[_Connection, float] = field(default_factory=dict)
    _address: Any = None
    _hub: Any = None

    @property
    def authority(self) -> str:
        """Return the host header's value."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (80 if self.context is None else 443) else f"{host}:{self.port}"

    def exchange(self, data: bytes, began: float | None = None, keep_body: bool = False) -> Exchange:
        """Send an encoded request and return its answer. began: the present (perf_counter s), if it is known.

        A kept connection that the server closed meanwhile is replaced once, as browsers do.
        Raises NoConnectionError, NoAnswerError.
        """
        if began is None:
            began = self.now()
        idle = self._idle
        while idle:
            connection = idle.pop()
            if connection.raw is not None and began - connection.idle_since < IDLE_SECONDS:
                try:
                    return self._ask(connection, data, began, keep_body)
                except _StaleError:
                    break  # nothing of an answer came: the server had closed it while it was idle
            connection.close()
        try:
            return self._ask(self._connect(began + self.timeout_seconds), data, began, keep_body)
        except _StaleError as error:
            raise NoConnectionError(str(error)) from error

    def _ask(self, connection: _Connection, data: bytes, began: float, keep_body: bool) -> Exchange:
        self._asking[connection] = began + self.timeout_seconds
        try:
            exchange = connection.ask(data, keep_body)
        finally:
            del self._asking[connection]
        if connection.keep_alive:
            connection.idle_since = exchange.done_at
            self._idle.append(connection)
        return exchange

    def _sweep(self) -> None:
        """End what takes too long, and close what has been idle for too long."""
        now = self.now()
        for connection in [one for one, deadline in self._asking.items() if deadline <= now]:
            connection.fail(NoAnswerError(f"no answer within {self.timeout_seconds:g} s"))
        while self._idle and now - self._idle[0].idle_since >= IDLE_SECONDS:
            self._idle.pop(0).close()

    def _connect(self, deadline: float) -> _Connection:
        if self._hub is None:
            self._hub = gevent.get_hub()
            sweeper = self._hub.loop.timer(SWEEP_SECONDS, SWEEP_SECONDS, ref=False)
            sweeper.start(self._sweep)
            self._address = _getaddrinfo(self.host, self.port, type=1)[0]
        family, kind, protocol, _, address = self._address
        raw = _socket(family, kind, protocol)
        try:
            with gevent.Timeout(max(deadline - self.now(), 0.001), TimeoutError):
                tls = self._open(raw, address)
        except TimeoutError as error:
            raw.close()
            raise NoAnswerError("connecting took too long") from error
        except OSError as error:
            raw.close()
            raise NoConnectionError(str(error)) from error
        return _Connection(raw, self._hub, self.now, tls)

    def _open(self, raw: Any, address: Any) -> Tls | None:
        def wait(events: int) -> None:
            with contextlib.closing(self._hub.loop.io(raw.fileno(), events)) as watcher:
                self._hub.wait(watcher)

        raw.setblocking(False)
        code = raw.connect_ex(address)
        if code == errno.EINPROGRESS:
            wait(WRITABLE)
            code = raw.getsockopt(1, 4)  # SOL_SOCKET, SO_ERROR
        if code:
            raise OSError(code, errno.errorcode.get(code, "unknown"))
        raw.setsockopt(6, 1, 1)  # IPPROTO_TCP, TCP_NODELAY
        if self.context is None:
            return None
        tls = Tls(self.context, self.host)
        tls.shake_hands(raw, wait)
        return tls
