"""One replica: a process of the observed app that listens on a port of its own and dies with the cluster.

How many there are, and when one starts or stops, is the fleet's business.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import aiohttp

from tidegauge.cluster.rotation import Backend

PORT_NAME = "REFERENCE_APP_PORT"
INSTANCE_NAME = "REFERENCE_APP_INSTANCE"
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_PROBE_TIMEOUT_SECONDS = 2.0

Probe = Callable[[int], Awaitable[bool]]
"""Given a port: is the replica there ready?"""


@dataclass(frozen=True, slots=True)
class ReplicaSettings:
    """How a replica is run. Spans are real seconds; `environ` is passed through with port and instance name added.

    least_start_seconds: no replica is ready sooner after its creation. Here a process is up in a second; in a cluster
    a pod has to be scheduled, its image pulled and its probe passed first, and the lead must be seen to bridge that.
    """

    command: tuple[str, ...]
    environ: Mapping[str, str]
    least_start_seconds: float = 0.0
    ready_poll_seconds: float = 0.1
    start_timeout_seconds: float = 60.0
    drain_seconds: float = 30.0
    grace_seconds: float = 15.0


@dataclass(slots=True, eq=False)
class Replica:
    """A replica's life so far. started_at, ready_at: clock time, epoch seconds. `number` counts up in start order."""

    number: int
    backend: Backend
    started_at: float
    state: Literal["starting", "ready", "draining"] = "starting"
    ready_at: float | None = None
    ready_monotonic: float | None = None
    process: asyncio.subprocess.Process | None = None


def free_port() -> int:
    """Return a loopback TCP port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


async def spawn(settings: ReplicaSettings, *, instance: str, port: int) -> asyncio.subprocess.Process:
    """Start a replica. Its output goes to our stderr. Raises OSError when the command cannot be run.

    It gets a session of its own, so that Ctrl-C reaches the cluster alone, which then drains its replicas.
    """
    return await asyncio.create_subprocess_exec(
        *settings.command,
        env={**settings.environ, PORT_NAME: str(port), INSTANCE_NAME: instance},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=sys.stderr.fileno(),
        start_new_session=True,
        preexec_fn=_die_with_parent(),
    )


def _die_with_parent() -> Callable[[], None] | None:
    """Return what a child runs before exec so that the kernel kills it with us; None where the kernel cannot."""
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl  # looked up before the fork: the child must not load anything
    parent = os.getpid()

    def ask_kernel() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # the parent died before the kernel was asked
            os._exit(1)

    return ask_kernel


def http_probe(session: aiohttp.ClientSession) -> Probe:
    """Return a probe that asks GET /readyz and counts 200 as ready, anything else as not yet."""
    timeout = aiohttp.ClientTimeout(total=_PROBE_TIMEOUT_SECONDS)

    async def probe(port: int) -> bool:
        try:
            async with session.get(f"http://127.0.0.1:{port}/readyz", timeout=timeout) as answer:
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    return probe


async def terminate(process: asyncio.subprocess.Process, *, grace_seconds: float) -> None:
    """SIGTERM, then SIGKILL after `grace_seconds`; returns when the process has ended."""
    send(process, signal.SIGTERM)
    try:
        async with asyncio.timeout(grace_seconds):
            await process.wait()
    except TimeoutError:
        send(process, signal.SIGKILL)
        await process.wait()


def send(process: asyncio.subprocess.Process, which: signal.Signals) -> None:
    """Send a signal, unless the process has ended already."""
    if process.returncode is None:
        try:
            process.send_signal(which)
        except ProcessLookupError:
            return
