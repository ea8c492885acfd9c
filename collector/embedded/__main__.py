"""Starts the store: one process, one chDB directory, ClickHouse's HTTP interface on loopback."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import Any

import uvicorn

from collector.embedded.settings import Settings, SettingsError, read_physical_memory_bytes, settings_from_environment

_FINISH_SECONDS = 6  # what was accepted may run so long after SIGTERM ...
_STOP_SECONDS = 9.5  # ... and the process ends after so long in any case
_KEEP_ALIVE_SECONDS = 300  # longer than clients keep an idle connection, so that it is they who close it
_THREADS = (("read", 8), ("write", 4), ("control", 4))

log = logging.getLogger("collector.embedded")


def main() -> int:
    """Run the store until SIGTERM or SIGINT; returns the exit code."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        settings = settings_from_environment(os.environ, physical_memory_bytes=read_physical_memory_bytes())
    except SettingsError as error:
        return _fail(str(error))
    listener = socket.socket(
        socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP
    )  # named, or asyncio leaves Nagle on
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", settings.port))
    except OSError as error:
        return _fail(
            f"cannot listen on 127.0.0.1:{settings.port} ({error.strerror}): another process has the port; "
            "set TIDEGAUGE_CLICKHOUSE_PORT to a free one"
        )
    return _serve(settings, listener)


def _serve(settings: Settings, listener: socket.socket) -> int:
    os.environ["TZ"] = "UTC"  # or the engine reads and writes times in the machine's zone
    time.tzset()
    from collector.embedded.engine import Engine, EngineError, StoreBusyError  # loads 500 MB: only when it is needed
    from collector.embedded.front import Front, Threads

    try:
        engine = Engine(settings.directory, memory_bytes=settings.memory_bytes)
    except StoreBusyError as error:
        return _fail(f"{error} is open in another process, and only one may own it (its `status` file says which)")
    except (EngineError, OSError) as error:
        return _fail(f"cannot open {settings.directory}: {error}")
    pools = [ThreadPoolExecutor(count, thread_name_prefix=name) for name, count in _THREADS]
    front = Front(
        engine,
        Threads(*pools),
        settings.query_memory_bytes,
        settings.user,
        settings.password,
        settings.reader,
        settings.reader_password,
        engine.table_functions(),
    )
    # uvicorn raises the signal again when it has finished: this is what it then reaches.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    log.info("serving %s on http://127.0.0.1:%d", settings.directory, settings.port)
    _Server(_uvicorn_config(front)).run(sockets=[listener])
    engine.stop_all()
    for pool in pools:
        pool.shutdown(wait=True)
    engine.close()
    log.info("stopped")
    return 0


class _Server(uvicorn.Server):
    """Ends the process even when a statement does not let itself be cancelled."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop, once more bounded in time."""
        watchdog = threading.Timer(_STOP_SECONDS, lambda: os._exit(1))
        watchdog.daemon = True
        watchdog.start()
        super().handle_exit(sig, frame)


def _uvicorn_config(front: Any) -> uvicorn.Config:
    return uvicorn.Config(
        front,
        lifespan="off",
        access_log=False,
        log_config=None,
        http="httptools",
        ws="none",
        timeout_graceful_shutdown=_FINISH_SECONDS,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        server_header=False,
    )


def _fail(message: str) -> int:
    sys.stderr.write(f"collector.embedded: {message}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
