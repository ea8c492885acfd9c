"""Bookings: seats change hands in one transaction on the primary, under the lock of the inventory row.

A booking is held, then confirmed when its payment has succeeded; or it is released, and its seats go back. Lock order
is booking row, payment row, inventory row, in every transaction here, so that no two can wait for each other. A request
that comes again with its idempotency key gets the first booking, sold once. What a change entails (e-mail, money back,
stale caches) is written to the outbox in the same transaction. Payments' own rows are the payment store's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

from psycopg.rows import class_row

from reference_app.database import Databases, Session
from reference_app.database.pools import Connection
from reference_app.stores import booking_queries as queries
from reference_app.stores import outbox
from reference_app.stores.booking_messages import Seats, cancelled_messages, expired_messages, seats_changed


class SoldOut(Exception):  # noqa: N818 - an answer, not a fault
    """The flight has not enough seats, or can't be booked any more."""


class KeyReused(Exception):  # noqa: N818 - an answer, not a fault
    """The idempotency key belongs to a booking of something else."""


class NotNow(Exception):  # noqa: N818 - an answer, not a fault
    """The booking's state does not allow this."""


@dataclass(frozen=True, slots=True)
class Traveller:
    """Someone who flies."""

    name: str
    document: str
    birth_date: date


@dataclass(frozen=True, slots=True)
class Purchase:
    """What a user wants to book, at a price (US cents, for all passengers); `changed_from`: instead of that booking."""

    user_id: int
    key: str
    flight_id: int
    cabin: str
    passengers: int
    price_cents: int
    travellers: tuple[Traveller, ...] = ()
    changed_from: int | None = None

    def priced(self, cents: int) -> Purchase:
        """Return it at this price."""
        return replace(self, price_cents=cents)


@dataclass(frozen=True, slots=True)
class Held:
    """A new booking's id, and its payment's if it is to be paid at once."""

    booking_id: int
    payment_id: int | None


@dataclass(frozen=True, slots=True)
class Booking:
    """A user's booking. `day` is the UTC day of departure, the price is for all passengers in US cents.

    status: held, confirmed, cancelled, expired or changed. payment: the state of its last payment, None without any.
    """

    id: int
    user_id: int
    flight_id: int
    cabin: str
    passengers: int
    price_cents: int
    status: str
    created_at: datetime
    cancelled_at: datetime | None
    hold_expires_at: datetime | None
    changed_from: int | None
    origin: str
    destination: str
    day: date
    payment: str | None

    @property
    def seats(self) -> Seats:
        """What it takes of a flight."""
        return Seats(self.id, self.flight_id, self.origin, self.destination, self.day)


@dataclass(frozen=True, slots=True)
class PageOfUser:
    """Which of a user's bookings: older than (before, before_id), newest first; `active`: held or confirmed only."""

    before: datetime
    before_id: int
    limit: int
    offset: int
    active: bool


