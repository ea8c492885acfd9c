"""What a change of a booking entails: e-mails, money to give back, sales to count, caches to tell. Pure but for a read.

The words here are the contract between transactions, which write messages, and the jobs that act on them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from reference_app.caching.tags import INVENTORY_UPDATED, flight_tag, route_day_tag
from reference_app.database.pools import Connection
from reference_app.jobs.terms import EVENTS, ORDINARY, URGENT, WHENEVER
from reference_app.stores.outbox import Message

_PAID = "SELECT id FROM payments WHERE booking_id = %(id)s AND status = 'succeeded'"


@dataclass(frozen=True, slots=True)
class Seats:
    """A booking and the flight whose seats it took or gave back."""

    booking_id: int
    flight_id: int
    origin: str
    destination: str
    day: date


def seats_changed(seats: Seats, why: str) -> Message:
    """Return the event that caches hear when seats were taken or came back."""
    tags = [route_day_tag(seats.origin, seats.destination, seats.day), flight_tag(seats.flight_id)]
    return Message(EVENTS, INVENTORY_UPDATED, {"tags": tags}, f"seats:{seats.booking_id}:{why}")


def confirmed_messages(seats: Seats) -> list[Message]:
    """Return what follows a booking's confirmation."""
    booking = {"booking_id": seats.booking_id}
    return [
        Message("email", "booking-confirmed", booking, f"mail:confirmed:{seats.booking_id}", URGENT),
        Message("analytics", "count-sale", booking, f"sale:{seats.booking_id}", WHENEVER),
    ]


async def cancelled_messages(connection: Connection, seats: Seats) -> list[Message]:
    """Return what follows a booking's cancellation: its money back, if it was paid."""
    paid = await (await connection.execute(_PAID, {"id": seats.booking_id})).fetchall()
    return [
        seats_changed(seats, "cancelled"),
        *(refund_message(payment_id) for (payment_id,) in paid),
        _mail("booking-cancelled", seats.booking_id),
        *([_count_return(seats.booking_id)] if paid else []),
    ]


async def changed_messages(connection: Connection, old: Seats) -> list[Message]:
    """Return what follows when another booking has taken this one's place."""
    paid = await (await connection.execute(_PAID, {"id": old.booking_id})).fetchall()
    refunds = [refund_message(payment_id) for (payment_id,) in paid]
    return [seats_changed(old, "changed"), *refunds, _count_return(old.booking_id)]


def expired_messages(seats: Seats) -> list[Message]:
    """Return what follows when a hold is over."""
    return [seats_changed(seats, "expired"), _mail("hold-expired", seats.booking_id, WHENEVER)]


def refund_message(payment_id: int) -> Message:
    """Return the job that gives a payment back."""
    return Message("payments", "give-back", {"payment_id": payment_id}, f"give-back:{payment_id}", URGENT)


def settle_message(payment_id: int, attempt: str) -> Message:
    """Return the job that finds out what became of a payment. attempt: another word makes another job."""
    return Message("payments", "settle", {"payment_id": payment_id}, f"settle:{payment_id}:{attempt}", ORDINARY)


def _mail(name: str, booking_id: int, priority: int = ORDINARY) -> Message:
    return Message("email", name, {"booking_id": booking_id}, f"mail:{name}:{booking_id}", priority)


def _count_return(booking_id: int) -> Message:
    return Message("analytics", "count-return", {"booking_id": booking_id}, f"return:{booking_id}", WHENEVER)
