"""What a part of the stack is: a program, how to tell that it is ready, and how it is to be stopped and restarted.

Values and readiness probes only. The supervisor runs parts; `stack` lists those of Tidegauge.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal
from urllib.parse import urlsplit

Probe = Callable[[], Awaitable[bool]]
State = Literal["waiting", "starting", "ready", "restarting", "done", "stopping", "stopped", "failed"]
_PROBE_SECONDS = 5.0


class StackError(Exception):
    """An expected failure of the stack: its message is what the user reads, without a traceback."""


@dataclass(frozen=True, slots=True)
class Port:
    """A port on loopback that a part listens on, and the setting that changes it."""

    number: int
    setting: str


@dataclass(frozen=True, slots=True)
class Part:
    """One program of the stack.

    environment: added to the supervisor's own. ready: None means ready as soon as it runs.
    restart: always (a server), on_failure (may end by itself with exit code 0), once (a step that must end with exit
    code 0 before what depends on it starts; it counts as ready then).
    death_signal: what it gets when the supervisor is killed; a part with children of its own wants one it can act on.
    """

    name: str
    argv: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    ready: Probe | None = None
    depends_on: tuple[str, ...] = ()
    restart: Literal["always", "on_failure", "once"] = "always"
    ports: tuple[Port, ...] = ()
    url: str = ""  # what a person opens, shown when it is ready
    ready_seconds: float = 60.0
    stop_seconds: float = 10.0
    stop_signal: signal.Signals = signal.SIGTERM
    death_signal: signal.Signals = signal.SIGKILL


@dataclass(frozen=True, slots=True)
class PartEvent:
    """Something that happened to a part: its new state, with the words for it."""

    part: Part
    state: State
    restarts: int
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before a restart: doubling up to a limit, from the start again after a healthy while."""

    first_seconds: float = 0.2
    limit_seconds: float = 10.0
    healthy_seconds: float = 30.0

    def delay_seconds(self, failures: int) -> float:
        """Return the wait after this many failures in a row (1 and up)."""
        return float(min(self.limit_seconds, self.first_seconds * 2 ** min(failures - 1, 30)))

    def failures_after(self, failures: int, ready_for_seconds: float) -> int:
        """Return the failures in a row, this one included, when the part had been ready for so long."""
        return 1 if ready_for_seconds >= self.healthy_seconds else failures + 1


def answers_http(url: str) -> Probe:
    """Return a probe: a GET of the URL (http, no credentials) is answered with status 200."""
    return partial(_get_is_ok, url)


async def _get_is_ok(url: str) -> bool:
    place = urlsplit(url)
    request = f"GET {place.path or '/'} HTTP/1.1\r\nHost: {place.netloc}\r\nConnection: close\r\n\r\n"
    try:
        async with asyncio.timeout(_PROBE_SECONDS):
            reader, writer = await asyncio.open_connection(place.hostname, place.port)
            try:
                writer.write(request.encode())
                status_line = await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
    return status_line.split(b" ")[1:2] == [b"200"]


def accepts_tcp(port: int) -> Probe:
    """Return a probe: somebody accepts connections on this port of loopback."""
    return partial(_accepts, port)


async def _accepts(port: int) -> bool:
    try:
        async with asyncio.timeout(_PROBE_SECONDS):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True
