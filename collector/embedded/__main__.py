"""Starts the store: one process, one chDB directory, ClickHouse's HTTP interface on loopback."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import uvicorn

from collector.embedded.settings import Settings, SettingsError, read_physical_memory_bytes, settings_from_environment

_FINISH_SECONDS = 6  # what was accepted may run so long after SIGTERM ...
_STOP_SECONDS = 9.5  # ... and the process ends after so long in any case
_READERS, _WRITERS = 8, 4

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
    from collector.embedded.engine import Engine, EngineError, StoreBusyError  # loads 500 MB: only when it is needed
    from collector.embedded.front import Front, Threads

    try:
        engine = Engine(settings.directory, memory_bytes=settings.memory_bytes)
    except StoreBusyError as error:
        return _fail(f"{error} is open in another process: one process owns it (its `status` file says which)")
    except (EngineError, OSError) as error:
        return _fail(f"cannot open {settings.directory}: {error}")
    pools = [
        ThreadPoolExecutor(n, thread_name_prefix=name)
        for name, n in (("read", _READERS), ("write", _WRITERS), ("control", 1))
    ]
    front = Front(engine, Threads(*pools), settings.query_memory_bytes, settings.user, settings.password)
    server = uvicorn.Server(
        uvicorn.Config(
            front,  # type: ignore[arg-type]  # uvicorn's own scope types are narrower than ASGI's mappings
            lifespan="off",
            access_log=False,
            log_config=None,
            http="httptools",
            ws="none",
            timeout_graceful_shutdown=_FINISH_SECONDS,
            server_header=False,
        )
    )
    # uvicorn raises the signal again when it has finished: this is what it then reaches.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    log.info("serving %s on http://127.0.0.1:%d", settings.directory, settings.port)
    server.run(sockets=[listener])
    last = threading.Timer(_STOP_SECONDS - _FINISH_SECONDS, lambda: os._exit(1))
    last.daemon = True
    last.start()
    engine.cancel_all()
    for pool in pools:
        pool.shutdown(wait=True)
    engine.close()
    log.info("stopped")
    return 0


def _fail(message: str) -> int:
    sys.stderr.write(f"collector.embedded: {message}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
