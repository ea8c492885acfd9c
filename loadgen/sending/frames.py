"""The child's end of what it and its parent say to each other, without blocking the users. Needs gevent."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import gevent.os


class FrameWriter:
    """Frames to the parent; the end of the parent is the end of this process."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        gevent.os.make_nonblocking(descriptor)

    def write(self, data: bytes) -> None:
        """Write all of it."""
        view = memoryview(data)
        try:
            while view:
                view = view[gevent.os.nb_write(self._descriptor, view) :]
        except OSError:
            os._exit(1)


def read_lines(descriptor: int) -> Iterator[dict[str, Any]]:
    """Yield the parent's lines until it closes the pipe or dies."""
    gevent.os.make_nonblocking(descriptor)
    rest = b""
    while received := gevent.os.nb_read(descriptor, 65_536):
        *lines, rest = (rest + received).split(b"\n")
        yield from (json.loads(line) for line in lines)
