"""Puts the seed into PostgreSQL with COPY, once, and keeps the schedule 60 days ahead.

Safe to call again and from several processes: it holds an advisory lock, fills what is empty and adds the days that
are missing. What the rows are is decided by the timetable.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from datetime import date, timedelta
from typing import Any, LiteralString

import psycopg

from reference_app.seed.airports import airports_by_size
from reference_app.seed.timetable import (
    CABIN_PRICE,
    DAYS_AHEAD,
    SEATS,
    FlyingDay,
    ScheduledFlight,
    flying_days,
    timetable,
    user_rows,
)

LOCK = 7_318_402_002


@dataclass(frozen=True, slots=True)
class Seeded:
    """What is in the database now, and how many flying days this call added."""

    airports: int
    flights: int
    users: int
    last_day: date
    flying_days: int
    added: int


def seed_database(
    connection: psycopg.Connection[Any], *, today: date, scale: float, seed: int, token_seed: str
) -> Seeded:
    """Fill an empty database and extend the schedule to `today` + 60 days. The scale counts on the first call only."""
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        if not _number(connection, "SELECT count(*) FROM airports"):
            _load_base(connection, scale=scale, seed=seed, token_seed=token_seed)
        added = _extend_schedule(connection, today)
        last_day = connection.execute("SELECT max(day) FROM flight_instances").fetchone()
        seeded = Seeded(
            airports=_number(connection, "SELECT count(*) FROM airports"),
            flights=_number(connection, "SELECT count(*) FROM flights"),
            users=_number(connection, "SELECT count(*) FROM users"),
            last_day=last_day[0] if last_day else today,
            flying_days=_number(connection, "SELECT count(*) FROM flight_instances"),
            added=added,
        )
    for table in ("airports", "flights", "flight_instances", "inventory", "users") if added else ():
        connection.execute(f"ANALYZE {table}")  # so that the first searches are planned with what is there
    return seeded


def _load_base(connection: psycopg.Connection[Any], *, scale: float, seed: int, token_seed: str) -> None:
    airports = airports_by_size()
    _copy(
        connection,
        "COPY airports (code, name, city, country, region, latitude, longitude) FROM STDIN",
        (astuple(airport) for airport in airports),
    )
    flights = timetable(airports, scale=scale, seed=seed)
    _copy(
        connection,
        "COPY flights (id, number, origin, destination, departs_after, duration, base_price_cents) FROM STDIN",
        (astuple(flight) for flight in flights),
    )
    _copy(
        connection,
        "COPY users (id, email, name, home_region, token_hash) FROM STDIN",
        user_rows(scale=scale, token_seed=token_seed),
    )


def _extend_schedule(connection: psycopg.Connection[Any], today: date) -> int:
    row = connection.execute("SELECT max(day), coalesce(max(id), 0) FROM flight_instances").fetchone()
    known_until, last_id = row or (None, 0)
    first_day = today if known_until is None else max(today, known_until + timedelta(days=1))
    days = list(
        flying_days(
            _flights(connection), first_day=first_day, last_day=today + timedelta(days=DAYS_AHEAD), first_id=last_id + 1
        )
    )
    _copy(
        connection,
        "COPY flight_instances (id, flight_id, day, departs_at, arrives_at) FROM STDIN",
        ((day.id, day.flight.id, day.day, day.departs_at, day.arrives_at) for day in days),
    )
    _copy(
        connection,
        "COPY inventory (instance_id, cabin, seats_total, seats_left, base_price_cents) FROM STDIN",
        (row for day in days for row in _inventory(day)),
    )
    return len(days)


def _flights(connection: psycopg.Connection[Any]) -> list[ScheduledFlight]:
    rows = connection.execute(
        "SELECT id, number, origin, destination, departs_after, duration, base_price_cents FROM flights ORDER BY id"
    )
    return [ScheduledFlight(*row) for row in rows]


def _inventory(day: FlyingDay) -> list[tuple[int, str, int, int, int]]:
    return [
        (day.id, cabin, seats, seats, round(day.flight.base_price_cents * CABIN_PRICE[cabin]))
        for cabin, seats in SEATS.items()
    ]


def _copy(connection: psycopg.Connection[Any], statement: LiteralString, rows: Iterable[Sequence[Any]]) -> None:
    with connection.cursor().copy(statement) as copy:
        for row in rows:
            copy.write_row(row)


def _number(connection: psycopg.Connection[Any], query: LiteralString) -> int:
    row = connection.execute(query).fetchone()
    return int(row[0]) if row else 0
