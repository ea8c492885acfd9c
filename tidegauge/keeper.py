"""Keeps one part running: starts it, waits until it is ready, starts it again with back-off when it dies, stops it.

One keeper has one part and never more than one process of it. It knows nothing of other parts; their order is the
supervisor's.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

from tidegauge.part import Backoff, Part, PartEvent, StackError, State
from tidegauge.remains import Birth, birth_of, descendants_of, end_all, find_marked, marks, send
from tidegauge.stack_directory import StackDirectory
from tidegauge.tether import tethered

_POLL_SECONDS = 0.1
_FIRST_STARTS = 3  # a part that never was ready is given up after so many tries


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all keepers of a stack share."""

    directory: StackDirectory
    environment: Mapping[str, str]
    backoff: Backoff
    tell: Callable[[PartEvent], None]
    read_seconds: Callable[[], float] = time.monotonic


@dataclass(frozen=True, slots=True)
class _Life:
    """How one process of a part ended, and for how long it had been ready (None: it never was)."""

    end: str
    exit_code: int | None = None
    ready_seconds: float | None = None


@dataclass(slots=True, eq=False)
class Keeper:
    """One part's life. `ready` is set while it is ready (or done); `given_up` holds why, if it will not come."""

    part: Part
    around: Surroundings
    state: State = "waiting"
    birth: Birth | None = None
    restarts: int = 0
    last_exit: int | None = None
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    given_up: StackError | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Keep the part running until `stop`, or until it is done or given up."""
        failures, was_ready = 0, False
        try:
            while not self._stopping.is_set():
                life = await self._live_once()
                self.last_exit, self.birth = life.exit_code, None
                was_ready = was_ready or life.ready_seconds is not None
                if self._stopping.is_set() or self._is_done(life):
                    break
                self.ready.clear()
                failures = self.around.backoff.failures_after(failures, life.ready_seconds or 0.0)
                if not was_ready and failures >= _FIRST_STARTS:
                    self._give_up(f"{life.end}, {failures} times in a row")
                    break
                delay = self.around.backoff.delay_seconds(failures)
                self.restarts += 1
                self._turn("restarting", f"{life.end}; again in {delay:.1f} s")
                await _first(self._stopping.wait(), asyncio.sleep(delay))
        finally:
            if self.state not in ("done", "failed"):
                self._turn("stopped")
            self.ended.set()

    async def _live_once(self) -> _Life:
        """Run one process of the part to its end."""
        self._turn("starting")
        try:
            process = await self._spawn()
        except OSError as error:  # no space for its log, no process to be had: it may pass
            return _Life(f"could not be started: {error}")
        ready_at: float | None = None
        exited = asyncio.create_task(process.wait())
        try:
            timely = await self._wait_ready(exited)
            if timely and not exited.done() and not self._stopping.is_set():
                ready_at = self.around.read_seconds()
                self.ready.set()
                self._turn("ready")
                await _first(asyncio.shield(exited), self._stopping.wait())
            ready_seconds = None if ready_at is None else self.around.read_seconds() - ready_at
            await self._end(exited)
        finally:
            await end_all(find_marked(marks(self.around.directory.path, self.part.name), session=process.pid))
        if not timely:
            return _Life(f"was not ready in {self.part.ready_seconds:g} s", exited.result())
        return _Life(_describe(exited.result()), exited.result(), ready_seconds)

    async def _spawn(self) -> asyncio.subprocess.Process:
        argv = tethered(list(self.part.argv), parent=os.getpid(), death_signal=self.part.death_signal)
        mark = marks(self.around.directory.path, self.part.name)
        with self.around.directory.open_log(self.part.name) as log:
            process = await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**self.around.environment, **self.part.environment, **mark},
                start_new_session=True,  # Ctrl-C at the terminal is for the supervisor alone
            )
        self.birth = birth_of(process.pid)
        self._turn("starting", f"pid {process.pid}")
        return process

    async def _wait_ready(self, exited: asyncio.Task[int]) -> bool:
        """Poll until ready, ended or stopping; False when the deadline passed before. A step is ready by ending."""
        deadline = self.around.read_seconds() + self.part.ready_seconds
        while not exited.done() and not self._stopping.is_set():
            if self.part.restart != "once" and (self.part.ready is None or await self.part.ready()):
                return True
            if self.around.read_seconds() > deadline:
                return False
            await _first(asyncio.shield(exited), self._stopping.wait(), asyncio.sleep(_POLL_SECONDS))
        return True

    async def _end(self, exited: asyncio.Task[int]) -> None:
        """Stop the process, if it lives, and all its descendants: asking first."""
        if exited.done() or self.birth is None:
            await exited
            return
        family = descendants_of(self.birth.pid)
        send(self.birth, self.part.stop_signal)
        await _first(asyncio.shield(exited), asyncio.sleep(self.part.stop_seconds))
        if not exited.done():
            self.kill()
        await exited
        await end_all(family)

    async def stop(self) -> None:
        """Stop the part, and return when nothing of it is left."""
        self._stopping.set()
        if self.state not in ("waiting", "done", "failed", "stopped"):
            self._turn("stopping")
        await self.ended.wait()

    def kill(self) -> None:
        """Make the process end now; `stop` goes on from there."""
        if self.birth:
            send(self.birth, signal.SIGKILL)

    def _is_done(self, life: _Life) -> bool:
        if life.exit_code != 0 or self.part.restart == "always":
            return False
        self._turn("done")
        self.ready.set()
        return True

    def _give_up(self, why: str) -> None:
        words = self.around.directory.last_lines(self.part.name)
        where = self.around.directory.log_path(self.part.name)
        self.given_up = StackError(f"{self.part.name} {why}. The end of {where}:\n{words}")
        self._turn("failed", why)

    def _turn(self, state: State, detail: str = "") -> None:
        self.state = state
        self.around.tell(PartEvent(self.part, state, self.restarts, detail))


def _describe(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"


async def _first(*waits: Coroutine[Any, Any, Any] | asyncio.Future[Any]) -> None:
    """Return when the first of these is over; the others are cancelled (shield what must go on)."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
