"""A cluster process under test: real replicas of a tiny app, real ports, a data folder of its own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

TINY_APP = Path(__file__).with_name("cluster_tiny_app.py")

CATALOG = """\
version: 1
services:
  reference-app:
    source: events
    scaling:
      target: {{kind: local, name: reference-app}}
      mode: act
      min_replicas: {least}
      max_replicas: {most}
      capacity_rps: [12, 14]
      quantile: 0.95
      lead: 15m
      largest_step: 4
      cool_down: 5m
      reactive:
        target_rps_per_replica: {target}
        sync: 15s
        tolerance: 0.1
        scale_down_stabilization: 300s
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def demo_clock(speed: float) -> str:
    """A window that began 60 days ago in clock time: it outlasts any test."""
    real = time.time()
    return f"{real - 60 * 86_400}:{real}:{speed}"


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        status = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (ProcessLookupError, FileNotFoundError):
        return False
    return status not in "ZX"  # a zombie waits for its parent only


@dataclass
class Cluster:
    """One cluster: may be started, killed and started again on the same ports and data."""

    folder: Path
    environ: dict[str, str]
    front_port: int
    api_port: int
    session: aiohttp.ClientSession
    process: subprocess.Popen[bytes] | None = None

    @property
    def front(self) -> str:
        return f"http://127.0.0.1:{self.front_port}"

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.api_port}"

    @property
    def errors(self) -> str:
        return (self.folder / "stderr.log").read_text()

    def start(self) -> None:
        with (self.folder / "stderr.log").open("ab") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tidegauge.cluster"], env=self.environ, stderr=errors
            )

    async def stop(self, which: signal.Signals = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(which)
        return await asyncio.to_thread(self.process.wait, 30)

    async def get(self, path: str) -> Any:
        async with self.session.get(self.api + path) as answer:
            return await answer.json()

    async def hpa(self) -> dict[str, Any]:
        return await self.get("/hpas/reference-app")

    async def replicas(self) -> list[dict[str, Any]]:
        return await self.get("/replicas")

    async def patch(self, **body: Any) -> tuple[int, dict[str, Any]]:
        async with self.session.patch(self.api + "/hpas/reference-app", json=body) as answer:
            return answer.status, await answer.json()

    async def until(self, holds: Callable[[], Awaitable[bool]], *, what: str, seconds: float = 40) -> None:
        """Poll until it holds; fails with the cluster's log when it does not within `seconds`."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            assert self.process is None or self.process.poll() is None, f"the cluster ended: {self.errors}"
            try:
                if await holds():
                    return
            except aiohttp.ClientError:
                pass  # not listening yet
            await asyncio.sleep(0.05)
        raise AssertionError(f"not in {seconds} s: {what}\n{self.errors[-4000:]}")

    async def until_ready(self, count: int) -> None:
        async def enough() -> bool:
            return bool((await self.hpa())["ready"] == count)

        await self.until(enough, what=f"{count} ready replicas")


@asynccontextmanager
async def cluster(
    folder: Path, *, least: int = 2, most: int = 8, target: float = 10, speed: float | None = None, **environ: str
) -> AsyncIterator[Cluster]:
    """A started cluster; ended when the block is left, with the processes it may have left behind."""
    config = folder / "tidegauge.yaml"
    config.write_text(CATALOG.format(least=least, most=most, target=target))
    ports = free_port(), free_port()
    settings = {
        **os.environ,
        "TIDEGAUGE_CONFIG": str(config),
        "TIDEGAUGE_DATA": str(folder / "data"),
        "TIDEGAUGE_APP_PORT": str(ports[0]),
        "TIDEGAUGE_CLUSTER_PORT": str(ports[1]),
        "TIDEGAUGE_COLLECTOR_URL": "",
        "TIDEGAUGE_CLUSTER_COMMAND": json.dumps([sys.executable, "-I", "-S", str(TINY_APP)]),
        **({} if speed is None else {"TIDEGAUGE_CLOCK": demo_clock(speed)}),
        "TIDEGAUGE_CLUSTER_START_SECONDS": "0",
        **environ,
    }
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
        made = Cluster(folder, settings, *ports, session)
        made.start()
        try:
            yield made
        finally:
            assert made.process is not None
            if made.process.poll() is None:
                await made.stop()
