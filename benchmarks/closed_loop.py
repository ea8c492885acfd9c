"""A closed loop of keep-alive connections: the cheapest client that still reads every answer.

It is for CPU per request of a server, never for latencies: a closed loop waits for a slow server and so hides it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import cycle
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_HEAD_END = b"\r\n\r\n"


async def ask(port: int, requests: Sequence[bytes], *, connections: int, total: int) -> Counter[int]:
    """Send `total` requests, taken in turn from `requests`, over so many connections; return the statuses' counts.

    Each request is a whole HTTP/1.1 request for 127.0.0.1; each answer must have a Content-Length (or be a 304).
    Raises ConnectionError when the server closes a connection.
    """
    todo = iter(range(total))
    turn: Iterator[bytes] = cycle(requests)
    counts: Counter[int] = Counter()

    async def one_connection() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            for _ in todo:
                writer.write(next(turn))
                counts[await _read_answer(reader)] += 1
        finally:
            writer.close()

    await asyncio.gather(*(one_connection() for _ in range(connections)))
    return counts


async def _read_answer(reader: asyncio.StreamReader) -> int:
    try:
        head = await reader.readuntil(_HEAD_END)
    except asyncio.IncompleteReadError as error:
        raise ConnectionError("the server closed the connection instead of answering") from error
    status = int(head[9:12])
    at = head.lower().find(b"\r\ncontent-length:")
    if at >= 0:
        length = int(head[at + 17 : head.index(b"\r\n", at + 2)])
        if length:
            await reader.readexactly(length)
    elif status not in {204, 304}:
        raise ConnectionError(f"an answer of status {status} without Content-Length")
    return status
