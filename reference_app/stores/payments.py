"""Payments: begun before the provider is asked, decided after it has answered, and settled when it did not.

The money itself is moved by the payment provider, outside every transaction; a row here says what we know of it. A
payment that succeeded for a booking that is no longer held is given back by a job written in the same transaction.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from psycopg.errors import UniqueViolation
from psycopg.rows import class_row

from reference_app.database import Databases, Session
from reference_app.database.pools import Connection
from reference_app.stores import outbox
from reference_app.stores.booking_messages import (
    changed_messages,
    confirmed_messages,
    refund_message,
    seats_changed,
    settle_message,
)
from reference_app.stores.bookings import Booking, NotNow, locked, release, set_status

_SELECT = """
SELECT p.id, p.booking_id, k.user_id, p.amount_cents, p.currency, p.method_token AS method, p.status, p.failure,
       p.idempotency_key, p.created_at
FROM payments p JOIN booking_keys k ON k.id = p.booking_id
"""
_BY_ID = _SELECT + "WHERE p.id = %(id)s"
_OF_USER = _SELECT + "WHERE p.id = %(id)s AND k.user_id = %(user_id)s"
_BY_KEY = _SELECT + "WHERE p.booking_id = %(booking_id)s AND p.idempotency_key = %(key)s"
_OPEN = "SELECT status FROM payments WHERE booking_id = %(id)s AND status IN ('pending', 'timed_out', 'succeeded')"
_BEGIN = """
INSERT INTO payments (booking_id, amount_cents, method_token, status, idempotency_key, created_at, updated_at)
VALUES (%(booking_id)s, %(cents)s, %(method)s, 'pending', %(key)s, %(now)s, now()) RETURNING id
"""
_DECIDE = """
UPDATE payments SET status = %(status)s, provider_reference = coalesce(%(reference)s, provider_reference),
       failure = %(failure)s, updated_at = now()
WHERE id = %(id)s AND status IN ('pending', 'timed_out')
"""
_UNDECIDED = """
SELECT id, updated_at FROM payments
WHERE status IN ('pending', 'timed_out') AND updated_at < now() - %(seconds)s * interval '1 second'
ORDER BY updated_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
"""
_LOOKED_AT = "UPDATE payments SET updated_at = now() WHERE id = ANY(%(ids)s)"
GIVEN_BACK = "UPDATE payments SET status = 'refunded', updated_at = now() WHERE id = %(id)s AND status = 'succeeded'"


class PaymentUnderWay(Exception):  # noqa: N818 - an answer, not a fault
    """Another payment of this booking has succeeded or is not decided yet."""


@dataclass(frozen=True, slots=True)
class Payment:
    """One attempt to pay a booking. status: pending, succeeded, failed, timed_out or refunded."""

    id: int
    booking_id: int
    user_id: int
    amount_cents: int
    currency: str
    method: str
    status: str
    failure: str | None
    idempotency_key: str
    created_at: datetime

    @property
    def provider_key(self) -> str:
        """What the provider knows the charge by."""
        return self.key_of(self.id)

    @staticmethod
    def key_of(payment_id: int) -> str:
        """Return what the provider knows a payment's charge by."""
        return f"payment-{payment_id}"