class BookingStore:
    """Reads and writes bookings. `seat_lock` False: seats are counted as of the statement's start, and are oversold."""

    def __init__(self, databases: Databases, *, seat_lock: bool = True) -> None:
        self._databases, self._hold = databases, queries.HOLD if seat_lock else queries.HOLD_WITHOUT_LOCK

    async def booked_before(self, wanted: Purchase, session: Session) -> Booking | None:
        """Return this key's booking, read from the primary. Raises KeyReused if it is of another flight or party."""
        async with self._databases.write(session) as connection:
            booking = await _one(connection, queries.BY_KEY, {"user_id": wanted.user_id, "key": wanted.key})
        if booking is None:
            return None
        known = (booking.flight_id, booking.cabin, booking.passengers, booking.changed_from)
        if known != (wanted.flight_id, wanted.cabin, wanted.passengers, wanted.changed_from):
            raise KeyReused(f"booking {booking.id} was made with this key for another flight, cabin or party")
        return booking

    async def hold(
        self, purchase: Purchase, *, now: datetime, hold_expires_at: datetime, method: str | None, session: Session
    ) -> Held | None:
        """Take the seats until `hold_expires_at`; None when the key was used before, maybe just now.

        method: what it will be paid with at once: its payment is then begun too. Raises SoldOut, with nothing taken.
        """
        parameters = {
            **{name: getattr(purchase, name) for name in ("user_id", "key", "flight_id", "cabin", "passengers")},
            "price_cents": purchase.price_cents,
            "changed_from": purchase.changed_from,
            "method": method,
            "now": now,
            "hold_expires_at": hold_expires_at,
        }
        session.trail["cache_level"] = "none"
        async with self._databases.write(session) as connection:
            # A second request with the same key waits here until the first has committed or gone away.
            row = await (await connection.execute(self._hold, parameters)).fetchone()
            if row is None:
                return None
            _, booking_id, payment_id, origin, destination, day = row
            if booking_id is None:
                raise SoldOut(f"flight {purchase.flight_id} has not {purchase.passengers} {purchase.cabin} seats")
            if purchase.travellers:
                await _write_travellers(connection, booking_id, purchase.travellers)
            seats = Seats(booking_id, purchase.flight_id, origin, destination, day)
            await outbox.put(connection, [seats_changed(seats, "held")])
            return Held(booking_id, payment_id)

    async def booking(self, booking_id: int, *, user_id: int, session: Session) -> Booking | None:
        """Return the user's own booking, or None: another's booking does not exist for them."""
        session.trail["cache_level"] = "db"
        identity = {"id": booking_id, "user_id": user_id}
        found = await self._databases.read(Booking, queries.BY_ID, identity, session=session, purpose="profiles")
        return found[0] if found else None

    async def current(self, booking_id: int, *, user_id: int, session: Session) -> Booking | None:
        """Return the user's own booking as the primary has it."""
        async with self._databases.write(session) as connection:
            return await _one(connection, queries.BY_ID, {"id": booking_id, "user_id": user_id})

    async def bookings_of(self, user_id: int, page: PageOfUser, session: Session) -> list[Booking]:
        """Return a page of the user's bookings, newest first."""
        session.trail["cache_level"] = "db"
        parameters = {
            "user_id": user_id,
            **{name: getattr(page, name) for name in ("before", "before_id", "limit", "offset")},
        }
        query = queries.OF_USER[page.active]
        return await self._databases.read(Booking, query, parameters, session=session, purpose="profiles")

    async def cancel(self, booking_id: int, *, user_id: int, now: datetime, session: Session) -> Booking | None:
        """Cancel the user's own booking, once, and give its seats back; None when there is no such booking.

        What was paid for it is given back by a job. Raises NotNow when the booking was changed or has expired.
        """
        session.trail["cache_level"] = "none"
        async with self._databases.write(session) as connection:
            if await _one(connection, queries.BY_ID, {"id": booking_id, "user_id": user_id}) is None:
                return None
            booking = await locked(connection, booking_id)
            if booking.status in ("expired", "changed"):
                raise NotNow(
                    f"booking {booking_id} has {booking.status}"
                    if booking.status == "expired"
                    else f"booking {booking_id} was changed: cancel the one that took its place"
                )
            if booking.status != "cancelled":
                await release(connection, booking, "cancelled", now=now)
                await outbox.put(connection, await cancelled_messages(connection, booking.seats))
            return await _one(connection, queries.BY_ID, {"id": booking_id, "user_id": user_id})

    async def expire_one(self, now: datetime) -> int | None:
        """Let one hold that is over expire and give its seats back; return its id, None when there is none."""
        async with self._databases.write(Session()) as connection:
            row = await (await connection.execute(queries.EXPIRED, {"now": now})).fetchone()
            if row is None:
                return None
            booking = await locked(connection, row[0])
            await release(connection, booking, "expired", now=now)
            await outbox.put(connection, expired_messages(booking.seats))
            return booking.id


async def locked(connection: Connection, booking_id: int) -> Booking:
    """Return the booking, locked until the transaction ends. Raises LookupError."""
    booking = await _one(connection, queries.LOCKED, {"id": booking_id})
    if booking is None:
        raise LookupError(f"expected a booking with the id {booking_id}, there is none")
    return booking


async def set_status(connection: Connection, booking: Booking, status: str, *, now: datetime) -> None:
    """Give a locked booking another status."""
    identity = {"id": booking.id, "created_at": booking.created_at}
    await connection.execute(queries.SET_STATUS, {**identity, "status": status, "now": now})


async def release(connection: Connection, booking: Booking, status: str, *, now: datetime) -> None:
    """Give a locked booking another status and its seats back. To be called once for a booking."""
    await set_status(connection, booking, status, now=now)
    seats = {name: getattr(booking, name) for name in ("flight_id", "cabin", "passengers")}
    await connection.execute(queries.GIVE_SEATS_BACK, seats)


async def _write_travellers(connection: Connection, booking_id: int, travellers: tuple[Traveller, ...]) -> None:
    columns = {
        "id": booking_id,
        "names": [traveller.name for traveller in travellers],
        "documents": [traveller.document for traveller in travellers],
        "births": [traveller.birth_date for traveller in travellers],
    }
    await connection.execute(queries.TRAVELLERS, columns)


async def _one(connection: Connection, query: Any, parameters: dict[str, Any]) -> Booking | None:
    async with connection.cursor(row_factory=class_row(Booking)) as cursor:
        await cursor.execute(query, parameters)
        return await cursor.fetchone()
