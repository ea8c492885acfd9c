"""Work beside the requests, for as long as the application lives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any


@asynccontextmanager
async def in_background(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run coroutines beside the block, and end them with it.

    Cancelled as often as it takes: a client that is just then getting its answer may swallow a cancellation.
    """
    tasks = [asyncio.create_task(one) for one in work]
    try:
        yield
    finally:
        while left := [task for task in tasks if not task.done()]:
            for task in left:
                task.cancel()
            await asyncio.wait(left, timeout=0.5)
        await asyncio.gather(*tasks, return_exceptions=True)
