"""Asks again while a part of the stack is away: one that was killed is back within seconds, and the demo goes on.

What is asked again must bear it: reads do, and so do the imports and verdicts, whose inserts carry tokens.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import httpx

from collector.clickhouse import StoreUnavailableError

PATIENCE_SECONDS = 60.0
PAUSE_SECONDS = 0.5

_Answer = TypeVar("_Answer")


def patiently(
    work: Callable[[], _Answer],
    *,
    stopping: Callable[[], bool] = lambda: False,
    patience_seconds: float = PATIENCE_SECONDS,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> _Answer:
    """Return what `work` returns, done from its beginning again whenever a part does not answer.

    stopping: tells that parts are away for good, since the stack ends: then nothing is asked again.
    patience_seconds: real time without an answer after which the error is let through.
    Raises StoreUnavailableError, httpx.TransportError, and at once whatever else `work` raises.
    """
    deadline = now() + patience_seconds
    while True:
        began = now()
        try:
            return work()
        except (StoreUnavailableError, httpx.TransportError):
            if stopping() or began >= deadline:
                raise
        sleep(PAUSE_SECONDS)
