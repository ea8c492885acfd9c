"""What a client may post to /v1/events: checked here, column by column, before anything is acknowledged. Pure.

The spool keeps what was accepted; the writer brings it to the store.
"""

from __future__ import annotations

import json
import sys
import uuid
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from collector.instrument import Event
from collector.sources.cardinality import MOST_SERVICES, CardinalityGuard

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

LARGEST_BODY_BYTES = 8 * 1024 * 1024  # decompressed
MOST_EVENTS = 10_000
OLDEST_EVENT_SECONDS = 7 * 86400  # the raw table keeps 8 days; what is older would vanish at the insert
NEWEST_EVENT_SECONDS = 86400  # a client's clock may be ahead by this much
_UINT32, _UINT64 = 2**32 - 1, 2**64 - 1
_LONGEST_TEXT = 512

_RANGES = {"status": (100, 599), "duration_us": (0, _UINT32), "response_bytes": (0, _UINT32)}
_TEXTS = tuple(name for name in Event._fields if name not in _RANGES and name != "ts_us")


class BatchRefusedError(ValueError):
    """The batch is not as expected and never will be. `status` is the HTTP status: 400 or 413."""

    def __init__(self, message: str, *, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class EventBatch:
    """One accepted batch. `columns` are those of Event, of one length."""

    batch_id: str
    client_id: str
    service: str
    generated_total: int
    dropped_total: int
    columns: Mapping[str, list[Any]]

    @property
    def events(self) -> int:
        """Number of requests in the batch; 0 for a mere report of the counters."""
        return len(self.columns["ts_us"])


def decompressed(body: bytes, content_encoding: str) -> bytes:
    """Return the plain body, never more than LARGEST_BODY_BYTES. Raises BatchRefusedError."""
    coding = content_encoding.lower()  # a token without case, by RFC 9110
    if coding in ("", "identity"):
        plain, whole = body, True
    elif coding == "gzip":
        inflate = zlib.decompressobj(wbits=31)
        try:
            plain = inflate.decompress(body, LARGEST_BODY_BYTES + 1)
        except zlib.error as error:
            raise BatchRefusedError(f"body: expected gzip, got: {error}") from error
        whole = inflate.eof or len(plain) > LARGEST_BODY_BYTES
    elif coding == "zstd":
        expand = zstd.ZstdDecompressor()
        try:
            plain = expand.decompress(body, LARGEST_BODY_BYTES + 1)
        except zstd.ZstdError as error:
            raise BatchRefusedError(f"body: expected zstd, got: {error}") from error
        whole = expand.eof or len(plain) > LARGEST_BODY_BYTES
    else:
        raise BatchRefusedError(f"Content-Encoding: expected gzip, zstd or none, got {content_encoding[:80]!r}")
    if len(plain) > LARGEST_BODY_BYTES:
        raise BatchRefusedError(f"body: expected at most {LARGEST_BODY_BYTES} bytes, got more", status=413)
    if not whole:
        raise BatchRefusedError(f"body: expected a whole {content_encoding} stream, got one that ends early")
    return plain


def parse_batch(body: bytes, *, now_seconds: float) -> EventBatch:
    """Check a plain body and return its batch. now_seconds: the clock in use. Raises BatchRefusedError."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BatchRefusedError(f"body: expected JSON, got: {error}") from error
    batch = _object(document, "body")
    if batch.get("schema") != 1:
        raise BatchRefusedError(f"schema: expected 1, got {batch.get('schema')!r}")
    client = _object(batch.get("client"), "client")
    columns = _object(batch.get("columns"), "columns")
    starts = columns.get("ts_us")
    columns.setdefault("country", [""] * len(starts) if isinstance(starts, list) else [])  # clients of before say none
    _check_columns(columns, now_seconds)
    return EventBatch(
        batch_id=_batch_id(batch.get("batch_id")),
        client_id=_name(client.get("id"), "client.id"),
        service=_name(client.get("service"), "client.service"),
        generated_total=_count(client.get("generated_total"), "client.generated_total"),
        dropped_total=_count(client.get("dropped_total"), "client.dropped_total"),
        columns={name: columns[name] for name in Event._fields},
    )


def within_caps(guard: CardinalityGuard, batch: EventBatch, document: bytes) -> bytes:
    """Return the batch's document with labels over their caps folded. Raises BatchRefusedError: too many services."""
    if not guard.admits_service(batch.service):
        raise BatchRefusedError(f"client.service: expected one of the {MOST_SERVICES} services known, got another")
    columns = guard.fold(batch.service, batch.columns)
    if columns is None:
        return document
    return json.dumps({**json.loads(document), "columns": columns}, separators=(",", ":")).encode()


def _check_columns(columns: Mapping[str, Any], now_seconds: float) -> None:
    if set(columns) != set(Event._fields):
        raise BatchRefusedError(f"columns: expected {', '.join(Event._fields)}; got {', '.join(sorted(columns))}")
    for name, column in columns.items():
        if not isinstance(column, list):
            raise BatchRefusedError(f"columns.{name}: expected a list, got {type(column).__name__}")
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) != 1:
        raise BatchRefusedError(f"columns: expected one length, got {lengths}")
    if lengths["ts_us"] > MOST_EVENTS:
        raise BatchRefusedError(f"columns: expected at most {MOST_EVENTS} events, got {lengths['ts_us']}", status=413)
    span = (int((now_seconds - OLDEST_EVENT_SECONDS) * 1e6), int((now_seconds + NEWEST_EVENT_SECONDS) * 1e6))
    _check_whole_numbers(columns["ts_us"], "ts_us", span, "epoch microseconds from seven days ago to one day ahead")
    for name, (least, most) in _RANGES.items():
        _check_whole_numbers(columns[name], name, (least, most), f"whole numbers from {least} to {most}")
    for name in _TEXTS:
        _check_texts(columns[name], name)


