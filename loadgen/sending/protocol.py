"""What the generator and its child say to each other. Standard library only: the child imports it after locust.

To the child, on stdin, one JSON object per line: first the plan, then any of `{"arrivals": {"part": 0, "keys": [..],
"numbers": [..], "due": [epoch s of real time..], "today": "2026-11-22"}}`, `{"users": {"0": 12}}` (how many each part
is to have) and `{"stop": drain seconds}`. From the child, on stdout, frames: 4 bytes of length (big endian), 1 byte of
kind, then rows as packed columns or a status as JSON. Columns are in the machine's byte order: both ends run on it.
"""

from __future__ import annotations

import json
import struct
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, BinaryIO

ROWS = b"Q"
STATUS = b"S"
MACHINE = b"M"
LENGTH = struct.Struct(">I")
LONGEST_US = 2**32 - 1
LONGEST_SECONDS = LONGEST_US / 1e6


class Outcome(IntEnum):
    """What came of an arrival. CANCELLED: the run was stopped before it was due; it never was to be."""

    DONE = 0
    SERVER_ERROR = 1
    CLIENT_ERROR = 2
    CONNECTION = 3
    TIMEOUT = 4
    UNFINISHED = 5  # still being served when the time to drain was over
    UNSENT_LIMIT = 6  # more arrivals were waiting or being served than the plan allows
    UNSENT_STOPPED = 7  # still waiting for a user when the time to drain was over
    CANCELLED = 8


FAILED = frozenset(
    {Outcome.SERVER_ERROR, Outcome.CLIENT_ERROR, Outcome.CONNECTION, Outcome.TIMEOUT, Outcome.UNFINISHED}
)
UNSENT = frozenset({Outcome.UNSENT_LIMIT, Outcome.UNSENT_STOPPED})


ROW_TYPES = {
    "keys": "q", "seconds": "I", "routes": "B", "outcomes": "B", "statuses": "H", "lags_us": "I", "lates_us": "I",
    "first_bytes_us": "I", "services_us": "I", "checks_passed": "B", "checks_failed": "B",
    "sents_us": "Q",
}  # fmt: skip


Row = tuple[int, int, int, int, int, float, float, float, float, int, int, float]
CHECKS = ("checks_passed", "checks_failed")
TIMES = ("lags_us", "lates_us", "first_bytes_us", "services_us")


@dataclass(slots=True)
class Rows:
    """Requests of a scenario, as columns of one length. keys: the arrival's, or -1 where no schedule asked for it.

    seconds: the real epoch second it was intended in. lates_us: how late the generator itself was.
    """

    columns: dict[str, array[int]] = field(
        default_factory=lambda: {name: array(code) for name, code in ROW_TYPES.items()}
    )

    @classmethod
    def of(cls, rows: Sequence[Row]) -> Rows:
        """Return rows of tuples in the order of ROW_TYPES.

        Times are seconds, sent of the epoch (0: never). All at once, because a child that appended to a dozen columns
        per request would spend as much on it as on sending.
        """
        made = cls()
        for (name, column), values in zip(made.columns.items(), zip(*rows, strict=True), strict=bool(rows)):
            if name == "sents_us":
                column.extend([int(value * 1e6) for value in values])
            elif name in TIMES:
                try:
                    column.extend([int(value * 1e6 + 0.5) for value in values])
                except OverflowError:  # below zero, or over an hour: rare, and cut to what the column holds
                    del column[:]
                    column.extend([_microseconds(value) for value in values])
            else:
                column.extend([min(value, 255) for value in values] if name in CHECKS else values)
        return made

    def with_routes(self, indices: Sequence[int]) -> Rows:
        """Return the same rows with each route r replaced by indices[r]: children name routes in their own order."""
        routes = array("B", [indices[route] for route in self.columns["routes"]])
        return Rows({**self.columns, "routes": routes})

    def __len__(self) -> int:
        return len(self.columns["keys"])

    def pack(self) -> bytes:
        """Return the columns, one after the other."""
        return b"".join(column.tobytes() for column in self.columns.values())

    @classmethod
    def unpack(cls, payload: bytes) -> Rows:
        """Return what `pack` wrote. Raises ValueError when the columns would not have one length."""
        rows = cls()
        width = sum(column.itemsize for column in rows.columns.values())
        count, rest = divmod(len(payload), width)
        if rest:
            raise ValueError(f"expected a multiple of {width} bytes of rows, got {len(payload)}")
        offset = 0
        for column in rows.columns.values():
            size = count * column.itemsize
            column.frombytes(payload[offset : offset + size])
            offset += size
        return rows


@dataclass(frozen=True, slots=True)
class FromMachine:
    """What one of several machines told, by way of the relay."""

    index: int
    message: Rows | dict[str, Any]


Message = Rows | dict[str, Any] | FromMachine


def _microseconds(seconds: float) -> int:
    return int(seconds * 1e6 + 0.5) if 0.0 < seconds < LONGEST_SECONDS else 0 if seconds <= 0 else LONGEST_US


def frame(kind: bytes, payload: bytes) -> bytes:
    """Return one frame."""
    return LENGTH.pack(len(payload) + 1) + kind + payload


def status_frame(status: dict[str, Any]) -> bytes:
    """Return a frame with a status, such as {"state": "ready"}."""
    return frame(STATUS, json.dumps(status).encode())


def parse_frame(body: bytes) -> Message:
    """Return what a frame's body (kind and payload) says. Raises ValueError for an unknown kind."""
    kind, payload = body[:1], body[1:]
    if kind == ROWS:
        return Rows.unpack(payload)
    if kind == STATUS:
        status: dict[str, Any] = json.loads(payload)
        return status
    if kind == MACHINE:
        inner = parse_frame(payload[1:])
        if not isinstance(inner, FromMachine):
            return FromMachine(payload[0], inner)
    raise ValueError(f"expected a frame of kind {ROWS!r}, {STATUS!r} or {MACHINE!r}, got {kind!r}")


def read_frame(stream: BinaryIO) -> Message | None:
    """Return the next frame of a blocking stream; None at its end, even within a frame."""
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (size,) = LENGTH.unpack(head)
    body = stream.read(size)
    return parse_frame(body) if len(body) == size else None
