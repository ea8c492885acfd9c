"""Other machines as children: one relay process (Locust's master), and a `Child` for each machine that joins."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from loadgen.sending.child import ChildProcess
from loadgen.sending.crew import CrewError
from loadgen.sending.protocol import FromMachine, Message

JOIN_SECONDS = 300.0


@dataclass(slots=True)
class Machines:
    """The relay and what came from each machine. wanted: how many are waited for."""

    relay: ChildProcess
    wanted: int
    joined: int = 0
    ended: bool = False
    _heard: list[asyncio.Queue[Message | None]] = field(default_factory=list)
    _listening: asyncio.Task[None] | None = None
    _started: int = 0

    @classmethod
    async def listen(cls, host: str, port: int, wanted: int) -> Machines:
        """Start the relay and wait until all machines have joined. Raises CrewError."""
        relay = await ChildProcess.start(None, "loadgen.sending.relay", host, str(port), str(wanted))
        machines = cls(relay, wanted, _heard=[asyncio.Queue() for _ in range(wanted)])
        machines._listening = asyncio.create_task(machines._listen())
        with suppress(TimeoutError):
            async with asyncio.timeout(JOIN_SECONDS):
                while machines.joined < wanted and not machines.ended:
                    await asyncio.sleep(0.05)
        if machines.joined < wanted:
            await machines.close()
            raise CrewError(f"expected {wanted} machines to join at {host}:{port}, got {machines.joined}")
        return machines

    async def _listen(self) -> None:
        async for message in self.relay.messages():
            if not isinstance(message, FromMachine):
                continue
            state = message.message.get("state") if isinstance(message.message, dict) else None
            if state == "joined":
                self.joined += 1
            else:
                self._heard[message.index].put_nowait(None if state == "gone" else message.message)
        self.ended = True
        for heard in self._heard:
            heard.put_nowait(None)

    async def start(self, plan: Mapping[str, Any]) -> Machine:
        """Give the next machine its plan; as `crew.StartChild`."""
        machine = Machine(self, self._started, self._heard[self._started])
        self._started += 1
        machine.say(plan)
        return machine

    async def close(self) -> None:
        """End the relay; the machines end with it."""
        await self.relay.end()
        if self._listening is not None:
            await self._listening


@dataclass(slots=True)
class Machine:
    """A `Child` that runs elsewhere."""

    machines: Machines
    index: int
    heard: asyncio.Queue[Message | None]

    @property
    def pid(self) -> int:
        """Return the relay's process id: its own is elsewhere."""
        return self.machines.relay.pid

    def say(self, line: Mapping[str, Any]) -> None:
        """Send one line."""
        self.machines.relay.say({"to": self.index, "line": dict(line)})

    async def messages(self) -> AsyncIterator[Message]:
        """Yield what it tells until it is gone, or has told its last."""
        while (message := await self.heard.get()) is not None:
            yield message
            if isinstance(message, dict) and message.get("state") == "stopped":
                return

    def kill(self) -> None:
        """Do nothing: what runs elsewhere is not ours to kill; it ends with the relay."""

    async def end(self) -> None:
        """Do nothing: it ends with the relay."""
