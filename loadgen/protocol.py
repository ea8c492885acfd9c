"""What the generator and its child say to each other. Standard library only: the child imports it after locust.

To the child, on stdin, one JSON object per line: first the plan, then any of
`{"arrivals": {"numbers": [..], "due": [epoch s of real time..], "today": "2026-11-22"}}` and `{"stop": drain seconds}`.
From the child, on stdout, frames: 4 bytes of length (big endian), 1 byte of kind, then results as packed columns or a
status as JSON. Columns are in the machine's byte order: both ends run on it.
"""

from __future__ import annotations

import json
import struct
from array import array
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, BinaryIO

RESULTS = b"R"
ROWS = b"Q"
STATUS = b"S"
LENGTH = struct.Struct(">I")
LONGEST_US = 2**32 - 1


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


@dataclass(slots=True)
class Results:
    """Columns of one length. The times are microseconds; those of an unsent arrival say nothing and are 0."""

    numbers: array[int] = field(default_factory=lambda: array("q"))
    routes: array[int] = field(default_factory=lambda: array("B"))
    outcomes: array[int] = field(default_factory=lambda: array("B"))
    statuses: array[int] = field(default_factory=lambda: array("H"))
    send_lags_us: array[int] = field(default_factory=lambda: array("I"))
    first_bytes_us: array[int] = field(default_factory=lambda: array("I"))
    services_us: array[int] = field(default_factory=lambda: array("I"))

    def columns(self) -> tuple[array[int], ...]:
        """Return the columns in the order they are packed in."""
        return (
            self.numbers, self.routes, self.outcomes, self.statuses,
            self.send_lags_us, self.first_bytes_us, self.services_us,
        )  # fmt: skip

    def add(
        self, number: int, route: int, outcome: Outcome, *,
        status: int = 0, due: float = 0.0, sent: float = 0.0, first_byte: float = 0.0, done: float = 0.0,
    ) -> None:  # fmt: skip
        """Append one arrival; the four times are seconds of one monotonic clock, or all 0 when it was not sent."""
        self.numbers.append(number)
        self.routes.append(route)
        self.outcomes.append(outcome)
        self.statuses.append(status)
        self.send_lags_us.append(_microseconds(sent - due))
        self.first_bytes_us.append(_microseconds(first_byte - sent))
        self.services_us.append(_microseconds(done - sent))

    def __len__(self) -> int:
        return len(self.numbers)

    def pack(self) -> bytes:
        """Return the columns, one after the other."""
        return b"".join(column.tobytes() for column in self.columns())

    @classmethod
    def unpack(cls, payload: bytes) -> Results:
        """Return what `pack` wrote. Raises ValueError when the columns would not have one length."""
        results = cls()
        width = sum(column.itemsize for column in results.columns())
        rows, rest = divmod(len(payload), width)
        if rest:
            raise ValueError(f"expected a multiple of {width} bytes of results, got {len(payload)}")
        offset = 0
        for column in results.columns():
            size = rows * column.itemsize
            column.frombytes(payload[offset : offset + size])
            offset += size
        return results


ROW_TYPES = {
    "keys": "q", "seconds": "I", "routes": "B", "outcomes": "B", "statuses": "H", "lags_us": "I", "lates_us": "I",
    "first_bytes_us": "I", "services_us": "I", "checks_passed": "B", "checks_failed": "B",
}  # fmt: skip


@dataclass(slots=True)
class Rows:
    """Requests of a scenario, as columns of one length. keys: the arrival's, or -1 where no schedule asked for it.

    seconds: the real epoch second it was intended in. lates_us: how late the generator itself was.
    """

    columns: dict[str, array[int]] = field(
        default_factory=lambda: {name: array(code) for name, code in ROW_TYPES.items()}
    )

    def add(
        self, key: int, second: int, route: int, outcome: Outcome, *, status: int = 0, lag: float = 0.0,
        late: float = 0.0, first_byte: float = 0.0, service: float = 0.0, passed: int = 0, failed: int = 0,
    ) -> None:  # fmt: skip
        """Append one request; times in seconds."""
        row = (
            key, second, route, outcome, status, _microseconds(lag), _microseconds(late), _microseconds(first_byte),
            _microseconds(service), min(passed, 255), min(failed, 255),
        )  # fmt: skip
        for column, value in zip(self.columns.values(), row, strict=True):
            column.append(value)

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


Message = Results | Rows | dict[str, Any]


def _microseconds(seconds: float) -> int:
    return min(max(round(seconds * 1e6), 0), LONGEST_US)


def frame(kind: bytes, payload: bytes) -> bytes:
    """Return one frame."""
    return LENGTH.pack(len(payload) + 1) + kind + payload


def status_frame(status: dict[str, Any]) -> bytes:
    """Return a frame with a status, such as {"state": "ready"}."""
    return frame(STATUS, json.dumps(status).encode())


def parse_frame(body: bytes) -> Message:
    """Return what a frame's body (kind and payload) says. Raises ValueError for an unknown kind."""
    kind, payload = body[:1], body[1:]
    if kind == RESULTS:
        return Results.unpack(payload)
    if kind == ROWS:
        return Rows.unpack(payload)
    if kind == STATUS:
        status: dict[str, Any] = json.loads(payload)
        return status
    raise ValueError(f"expected a frame of kind {RESULTS!r}, {ROWS!r} or {STATUS!r}, got {kind!r}")


def read_frame(stream: BinaryIO) -> Message | None:
    """Return the next frame of a blocking stream; None at its end, even within a frame."""
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (size,) = LENGTH.unpack(head)
    body = stream.read(size)
    return parse_frame(body) if len(body) == size else None
