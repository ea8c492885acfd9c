"""Instants on their way to and from the store: aware UTC datetimes inside, integer epochs in a query or an insert."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


def utc(value: datetime | float) -> datetime:
    """Return an aware datetime, or epoch seconds, as an aware UTC datetime. Raises ValueError for a naive one."""
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError(f"expected an aware datetime, got {value!r}")
        return datetime.fromtimestamp(value.timestamp(), UTC)
    return datetime.fromtimestamp(value, UTC)


def epoch_seconds(value: datetime) -> int:
    """Return whole epoch seconds (rounded down). Raises ValueError for a naive datetime."""
    return epoch_milliseconds(value) // 1000


def epoch_milliseconds(value: datetime) -> int:
    """Return the nearest epoch milliseconds. Raises ValueError for a naive datetime."""
    if value.tzinfo is None:
        raise ValueError(f"expected an aware datetime, got {value!r}")
    return round(value.timestamp() * 1000)


def floored(value: datetime, step: timedelta, *, anchor: datetime | None = None) -> datetime:
    """Return the last start of a step at or before `value`; steps start at `anchor` (default: the epoch)."""
    start = anchor or datetime.fromtimestamp(0, UTC)
    return start + (value - start) // step * step


def text_of(value: datetime) -> str:
    """Return ISO 8601 in UTC with `Z`, milliseconds only when there are any."""
    return utc(value).isoformat(timespec="milliseconds" if value.microsecond >= 1000 else "seconds")[:-6] + "Z"


def rows_between(column: str) -> str:
    """Return the condition of a service's rows with since <= column < until; parameters: `service`, `between`."""
    return (
        f"service = {{service:String}} AND {column} >= fromUnixTimestamp64Milli({{since:Int64}}, 'UTC')"
        f" AND {column} < fromUnixTimestamp64Milli({{until:Int64}}, 'UTC')"
    )


def between(since: datetime | None, until: datetime | None) -> dict[str, int]:
    """Return the parameters `since` and `until` of a query, in epoch milliseconds; None leaves that side open."""
    far_ahead = datetime(2200, 1, 1, tzinfo=UTC)
    return {"since": epoch_milliseconds(since) if since else 0, "until": epoch_milliseconds(until or far_ahead)}
