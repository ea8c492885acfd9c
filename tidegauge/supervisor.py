"""Runs the parts of a stack: in the order of their needs, each kept alive, and stopped without leaving anything.

    async with Supervisor(Path(".tidegauge")) as supervisor:
        supervisor.listen_to_signals()
        await supervisor.unless_stopped(supervisor.start(parts))
        await supervisor.stop_asked.wait()

Leaving the block stops every part, in reverse order. It must run in the process's main thread: a part is tied to the
thread that started it. How one part lives is the keeper's matter; which parts there are is the caller's.
"""

from __future__ import annotations

import asyncio
import graphlib
import os
import signal
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

from tidegauge.keeper import Keeper, Surroundings
from tidegauge.part import Backoff, Part, PartEvent, StackError
from tidegauge.ports import check_ports
from tidegauge.remains import STACK_MARK, Birth, birth_of, descendants_of, end_all, find_marked
from tidegauge.stack_directory import StackDirectory


class Supervisor:
    """One running stack in one data directory."""

    def __init__(
        self,
        data: Path,
        *,
        environment: Mapping[str, str] | None = None,
        on_event: Callable[[PartEvent], None] = lambda _: None,
        backoff: Backoff | None = None,
    ) -> None:
        """`environment`: what every part starts from (ours when not given); `on_event` hears each change of a part."""
        self.directory = StackDirectory(data)
        self.stop_asked = asyncio.Event()
        self._on_event = on_event
        base = dict(os.environ if environment is None else environment)
        self._around = Surroundings(self.directory, base, backoff or Backoff(), self._hear)
        self._keepers: dict[str, Keeper] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def __aenter__(self) -> Supervisor:
        """Take the data directory and end what a killed supervisor left in it. Raises StackError when it is taken."""
        self.directory.hold()
        try:
            await end_all(self._remains(), grace_seconds=5.0)
        except BaseException:
            self.directory.release()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop every part and give the directory back, whatever interrupts."""
        stopping = asyncio.ensure_future(self.stop_all())
        while not stopping.done():
            try:
                await asyncio.shield(stopping)
            except asyncio.CancelledError:
                continue
        self.directory.release()
        stopping.result()

    def _remains(self) -> set[Birth]:
        parts = self.directory.read_state().get("parts", [])
        recorded = {Birth(part["pid"], part["born"]) for part in parts if part.get("pid")}
        living = {birth for birth in recorded if birth_of(birth.pid) == birth}
        family = {child for birth in living for child in descendants_of(birth.pid)}
        return living | family | find_marked({STACK_MARK: str(self.directory.path)})

    def listen_to_signals(self) -> None:
        """Let Ctrl-C, SIGTERM and a closed terminal set `stop_asked`; a second one kills instead of asking."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, self._hear_signal)

    def _hear_signal(self) -> None:
        if self.stop_asked.is_set():
            for keeper in self._keepers.values():
                keeper.kill()
        self.stop_asked.set()

    async def unless_stopped(self, work: Coroutine[Any, Any, None]) -> bool:
        """Do the work; give it up when a stop is asked for. Returns whether it was finished; its errors come out."""
        task = asyncio.ensure_future(work)
        asked = asyncio.ensure_future(self.stop_asked.wait())
        try:
            await asyncio.wait({task, asked}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                task.result()
                return True
            return False
        finally:
            task.cancel()
            asked.cancel()
            await asyncio.gather(task, asked, return_exceptions=True)

    async def start(self, parts: Sequence[Part]) -> None:
        """Start these parts, each when what it depends on is ready, and return when all are ready.

        They may depend on parts that run already. Raises StackError when a port is taken (nothing is started then), a
        part needs one that does not exist, or a part does not become ready (its last log lines are in the message).
        """
        self._check(parts)
        check_ports(parts)
        for part in parts:
            keeper = Keeper(part, self._around)
            self._keepers[part.name] = keeper
            self._tasks[part.name] = asyncio.create_task(self._run_in_turn(keeper), name=f"keep {part.name}")
        await self._all_ready([part.name for part in parts])

    def _check(self, parts: Sequence[Part]) -> None:
        names = [part.name for part in parts]
        if twice := {name for name in names if names.count(name) > 1 or name in self._keepers}:
            raise StackError(f"a part of this name is there already: {', '.join(sorted(twice))}")
        for part in parts:
            if unknown := set(part.depends_on) - set(names) - set(self._keepers):
                raise StackError(f"{part.name} depends on {', '.join(sorted(unknown))}, which is no part of the stack")
        try:
            graphlib.TopologicalSorter({part.name: part.depends_on for part in parts}).prepare()
        except graphlib.CycleError as error:
            raise StackError(f"parts depend on each other in a circle: {' -> '.join(error.args[1])}") from None

    async def _run_in_turn(self, keeper: Keeper) -> None:
        for name in keeper.part.depends_on:
            await self._keepers[name].ready.wait()
        await keeper.run()

    async def _all_ready(self, names: Sequence[str]) -> None:
        keepers = {self._keepers[name]: self._tasks[name] for name in names}
        waiting = {asyncio.create_task(keeper.ready.wait()) for keeper in keepers}
        try:
            while waiting:
                lives = {task for task in keepers.values() if not task.done()}
                await asyncio.wait(waiting | lives, return_when=asyncio.FIRST_COMPLETED)
                waiting = {task for task in waiting if not task.done()}
                for keeper, task in keepers.items():
                    if keeper.given_up:
                        raise keeper.given_up
                    if task.done() and not keeper.ready.is_set():
                        task.result()
                        raise StackError(f"{keeper.part.name} was stopped before it was ready")
        finally:
            for wait in waiting:
                wait.cancel()

    async def stop(self, name: str) -> None:
        """Stop one part and forget it; it may be started again. Raises StackError for a name that is not there."""
        keeper = self._keepers.get(name)
        if keeper is None:
            raise StackError(f"no part is called {name}: there are {', '.join(self._keepers) or 'none'}")
        await self._stop_keeper(keeper)
        del self._keepers[name], self._tasks[name]
        self._write_state()

    async def _stop_keeper(self, keeper: Keeper) -> None:
        if keeper.state == "waiting":  # for what it depends on
            task = self._tasks[keeper.part.name]
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            return
        await keeper.stop()

    async def restart(self, name: str, part: Part | None = None) -> None:
        """Stop one part and start it again, changed if `part` is given, and return when it is ready."""
        changed = part or self._keepers[name].part
        await self.stop(name)
        await self.start([changed])

    async def stop_all(self) -> None:
        """Stop every part, each after those that depend on it, and return when nothing is left."""
        stopped = {name: asyncio.Event() for name in self._keepers}

        async def stop_after_dependants(keeper: Keeper) -> None:
            for other in self._keepers.values():
                if keeper.part.name in other.part.depends_on:
                    await stopped[other.part.name].wait()
            await self._stop_keeper(keeper)
            stopped[keeper.part.name].set()

        await asyncio.gather(*(stop_after_dependants(keeper) for keeper in self._keepers.values()))
        await end_all(find_marked({STACK_MARK: str(self.directory.path)}))
        self._write_state()

    def _hear(self, event: PartEvent) -> None:
        self._write_state()
        self._on_event(event)

    def _write_state(self) -> None:
        self.directory.write_state(
            {"supervisor": os.getpid(), "parts": [_describe(keeper) for keeper in self._keepers.values()]}
        )


def _describe(keeper: Keeper) -> dict[str, Any]:
    part = keeper.part
    process = {"pid": keeper.birth.pid, "born": keeper.birth.born} if keeper.birth else {"pid": None, "born": None}
    return {
        "name": part.name,
        "state": keeper.state,
        **process,
        "ports": [asdict(port) for port in part.ports],
        "url": part.url,
        "restarts": keeper.restarts,
        "last_exit": keeper.last_exit,
    }
