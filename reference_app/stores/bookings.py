"""Bookings: seats change hands in one transaction on the primary, under the lock of the inventory row.

Lock order is booking row, then inventory row, in every statement here, so that no two bookings can wait for each other.
A request that comes again with its idempotency key gets the first booking, sold once.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row

from reference_app.database import Databases, Session

_SELECT = """
SELECT b.id, b.user_id, b.instance_id AS flight_id, b.cabin, b.passengers, b.price_cents, b.status, b.created_at,
       b.cancelled_at, i.origin, i.destination, i.day
FROM booking_keys k JOIN bookings b ON b.id = k.id AND b.created_at = k.created_at
JOIN flight_instances i ON i.id = b.instance_id
"""
_ITS_QUARTER = "b.created_at = (SELECT created_at FROM booking_keys WHERE id = %(id)s)"  # a join would open all
_BY_ID = _SELECT + f"WHERE b.id = %(id)s AND b.user_id = %(user_id)s AND {_ITS_QUARTER}"
_BY_KEY = _SELECT + "WHERE k.user_id = %(user_id)s AND k.idempotency_key = %(key)s"
_CLAIM_KEY = """
INSERT INTO booking_keys (user_id, idempotency_key, created_at)
SELECT %(user_id)s, %(key)s, %(now)s FROM inventory v WHERE v.instance_id = %(flight_id)s AND v.cabin = %(cabin)s
ON CONFLICT (user_id, idempotency_key) DO NOTHING RETURNING id
"""
_BOOK = """
INSERT INTO bookings (id, created_at, user_id, instance_id, cabin, passengers, price_cents, status, updated_at)
VALUES (%(id)s, %(now)s, %(user_id)s, %(flight_id)s, %(cabin)s, %(passengers)s, %(price_cents)s, 'confirmed', %(now)s)
"""
_TAKE_SEATS = """
UPDATE inventory v SET seats_left = v.seats_left - %(passengers)s
FROM flight_instances i
WHERE v.instance_id = %(flight_id)s AND v.cabin = %(cabin)s AND i.id = v.instance_id
  AND v.seats_left >= %(passengers)s AND i.departs_at > %(now)s AND i.status IN ('scheduled', 'delayed')
RETURNING v.seats_left
"""
_CANCEL = """
UPDATE bookings b SET status = 'cancelled', cancelled_at = %(now)s, updated_at = %(now)s
WHERE b.id = %(id)s AND b.user_id = %(user_id)s AND b.status = 'confirmed'
  AND b.created_at = (SELECT created_at FROM booking_keys WHERE id = %(id)s)
RETURNING b.instance_id, b.cabin, b.passengers
"""
_GIVE_SEATS_BACK = """
UPDATE inventory SET seats_left = seats_left + %(passengers)s
WHERE instance_id = %(instance_id)s AND cabin = %(cabin)s
"""


class SoldOut(Exception):  # noqa: N818 - an answer, not a fault
    """The flight has not enough seats, or can't be booked any more."""


class KeyReused(Exception):  # noqa: N818 - an answer, not a fault
    """The idempotency key belongs to a booking of something else."""


@dataclass(frozen=True, slots=True)
class Purchase:
    """What a user wants to book, at the price (US cents, for all passengers) the supplier has named."""

    user_id: int
    key: str
    flight_id: int
    cabin: str
    passengers: int
    price_cents: int


@dataclass(frozen=True, slots=True)
class Booking:
    """A user's booking. `day` is the UTC day of departure, the price is for all passengers in US cents."""

    id: int
    user_id: int
    flight_id: int
    cabin: str
    passengers: int
    price_cents: int
    status: str
    created_at: datetime
    cancelled_at: datetime | None
    origin: str
    destination: str
    day: date


class BookingStore:
    """Reads and writes bookings."""

    def __init__(self, databases: Databases) -> None:
        self._databases = databases

    async def booked_before(
        self, *, user_id: int, key: str, flight_id: int, cabin: str, passengers: int, session: Session
    ) -> Booking | None:
        """Return this key's booking, read from the primary. Raises KeyReused if it is of another."""
        async with self._databases.write(session) as connection:
            booking = await _one(connection, _BY_KEY, {"user_id": user_id, "key": key})
        if booking and (booking.flight_id, booking.cabin, booking.passengers) != (flight_id, cabin, passengers):
            raise KeyReused(f"booking {booking.id} was made with this key for another flight, cabin or party")
        return booking

    async def book(self, purchase: Purchase, *, now: datetime, session: Session) -> tuple[Booking, bool]:
        """Take the seats; return the booking, and whether it is new. Raises SoldOut or KeyReused, nothing sold."""
        parameters: dict[str, Any] = {
            "user_id": purchase.user_id,
            "key": purchase.key,
            "flight_id": purchase.flight_id,
            "cabin": purchase.cabin,
            "passengers": purchase.passengers,
            "price_cents": purchase.price_cents,
            "now": now,
        }
        session.trail["cache_level"] = "none"
        async with self._databases.write(session) as connection:
            # A second request with the same key waits here until the first has committed or gone away.
            claimed = await (await connection.execute(_CLAIM_KEY, parameters)).fetchone()
            if claimed is not None:
                taken = await (await connection.execute(_TAKE_SEATS, parameters)).fetchone()
                if taken is None:
                    raise SoldOut(f"flight {purchase.flight_id} has not {purchase.passengers} {purchase.cabin} seats")
                await connection.execute(_BOOK, {**parameters, "id": claimed[0]})
                booking = await _one(connection, _BY_ID, {"id": claimed[0], "user_id": purchase.user_id})
                if booking is not None:
                    return booking, True
        earlier = await self.booked_before(
            user_id=purchase.user_id,
            key=purchase.key,
            flight_id=purchase.flight_id,
            cabin=purchase.cabin,
            passengers=purchase.passengers,
            session=session,
        )
        if earlier is None:
            raise SoldOut(f"there is no {purchase.cabin} cabin on flight {purchase.flight_id}")
        return earlier, False

    async def booking(self, booking_id: int, *, user_id: int, session: Session) -> Booking | None:
        """Return the user's own booking, or None: another's booking does not exist for them."""
        session.trail["cache_level"] = "db"
        found = await self._databases.read(Booking, _BY_ID, {"id": booking_id, "user_id": user_id}, session=session)
        return found[0] if found else None

    async def cancel(self, booking_id: int, *, user_id: int, now: datetime, session: Session) -> Booking | None:
        """Cancel the user's own booking, once, and give its seats back; None when there is no such booking."""
        session.trail["cache_level"] = "none"
        identity = {"id": booking_id, "user_id": user_id}
        async with self._databases.write(session) as connection:
            row = await (await connection.execute(_CANCEL, {**identity, "now": now})).fetchone()
            if row is not None:
                seats = dict(zip(("instance_id", "cabin", "passengers"), row, strict=True))
                await connection.execute(_GIVE_SEATS_BACK, seats)
            return await _one(connection, _BY_ID, identity)


async def _one(connection: AsyncConnection[Any], query: Any, parameters: dict[str, Any]) -> Booking | None:
    async with connection.cursor(row_factory=class_row(Booking)) as cursor:
        await cursor.execute(query, parameters)
        return await cursor.fetchone()
