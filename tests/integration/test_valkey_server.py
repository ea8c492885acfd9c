"""The embedded Valkey, real: it wants its password, stays on loopback, and remembers after kill -9."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import redis.asyncio
import redis.exceptions

from tidegauge.clock import Clock
from tidegauge.part import Backoff
from tidegauge.settings import StackSettings, read_secrets
from tidegauge.stack import StackOf
from tidegauge.supervisor import Supervisor
from tidegauge.valkey import is_ready

pytestmark = pytest.mark.server


@asynccontextmanager
async def running(data: Path) -> AsyncIterator[tuple[Supervisor, StackOf]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        settings = StackSettings(data=data, valkey_port=probe.getsockname()[1])
    async with Supervisor(data, backoff=Backoff(first_seconds=0.05)) as supervisor:
        stack = StackOf(settings, read_secrets(data), Clock())
        await supervisor.start([stack.valkey()])
        yield supervisor, stack


async def test_it_serves_who_has_the_password_and_nobody_else(tmp_path):
    async with running(tmp_path) as (_, stack):
        server, password = stack.settings.valkey, stack.secrets.valkey
        assert not await is_ready(server, password="wrong")
        async with redis.asyncio.Redis.from_url(server.url("wrong")) as client:
            with pytest.raises(redis.exceptions.AuthenticationError):
                await client.ping()
        async with redis.asyncio.Redis.from_url(server.url(password)) as client:
            settings = await client.config_get("maxmemory*", "bind", "appendonly")
        assert (settings["maxmemory"], settings["maxmemory-policy"]) == (str(128 * 1024 * 1024), "volatile-lru")
        assert (settings["bind"], settings["appendonly"]) == ("127.0.0.1", "yes")
        assert stat.S_IMODE((server.directory / "valkey.conf").stat().st_mode) == 0o600
    assert password not in (tmp_path / "logs" / "valkey.log").read_text()


async def test_it_remembers_what_it_synced_before_it_was_killed(tmp_path):
    async with running(tmp_path) as (supervisor, stack):
        server, password = stack.settings.valkey, stack.secrets.valkey
        async with redis.asyncio.Redis.from_url(server.url(password)) as client:
            await client.rpush("jobs", "confirm booking 7")
            await client.waitaof(1, 0, 10_000)  # returns when it is on disk
        part = supervisor.directory.read_state()["parts"][0]
        os.kill(part["pid"], signal.SIGKILL)
        deadline = time.monotonic() + 20
        while supervisor.directory.read_state()["parts"][0]["pid"] in (part["pid"], None) or not await is_ready(
            server, password=password
        ):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        async with redis.asyncio.Redis.from_url(server.url(password)) as client:
            assert await client.lrange("jobs", 0, -1) == [b"confirm booking 7"]
