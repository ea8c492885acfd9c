"""Pages of long lists: by number for the first ones, by cursor for deep ones, with caps on both. Pure.

A cursor names the last row that was seen, so that a deep page costs what the first one does. To the caller it is
opaque; a made-up one is refused.
"""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import Query

from reference_app.problems import Problem

MOST_ITEMS = 100
LAST_PAGE = 100
PageNumber = Annotated[
    int, Query(ge=1, le=LAST_PAGE, description="1 is the first; beyond 100, go on with `cursor`.", examples=[1])
]
Limit = Annotated[int, Query(ge=1, le=MOST_ITEMS, description="Items on a page.", examples=[20])]
Cursor = Annotated[
    str | None,
    Query(
        max_length=80,
        pattern="^[A-Za-z0-9_-]+$",
        description="`next_cursor` of the page before; `page` is then not used.",
        examples=[base64.urlsafe_b64encode(b"1893456000000000.7").rstrip(b"=").decode()],
    ),
]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LARGEST_ID = 2**63 - 1


def to_cursor(*position: int) -> str:
    """Return the cursor that goes on after a position: numbers from 0."""
    return base64.urlsafe_b64encode(".".join(map(str, position)).encode()).rstrip(b"=").decode()


def from_cursor(cursor: str, *, numbers: int, largest: int = LARGEST_ID) -> tuple[int, ...]:
    """Return the position that a cursor names. Raises a 422 problem for what is none of ours."""
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode("ascii")
        position = tuple(int(part) for part in text.split("."))
    except (ValueError, binascii.Error):
        position = ()
    if len(position) != numbers or not all(0 <= number <= largest for number in position):
        raise Problem(422, "unknown-cursor", "cursor: expected the next_cursor of an answer")
    return position


def microseconds_of(instant: datetime) -> int:
    """Return the microseconds since 1970."""
    return (instant - _EPOCH) // timedelta(microseconds=1)


def instant_of(microseconds: int) -> datetime:
    """Return the instant; beyond the year 9999 the last one there is."""
    try:
        return _EPOCH + timedelta(microseconds=microseconds)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)
