"""`python -m loadgen serve`: the load generator as a server on loopback, until SIGTERM. A composition root.

Reads TIDEGAUGE_LOADGEN_PORT, TIDEGAUGE_DATA, TIDEGAUGE_COLLECTOR_URL, TIDEGAUGE_LOAD_SCENARIOS (a folder of scenario
files beside the shipped ones), TIDEGAUGE_BIND_ADDRESS, and the limits.
"""

from __future__ import annotations

import asyncio
import errno
import signal
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from loadgen.capacity.cross_check import read_live_cost
from loadgen.safety import limits_from_environment
from loadgen.server.api import HOSTS, create_app
from loadgen.server.desk import Desk
from loadgen.server.schedules import ReadVersion, Schedules

PORT_NAME = "TIDEGAUGE_LOADGEN_PORT"
PORT = 9402
VERSION_SPAN = timedelta(minutes=10)


def version_reader(collector_url: str | None) -> ReadVersion:
    """Return who says which version of a service runs: the record, of the last ten minutes."""

    def read(service: str) -> str | None:
        if collector_url is None:
            return None
        now = datetime.now(UTC)
        live = read_live_cost(collector_url, service, since=now - VERSION_SPAN, until=now)
        return None if live is None else live.version

    return read


def read_port(environ: Mapping[str, str]) -> int:
    """Return the port. Raises ValueError."""
    text = environ.get(PORT_NAME) or str(PORT)
    if not text.isdecimal() or not 1 <= int(text) <= 65_535:
        raise ValueError(f"{PORT_NAME}: expected a port number, got {text!r}")
    return int(text)


def serve(environ: Mapping[str, str]) -> int:
    """Serve until told to stop; return the exit code. Raises ValueError for settings, OSError for the port."""
    port, address = read_port(environ), environ.get("TIDEGAUGE_BIND_ADDRESS") or "127.0.0.1"
    folder = Path(environ.get("TIDEGAUGE_DATA") or ".tidegauge") / "load"
    collector_url = (environ.get("TIDEGAUGE_COLLECTOR_URL") or "").rstrip("/") or None
    scenarios = Path(environ["TIDEGAUGE_LOAD_SCENARIOS"]) if environ.get("TIDEGAUGE_LOAD_SCENARIOS") else None
    if scenarios is not None and not scenarios.is_dir():
        raise ValueError(f"TIDEGAUGE_LOAD_SCENARIOS: expected a folder, got {str(scenarios)!r}")
    desk = Desk(limits_from_environment(environ), folder, scenarios, collector_url)
    schedules = Schedules(desk, folder / "schedules.json", version_reader(collector_url))
    app = create_app(desk, schedules, hosts=HOSTS if address == "127.0.0.1" else ["*"])
    listening = _listen(address, port)
    asyncio.run(_serve(app, listening))
    return 0


class _Server(uvicorn.Server):
    """uvicorn, but for its way to end: it would send itself the signal again, and the process would not end with 0."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Let SIGTERM and Ctrl-C end the server once, in good order."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield


async def _serve(app: FastAPI, listening: socket.socket) -> None:
    config = uvicorn.Config(app, log_level="warning", lifespan="on", timeout_graceful_shutdown=20)
    await _Server(config).serve(sockets=[listening])


def _listen(address: str, port: int) -> socket.socket:
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((address, port))
    except OSError as error:
        listening.close()
        if error.errno != errno.EADDRINUSE:
            raise
        raise OSError(f"port {port} is in use; choose another with {PORT_NAME}") from error
    return listening
