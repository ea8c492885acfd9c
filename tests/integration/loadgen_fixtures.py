"""A tiny HTTP server in the test's own loop, for tests of the load generator."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(slots=True)
class TinyServer:
    """Answers each request with what `decide` says of its place in the row; keeps the bodies it was sent."""

    decide: Callable[[int], Awaitable[int]]
    port: int = 0
    served: int = 0
    bodies: list[bytes] = field(default_factory=list)

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                if b"content-length: " in head:
                    length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
                    self.bodies.append(await reader.readexactly(length))
                self.served += 1
                status = await self.decide(self.served)
                writer.write(f"HTTP/1.1 {status} Some\r\ncontent-length: 2\r\n\r\n{{}}".encode())
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def serving(decide: Callable[[int], Awaitable[int]]) -> AsyncIterator[TinyServer]:
    """Yield a server on a free port of loopback."""
    tiny = TinyServer(decide)
    server = await asyncio.start_server(tiny, "127.0.0.1", 0)
    tiny.port = server.sockets[0].getsockname()[1]
    async with server:
        yield tiny


async def always_ok(_: int) -> int:
    """Decide for 200."""
    return 200
