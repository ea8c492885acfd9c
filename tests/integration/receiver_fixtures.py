"""A real HTTP receiver for tests that does what its script says, and fails in every way a receiver can."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass
class Received:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class ScriptedReceiver:
    """`script`: what the next requests meet (a status, or hang, drip, reset, garbage); afterwards 200."""

    url: str
    port: int
    script: list[str] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)
    ending: threading.Event = field(default_factory=threading.Event)


@contextmanager
def scripted_receiver(
    script: list[str] | None = None, *, tls: tuple[Path, Path] | None = None
) -> Iterator[ScriptedReceiver]:
    """Run a receiver; tls: certificate and key."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            step = receiver.script.pop(0) if receiver.script else "200"
            receiver.received.append(Received(self.path, headers, body))
            with suppress(OSError):
                self.answer(step)

        def answer(self, step: str) -> None:
            if step == "hang":
                receiver.ending.wait(30)
            elif step == "drip":
                while not receiver.ending.wait(0.05):
                    self.wfile.write(b"H")
            elif step == "reset":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                self.connection.close()
            elif step == "garbage":
                self.wfile.write(b"\x00\x01 nonsense\r\n\r\n")
            else:
                status, _, value = step.partition(" ")
                self.send_response(int(status))
                if value:
                    self.send_header(*value.split("=", 1))
                self.send_header("Content-Length", "0")
                self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A client that gave up is what the tests are about."""

    server = Server(("127.0.0.1", 0), Handler)
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    port = server.server_address[1]
    receiver = ScriptedReceiver(f"http://127.0.0.1:{port}/hook", port, list(script or []))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.ending.set()
        server.shutdown()
        server.server_close()
        thread.join()
