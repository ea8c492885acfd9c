"""The quarters that bookings are kept in: which ones there must be at an instant, and making those that are missing.

The tables are made by functions of the schema, so that every caller makes them alike. When it is done is decided by
`prepare` (before the first start) and by the router's watch (while the app runs).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import psycopg

DAYS_BEHIND = 92  # a clock that is a little behind still finds its quarter
DAYS_AHEAD = 366
MAKE = "SELECT name FROM make_booking_partitions(%s, %s) name"
MISSING = "SELECT name FROM missing_booking_partitions(%s, %s)"


def needed_span(now: datetime) -> tuple[datetime, datetime]:
    """Return the first and last instant whose quarter must exist: the last quarter, this one, and a year ahead."""
    return now - timedelta(days=DAYS_BEHIND), now + timedelta(days=DAYS_AHEAD)


def make_partitions(connection: psycopg.Connection[Any], first: datetime, last: datetime) -> list[str]:
    """Make the quarters from `first` to `last` that are missing; return their names."""
    return [name for (name,) in connection.execute(MAKE, [first, last]).fetchall()]


def missing_partitions(connection: psycopg.Connection[Any], now: datetime) -> list[str]:
    """Return the quarters that must exist at `now` and do not: empty when all is well."""
    return [name for (name,) in connection.execute(MISSING, [*needed_span(now)]).fetchall()]
