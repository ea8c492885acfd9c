"""The parent's end of the child that sends: start it, talk to it, end it. What to say is the generator's business."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Any, Protocol

from loadgen.sending.protocol import LENGTH, Message, parse_frame

LARGEST_BACKLOG_BYTES = 4_000_000
PATIENCE_SECONDS = 3.0


class Child(Protocol):
    """A process that sends arrivals; a test may have one that pretends to."""

    @property
    def pid(self) -> int:
        """Return its process id."""

    def say(self, line: Mapping[str, Any]) -> None:
        """Send one line; never waits. A child that is gone, or hears nothing any more, does not hear it."""

    def messages(self) -> AsyncIterator[Message]:
        """Yield what it tells until it is gone."""

    def kill(self) -> None:
        """Kill it if it still lives; its messages then end."""

    async def end(self) -> None:
        """See that it is gone, and reap it."""


class ChildProcess:
    """`python -m loadgen.sending.worker` as a subprocess in a session of its own.

    A Ctrl-C at the terminal thus reaches the parent alone, which then drains; the child ends when its stdin does.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(
        cls, plan: Mapping[str, Any] | None, module: str = "loadgen.sending.worker", *arguments: str
    ) -> ChildProcess:  # fmt: skip
        """Start a child (`python -m module arguments`) and give it its plan, if it takes one."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", module, *arguments,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        child = cls(process)
        if plan is not None:
            child.say(plan)
        return child

    @property
    def pid(self) -> int:
        """Return its process id."""
        return self._process.pid

    def say(self, line: Mapping[str, Any]) -> None:
        """Send one line without waiting; a child that does not read any more is killed."""
        stdin = self._process.stdin
        if stdin is None or stdin.is_closing():
            return
        if stdin.transport.get_write_buffer_size() > LARGEST_BACKLOG_BYTES:
            self.kill()
            return
        stdin.write(json.dumps(line).encode() + b"\n")

    async def messages(self) -> AsyncIterator[Message]:
        """Yield results and statuses until the child closes its end, as it does by dying."""
        stdout = self._process.stdout
        while stdout is not None:
            try:
                (size,) = LENGTH.unpack(await stdout.readexactly(LENGTH.size))
                body = await stdout.readexactly(size)
            except (asyncio.IncompleteReadError, ConnectionError):
                return
            yield parse_frame(body)

    def kill(self) -> None:
        """Kill the child if it still lives."""
        # Not Process.kill: it would reap a child that has just died, behind the back of asyncio's watcher.
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGKILL)

    async def end(self) -> None:
        """Close its stdin, upon which it ends; kill it if it does not, and reap it."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), PATIENCE_SECONDS)
        except TimeoutError:
            self.kill()
            await self._process.wait()
