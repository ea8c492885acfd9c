"""uvicorn, made to stop the way a cluster expects: unready first, then finish what was accepted, then exit 0."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterator

import uvicorn
from starlette.types import ASGIApp

from reference_app.parts import Readiness


class DrainingServer(uvicorn.Server):
    """On SIGTERM or SIGINT says unready for a while, still answering; then closes, finishes, and ends without error."""

    def __init__(self, config: uvicorn.Config, *, readiness: Readiness, drain_seconds: float) -> None:
        super().__init__(config)
        self._readiness, self._drain_seconds = readiness, drain_seconds

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Drain on the first signal, stop on the second; unlike uvicorn's, do not raise the signal again at the end."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._drain)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    def _drain(self) -> None:
        if self._readiness.draining:
            self._stop()
            return
        self._readiness.draining = True
        asyncio.get_running_loop().call_later(self._drain_seconds, self._stop)

    def _stop(self) -> None:
        self.should_exit = True


async def serve(
    app: ASGIApp,
    *,
    port: int,
    readiness: Readiness,
    drain_seconds: float,
    finish_seconds: int = 10,
    host: str = "127.0.0.1",
) -> None:
    """Serve until a signal has been honoured; on loopback unless told. `port` 0 takes a free one.

    drain_seconds: how long it is unready and still answers; finish_seconds: how long what it took may take then.
    """
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        loop="asyncio",
        http="httptools",
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=finish_seconds,
        timeout_keep_alive=30,
    )
    await DrainingServer(config, readiness=readiness, drain_seconds=drain_seconds).serve()