class PaymentStore:
    """Reads and writes payments, and what their outcome makes of their bookings."""

    def __init__(self, databases: Databases) -> None:
        self._databases = databases

    async def payment(self, payment_id: int, *, user_id: int | None, session: Session) -> Payment | None:
        """Return the payment (the user's own, if a user is given) as the primary has it, or None."""
        query = _BY_ID if user_id is None else _OF_USER
        async with self._databases.write(session) as connection:
            return await _one(connection, query, {"id": payment_id, "user_id": user_id})

    async def begin(
        self, booking_id: int, *, user_id: int, method: str, key: str, now: datetime, session: Session
    ) -> tuple[Payment, bool] | None:
        """Begin to pay the user's held booking; return the payment and whether it is new, None without such a booking.

        Raises NotNow when the booking is not held any more, PaymentUnderWay when another payment may have it paid.
        """
        async with self._databases.write(session) as connection:
            try:
                booking = await locked(connection, booking_id)
            except LookupError:
                return None
            if booking.user_id != user_id:
                return None
            earlier = await _one(connection, _BY_KEY, {"booking_id": booking_id, "key": key})
            if earlier is not None:
                return earlier, False
            if booking.status != "held" or booking.hold_expires_at is None or booking.hold_expires_at <= now:
                raise NotNow(f"booking {booking_id} is {_word(booking)}, not held")
            if await (await connection.execute(_OPEN, {"id": booking_id})).fetchone() is not None:
                raise PaymentUnderWay(f"another payment of booking {booking_id} is under way")
            parameters = {"booking_id": booking_id, "cents": booking.price_cents, "method": method, "key": key}
            try:
                row = await (await connection.execute(_BEGIN, {**parameters, "now": now})).fetchone()
            except UniqueViolation as error:
                raise PaymentUnderWay(f"another payment of booking {booking_id} is under way") from error
            payment = await _one(connection, _BY_ID, {"id": row[0] if row else 0})
        return (payment, True) if payment else None

    async def succeeded(
        self, payment_id: int, reference: str, *, booking_id: int, now: datetime, session: Session
    ) -> Booking:
        """Note that the money was taken: the booking is confirmed if it is still held, else the money goes back.

        Called again it changes nothing. Returns the booking.
        """
        async with self._databases.write(session) as connection:
            booking = await locked(connection, booking_id)
            if await _decided(connection, payment_id, "succeeded", reference=reference):
                return await _after_success(connection, booking, payment_id, now=now)
        return booking

    async def failed(
        self, payment_id: int, failure: str, *, booking_id: int, keep_hold: bool, now: datetime, session: Session
    ) -> Booking:
        """Note that no money was taken; unless the hold is to be kept for another try, the seats go back."""
        async with self._databases.write(session) as connection:
            booking = await locked(connection, booking_id)
            if not await _decided(connection, payment_id, "failed", failure=failure):
                return booking
            if keep_hold or booking.status != "held":
                return replace(booking, payment="failed")
            await release(connection, booking, "cancelled", now=now)
            await outbox.put(connection, [seats_changed(booking.seats, "released")])
        return replace(booking, status="cancelled", cancelled_at=now, payment="failed")

    async def unanswered(self, payment_id: int, failure: str, *, booking_id: int, session: Session) -> Booking:
        """Note that nobody knows whether the money was taken; a job will find out. The seats stay held until then."""
        async with self._databases.write(session) as connection:
            booking = await locked(connection, booking_id)
            if not await _decided(connection, payment_id, "timed_out", failure=failure):
                return booking
            await outbox.put(connection, [settle_message(payment_id, "unanswered")])
        return replace(booking, payment="timed_out")

    async def settle_undecided(self, *, after_seconds: float, limit: int = 100) -> int:
        """Order the settlement of payments whose request died before it could say what became of them."""
        async with self._databases.write(Session()) as connection:
            rows = await (await connection.execute(_UNDECIDED, {"seconds": after_seconds, "limit": limit})).fetchall()
            await outbox.put(connection, [settle_message(row[0], row[1].isoformat()) for row in rows])
            await connection.execute(_LOOKED_AT, {"ids": [row[0] for row in rows]})
            return len(rows)


async def _decided(
    connection: Connection, payment_id: int, status: str, *, reference: str | None = None, failure: str | None = None
) -> bool:
    parameters = {"id": payment_id, "status": status, "reference": reference, "failure": failure}
    return (await connection.execute(_DECIDE, parameters)).rowcount == 1


async def _after_success(connection: Connection, booking: Booking, payment_id: int, *, now: datetime) -> Booking:
    if booking.status != "held":
        await outbox.put(connection, [refund_message(payment_id)])
        return replace(booking, payment="succeeded")
    messages = []
    if booking.changed_from is not None:
        old = await locked(connection, booking.changed_from)
        if old.status != "confirmed":  # it was cancelled meanwhile: there is nothing to change any more
            await release(connection, booking, "cancelled", now=now)
            await outbox.put(connection, [seats_changed(booking.seats, "released"), refund_message(payment_id)])
            return replace(booking, status="cancelled", cancelled_at=now, payment="succeeded")
        await release(connection, old, "changed", now=now)
        messages = await changed_messages(connection, old.seats)
    await set_status(connection, booking, "confirmed", now=now)
    await outbox.put(connection, [*messages, *confirmed_messages(booking.seats)])
    return replace(booking, status="confirmed", payment="succeeded")


def _word(booking: Booking) -> str:
    return "expired" if booking.status == "held" else booking.status


async def _one(connection: Connection, query: str, parameters: dict[str, object]) -> Payment | None:
    async with connection.cursor(row_factory=class_row(Payment)) as cursor:
        await cursor.execute(query, parameters)
        return await cursor.fetchone()
