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
_SEEDED = ("airports", "routes", "flight_keys", "flights", "flight_instances", "inventory", "users", "user_keys")


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
    for table in _SEEDED if added else ():
        connection.execute(f"ANALYZE {table}")  # so that the first searches are planned with what is there
    return seeded


def _load_base(connection: psycopg.Connection[Any], *, scale: float, seed: int, token_seed: str) -> None:
    airports = airports_by_size()
    _copy(
        connection,
        "COPY airports (code, name, city, country, region, latitude, longitude) FROM STDIN",
        (astuple(airport) for airport in airports),
    )
    country = {airport.code: airport.country for airport in airports}
    flights = timetable(airports, scale=scale, seed=seed)
    _copy(
        connection,
        "COPY routes (origin, destination, origin_country, destination_country) FROM STDIN",
        sorted({(f.origin, f.destination, country[f.origin], country[f.destination]) for f in flights}),
    )
    domestic = {flight.id: country[flight.origin] == country[flight.destination] for flight in flights}
    _copy(
        connection,
        "COPY flight_keys (id, is_domestic, number) FROM STDIN",
        ((flight.id, domestic[flight.id], flight.number) for flight in flights),
    )
    _copy(
        connection,
        "COPY flights (id, number, origin, destination, departs_after, duration, base_price_cents, is_domestic,"
        " origin_country, destination_country) FROM STDIN",
        ((*astuple(f), domestic[f.id], country[f.origin], country[f.destination]) for f in flights),
    )
    users = list(user_rows(scale=scale, token_seed=token_seed))
    _copy(
        connection,
        "COPY users (id, name, home_region) FROM STDIN",
        ((number, name, region) for number, _, name, region, _ in users),
    )
    _copy(
        connection,
        "COPY user_keys (user_id, email, token_hash) FROM STDIN",
        ((number, email, hashed) for number, email, _, _, hashed in users),
    )


def _extend_schedule(connection: psycopg.Connection[Any], today: date) -> int:
    row = connection.execute("SELECT max(day), coalesce(max(id), 0) FROM flight_instances").fetchone()
    known_until, last_id = row or (None, 0)
    first_day = today if known_until is None else max(today, known_until + timedelta(days=1))
    flights, domestic = _flights(connection)
    days = list(
        flying_days(flights, first_day=first_day, last_day=today + timedelta(days=DAYS_AHEAD), first_id=last_id + 1)
    )
    _copy(
        connection,
        "COPY flight_instance_keys (id, is_domestic) FROM STDIN",
        ((day.id, day.flight.id in domestic) for day in days),
    )
    _copy(
        connection,
        "COPY flight_instances (id, is_domestic, flight_id, origin, destination, day, departs_at, arrives_at)"
        " FROM STDIN",
        (_instance(day, is_domestic=day.flight.id in domestic) for day in days),
    )
    _copy(
        connection,
        "COPY inventory (instance_id, cabin, seats_total, seats_left, base_price_cents) FROM STDIN",
        (row for day in days for row in _inventory(day)),
    )
    return len(days)


def _flights(connection: psycopg.Connection[Any]) -> tuple[list[ScheduledFlight], set[int]]:
    rows = connection.execute(
        "SELECT id, number, origin, destination, departs_after, duration, base_price_cents, is_domestic"
        " FROM flights ORDER BY id"
    ).fetchall()
    return [ScheduledFlight(*row[:-1]) for row in rows], {row[0] for row in rows if row[-1]}


def _instance(day: FlyingDay, *, is_domestic: bool) -> tuple[Any, ...]:
    flight = day.flight
    return (day.id, is_domestic, flight.id, flight.origin, flight.destination, day.day, day.departs_at, day.arrives_at)


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
