"""Puts the seed into PostgreSQL with COPY, once, and keeps the schedule 60 days ahead.

Safe to call again and from several processes: it holds an advisory lock, fills what is empty and adds the days that
are missing. What the rows are is decided by the timetable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, LiteralString

import psycopg

from reference_app.database.partitions import make_partitions
from reference_app.seed.airports import airports_at
from reference_app.seed.purchases import PastBooking, passenger_rows, past_bookings, payment_rows
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
TELL_EVERY = 2000
Told = Callable[[str, int, int], None]  # table, rows done, rows in all
_SEEDED = (
    "airports",
    "routes",
    "flight_keys",
    "flights",
    "flight_instances",
    "inventory",
    "users",
    "user_keys",
    "booking_keys",
    "bookings",
    "passengers",
    "payments",
)


def nobody(table: str, done: int, total: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class Seeded:
    """What is in the database now, and how many flying days this call added."""

    airports: int
    flights: int
    users: int
    bookings: int
    last_day: date
    flying_days: int
    added: int


def seed_database(
    connection: psycopg.Connection[Any],
    *,
    today: date,
    scale: float,
    seed: int,
    token_seed: str,
    booked: bool = True,
    told: Told = nobody,
) -> Seeded:
    """Fill an empty database and extend the schedule to `today` + 60 days. The scale counts on the first call only.

    All or nothing: one transaction.
    booked: whether there are bookings of the year before.
    told: hears of every table how many rows of how many are in.
    """
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        loader = _Loader(connection, told)
        empty = not _number(connection, "SELECT count(*) FROM airports")
        if empty:
            _load_base(loader, scale=scale, seed=seed, token_seed=token_seed)
        flights, domestic = _flights(connection)
        days = _missing_days(connection, flights, today)
        bookings: list[PastBooking] = []
        sold: dict[tuple[int, str], int] = {}
        if empty and booked:
            users = _number(connection, "SELECT count(*) FROM users")
            bookings, sold = past_bookings(
                days, flights_a_day=len(flights), users=users, scale=scale, today=today, seed=seed
            )
        _load_days(loader, days, domestic, sold)
        _load_bookings(loader, bookings, today)
        told("checking keys", 0, 1)
        connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
        told("checking keys", 1, 1)
        seeded = _seeded(connection, today, added=len(days))
    for table in _SEEDED if days else ():
        connection.execute(f"ANALYZE {table}")  # so that the first searches are planned with what is there
    return seeded


class _Loader:
    """Copies rows into tables and tells how far it is."""

    def __init__(self, connection: psycopg.Connection[Any], told: Told) -> None:
        self.connection, self._told = connection, told

    def copy(self, table: LiteralString, columns: LiteralString, rows: Iterable[Sequence[Any]], total: int) -> None:
        """Copy the rows, so many in all."""
        self._told(table, 0, total)
        done = 0
        with self.connection.cursor().copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
                done += 1
                if done % TELL_EVERY == 0:
                    self._told(table, done, total)
        self._told(table, done, done)


def _seeded(connection: psycopg.Connection[Any], today: date, *, added: int) -> Seeded:
    last_day = connection.execute("SELECT max(day) FROM flight_instances").fetchone()
    return Seeded(
        airports=_number(connection, "SELECT count(*) FROM airports"),
        flights=_number(connection, "SELECT count(*) FROM flights"),
        users=_number(connection, "SELECT count(*) FROM users"),
        bookings=_number(connection, "SELECT count(*) FROM bookings"),
        last_day=last_day[0] if last_day else today,
        flying_days=_number(connection, "SELECT count(*) FROM flight_instances"),
        added=added,
    )


def _load_base(loader: _Loader, *, scale: float, seed: int, token_seed: str) -> None:
    airports = airports_at(scale)
    country = {airport.code: airport.country for airport in airports}
    flights = timetable(airports, scale=scale, seed=seed)
    routes = sorted({(f.origin, f.destination, country[f.origin], country[f.destination]) for f in flights})
    domestic = {flight.id: country[flight.origin] == country[flight.destination] for flight in flights}
    users = list(user_rows(scale=scale, token_seed=token_seed))
    loader.copy(
        "airports", "code, name, city, country, region, latitude, longitude", map(astuple, airports), len(airports)
    )
    loader.copy("routes", "origin, destination, origin_country, destination_country", routes, len(routes))
    keys = ((flight.id, domestic[flight.id], flight.number) for flight in flights)
    loader.copy("flight_keys", "id, is_domestic, number", keys, len(flights))
    loader.copy(
        "flights",
        "id, number, origin, destination, departs_after, duration, base_price_cents, is_domestic, origin_country,"
        " destination_country",
        ((*astuple(f), domestic[f.id], country[f.origin], country[f.destination]) for f in flights),
        len(flights),
    )
    people = ((number, name, region) for number, _, name, region, _ in users)
    loader.copy("users", "id, name, home_region", people, len(users))
    keys_of_users = ((number, email, hashed) for number, email, _, _, hashed in users)
    loader.copy("user_keys", "user_id, email, token_hash", keys_of_users, len(users))


def _missing_days(connection: psycopg.Connection[Any], flights: list[ScheduledFlight], today: date) -> list[FlyingDay]:
    row = connection.execute("SELECT max(day), coalesce(max(id), 0) FROM flight_instances").fetchone()
    known_until, last_id = row or (None, 0)
    first_day = today if known_until is None else max(today, known_until + timedelta(days=1))
    return list(
        flying_days(flights, first_day=first_day, last_day=today + timedelta(days=DAYS_AHEAD), first_id=last_id + 1)
    )


def _load_days(loader: _Loader, days: list[FlyingDay], domestic: set[int], sold: dict[tuple[int, str], int]) -> None:
    keys = ((day.id, day.flight.id in domestic) for day in days)
    loader.copy("flight_instance_keys", "id, is_domestic", keys, len(days))
    loader.copy(
        "flight_instances",
        "id, is_domestic, flight_id, origin, destination, day, departs_at, arrives_at",
        (_instance(day, is_domestic=day.flight.id in domestic) for day in days),
        len(days),
    )
    loader.copy(
        "inventory",
        "instance_id, cabin, seats_total, seats_left, base_price_cents",
        (row for day in days for row in _inventory(day, sold)),
        len(days) * len(SEATS),
    )


def _load_bookings(loader: _Loader, bookings: list[PastBooking], today: date) -> None:
    if not bookings:
        return
    midnight = datetime.combine(today, time(), UTC)
    make_partitions(loader.connection, bookings[0].created_at, midnight)
    keys = ((b.id, b.created_at, b.user_id, f"seed-{b.id:08d}") for b in bookings)
    loader.copy("booking_keys", "id, created_at, user_id, idempotency_key", keys, len(bookings))
    loader.copy(
        "bookings",
        "id, created_at, user_id, instance_id, cabin, passengers, price_cents, status, cancelled_at, updated_at",
        (_booking(booking) for booking in bookings),
        len(bookings),
    )
    travellers = sum(booking.passengers for booking in bookings)
    loader.copy("passengers", "booking_id, position, name, document, birth_date", passenger_rows(bookings), travellers)
    loader.copy(
        "payments",
        "booking_id, amount_cents, method_token, status, provider_reference, idempotency_key, created_at, updated_at",
        payment_rows(bookings),
        len(bookings),
    )
    loader.connection.execute("SELECT setval(pg_get_serial_sequence('booking_keys', 'id'), %s)", [bookings[-1].id])


def _booking(booking: PastBooking) -> tuple[Any, ...]:
    cancelled_at = booking.ended_at if booking.status == "cancelled" else None
    *row, ended_at = astuple(booking)
    return (*row, cancelled_at, ended_at or booking.created_at)


def _flights(connection: psycopg.Connection[Any]) -> tuple[list[ScheduledFlight], set[int]]:
    rows = connection.execute(
        "SELECT id, number, origin, destination, departs_after, duration, base_price_cents, is_domestic"
        " FROM flights ORDER BY id"
    ).fetchall()
    return [ScheduledFlight(*row[:-1]) for row in rows], {row[0] for row in rows if row[-1]}


def _instance(day: FlyingDay, *, is_domestic: bool) -> tuple[Any, ...]:
    flight = day.flight
    return (day.id, is_domestic, flight.id, flight.origin, flight.destination, day.day, day.departs_at, day.arrives_at)


def _inventory(day: FlyingDay, sold: dict[tuple[int, str], int]) -> list[tuple[int, str, int, int, int]]:
    return [
        (
            day.id,
            cabin,
            seats,
            seats - sold.get((day.id, cabin), 0),
            round(day.flight.base_price_cents * CABIN_PRICE[cabin]),
        )
        for cabin, seats in SEATS.items()
    ]


def _number(connection: psycopg.Connection[Any], query: LiteralString) -> int:
    row = connection.execute(query).fetchone()
    return int(row[0]) if row else 0
