"""An edge in front of real HTTP servers of this process, and the events that a collector would get."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import uvicorn

from collector.instrument import Event, RecordRequests
from reference_app.edge.__main__ import edge_app
from reference_app.edge.settings import edge_settings_from_environment
from reference_app.parts import Readiness
from tidegauge.clock import Clock


class Events(list[Event]):
    """A client that keeps what it is told."""

    def record(self, event: Event) -> None:
        self.append(event)

    def close(self) -> None:
        pass


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def served(app: Any, *, lifespan: str = "on") -> AsyncIterator[str]:
    """Serve an ASGI application on a free port; gives its URL."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_config=None, lifespan=lifespan, http="httptools", ws="none", loop="asyncio")
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listening]))
    while not server.started:
        assert not task.done(), task.exception()
        await asyncio.sleep(0.005)
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task
        listening.close()


@asynccontextmanager
async def running_edge(
    origins: str, *, events: Events | None = None, environ: Mapping[str, str] | None = None
) -> AsyncIterator[httpx.AsyncClient]:
    """Run an edge in front of `origins`; the client is a viewer of it. Other settings come from the environment."""
    settings = edge_settings_from_environment(
        {**os.environ, "REFERENCE_APP_EDGE_ORIGINS": origins, "TIDEGAUGE_COLLECTOR_URL": "", **(environ or {})}
    )
    client: Any = Events() if events is None else events
    app = edge_app(settings, Clock(), Readiness(), client)
    async with served(app) as url, httpx.AsyncClient(base_url=url, timeout=20) as viewer:
        yield viewer


def recorded(app: Any, events: Events) -> Any:
    """Return an app that records its requests as a replica does."""
    client: Any = events
    return RecordRequests(app, client=client, service="reference-app", instance="replica", version="test")
