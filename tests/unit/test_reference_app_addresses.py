"""Where the app, its jobs and the edge listen, and which Redis holds the jobs."""

from __future__ import annotations

import asyncio
import signal
import socket

import httpx
import pytest
from starlette.responses import PlainTextResponse

from reference_app.edge.settings import edge_settings_from_environment
from reference_app.parts import Readiness
from reference_app.server import serve
from reference_app.settings import settings_from_environment


@pytest.mark.parametrize("read", [settings_from_environment, edge_settings_from_environment])
def test_they_listen_on_loopback_unless_told(read):
    assert read({}).host == "127.0.0.1"
    assert read({"REFERENCE_APP_BIND_ADDRESS": "0.0.0.0"}).host == "0.0.0.0"


def test_a_local_clusters_own_address_is_not_its_replicas():
    assert settings_from_environment({"TIDEGAUGE_BIND_ADDRESS": "0.0.0.0"}).host == "127.0.0.1"


def test_the_jobs_are_where_the_caches_are_unless_told():
    caches = {"REFERENCE_APP_REDIS_URL": "redis://caches:6379/0"}

    assert settings_from_environment({}).jobs_redis_url is None
    assert settings_from_environment(caches).jobs_redis_url == "redis://caches:6379/0"
    told = settings_from_environment({**caches, "REFERENCE_APP_JOBS_REDIS_URL": "redis://jobs:6379/0"})
    assert (told.redis_url, told.jobs_redis_url) == ("redis://caches:6379/0", "redis://jobs:6379/0")


async def test_the_server_listens_where_it_is_told():
    with socket.socket() as probe:
        probe.bind(("127.0.0.2", 0))
        port = probe.getsockname()[1]
    app = PlainTextResponse("here")
    serving = asyncio.create_task(_until_answered(app, port))
    try:
        async with httpx.AsyncClient() as client:
            assert (await _answered(client, f"http://127.0.0.2:{port}/")).text == "here"
            with pytest.raises(httpx.ConnectError):
                await client.get(f"http://127.0.0.1:{port}/")
    finally:
        signal.raise_signal(signal.SIGTERM)  # as a cluster stops it
        await asyncio.wait_for(serving, 20)


async def _answered(client: httpx.AsyncClient, url: str) -> httpx.Response:
    for _ in range(200):
        try:
            return await client.get(url)
        except httpx.ConnectError:
            await asyncio.sleep(0.02)  # polling with a deadline
    raise AssertionError("the server did not come up")


async def _until_answered(app: PlainTextResponse, port: int) -> None:
    async def answer(scope, receive, send):
        if scope["type"] == "http":
            await app(scope, receive, send)
            return
        for _ in range(2):  # the lifespan's startup and its shutdown
            await send({"type": f"{(await receive())['type']}.complete"})

    await serve(answer, port=port, readiness=Readiness(), drain_seconds=0, host="127.0.0.2")
