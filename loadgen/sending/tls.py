"""TLS between the bytes of a socket and ours, which need not know which loop waits for the socket. Stdlib only."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable
from typing import Any

READ_BYTES = 16_384
READABLE, WRITABLE = 1, 2  # libev's words


class Tls:
    """One connection's encryption. Raises OSError (ssl.SSLError) where the other end is not who it should be."""

    def __init__(self, context: ssl.SSLContext, host: str) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)

    def shake_hands(self, raw: Any, wait: Callable[[int], None]) -> None:
        """Agree on keys; wait(READABLE or WRITABLE) waits for the socket. Raises OSError."""
        while True:
            try:
                self._object.do_handshake()
            except ssl.SSLWantReadError:
                self._send(raw, wait)
                wait(READABLE)
                received = raw.recv(READ_BYTES)
                self._incoming.write(received) if received else self._incoming.write_eof()
            else:
                self._send(raw, wait)
                return

    def _send(self, raw: Any, wait: Callable[[int], None]) -> None:
        data = self._outgoing.read()
        while data:
            wait(WRITABLE)
            data = data[raw.send(data) :]

    def encrypt(self, data: bytes) -> bytes:
        """Return what to send for our bytes."""
        self._object.write(data)
        return self._outgoing.read()

    def decrypt(self, received: bytes) -> bytes:
        """Return ours of what came; nothing while a record is incomplete, or when the server said goodbye."""
        self._incoming.write(received)
        found = b""
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLZeroReturnError):
            while part := self._object.read(READ_BYTES):
                found += part
        return found