def _check_whole_numbers(column: list[Any], name: str, span: tuple[int, int], expected: str) -> None:
    # Whole columns first, in C: a batch has thousands of rows. Only a bad one is looked through for its row.
    if set(map(type, column)) <= {int} and (not column or span[0] <= min(column) <= max(column) <= span[1]):
        return
    _refuse_first(column, name, expected, lambda value: type(value) is int and span[0] <= value <= span[1])


def _check_texts(column: list[Any], name: str) -> None:
    distinct = set(column) if set(map(type, column)) <= {str} else None
    if distinct is None or not all(map(_is_short_text, distinct)):
        _refuse_first(column, name, f"texts of at most {_LONGEST_TEXT} characters", _is_short_text)


def _refuse_first(column: list[Any], name: str, expected: str, holds: Callable[[Any], bool]) -> None:
    row = next(row for row, value in enumerate(column) if not holds(value))
    raise BatchRefusedError(f"columns.{name}[{row}]: expected {expected}, got {_shown(column[row])}")


def _is_short_text(value: Any) -> bool:
    return type(value) is str and len(value) <= _LONGEST_TEXT and "\0" not in value and value.isprintable()


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BatchRefusedError(f"{where}: expected an object, got {type(value).__name__}")
    return value


def _name(value: Any, where: str) -> str:
    if not _is_short_text(value) or not value:
        raise BatchRefusedError(f"{where}: expected a text of 1 to {_LONGEST_TEXT} characters, got {_shown(value)}")
    return str(value)


def _count(value: Any, where: str) -> int:
    if type(value) is not int or not 0 <= value <= _UINT64:
        raise BatchRefusedError(f"{where}: expected a whole number of at least 0, got {_shown(value)}")
    return int(value)


def _batch_id(value: Any) -> str:
    try:
        return str(uuid.UUID(value))
    except (ValueError, AttributeError, TypeError):
        raise BatchRefusedError(f"batch_id: expected a UUID, got {_shown(value)}") from None


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
