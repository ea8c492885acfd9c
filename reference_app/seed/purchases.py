"""Bookings of the year before, with passengers and payments, from a scale and a seed alone: the same in, the same out.

Pure. A booking takes seats of a flight of the schedule and never more than there are; early flights of the timetable,
which are those between large airports, are booked most.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from reference_app.seed.timetable import CABIN_PRICE, SEATS, FlyingDay

DAYS_BEFORE = 365
BUSINESS_SHARE = 0.12
PARTY = (1, 1, 1, 2, 2, 3, 4)  # how many travel together: drawn from these
STATUSES = (("confirmed", 0.90), ("cancelled", 0.97), ("expired", 1.0))  # up to which draw
PAYMENT = {"confirmed": "succeeded", "cancelled": "refunded", "expired": "timed_out"}


@dataclass(frozen=True, slots=True)
class PastBooking:
    """A booking as it stands on the seed's day. price_cents is for all passengers."""

    id: int
    created_at: datetime
    user_id: int
    instance_id: int
    cabin: str
    passengers: int
    price_cents: int
    status: str
    ended_at: datetime | None  # when it was cancelled or expired


def past_bookings(
    days: Sequence[FlyingDay], *, flights_a_day: int, users: int, scale: float, today: date, seed: int
) -> tuple[list[PastBooking], dict[tuple[int, str], int]]:
    """Return the bookings, 200,000 at scale 1, by time, and the seats that confirmed ones hold by (instance, cabin)."""
    rng = random.Random(f"{seed}:bookings")  # noqa: S311 - reproducible data, not a secret
    ends = datetime.combine(today, time(), UTC)
    seconds = DAYS_BEFORE * 86_400
    instants = sorted(rng.randrange(seconds) for _ in range(round(200_000 * scale)))
    sold: dict[tuple[int, str], int] = {}
    made = []
    for number, instant in enumerate(instants, start=1):
        flown = rng.randrange(len(days) // flights_a_day) * flights_a_day + int(rng.random() ** 2 * flights_a_day)
        day = days[flown]
        cabin = "business" if rng.random() < BUSINESS_SHARE else "economy"
        party, drawn = rng.choice(PARTY), rng.random()
        status = next(name for name, up_to in STATUSES if drawn < up_to)
        if status == "confirmed":
            taken = sold.get((day.id, cabin), 0) + party
            if taken > SEATS[cabin]:
                status = "expired"  # nobody gets what is not there
            else:
                sold[day.id, cabin] = taken
        created_at = ends - timedelta(days=DAYS_BEFORE) + timedelta(seconds=instant)
        made.append(
            PastBooking(
                id=number,
                created_at=created_at,
                user_id=1 + rng.randrange(users),
                instance_id=day.id,
                cabin=cabin,
                passengers=party,
                price_cents=round(day.flight.base_price_cents * CABIN_PRICE[cabin]) * party,
                status=status,
                ended_at=None if status == "confirmed" else created_at + timedelta(minutes=15),
            )
        )
    return made, sold


def passenger_rows(bookings: Sequence[PastBooking]) -> Iterator[tuple[Any, ...]]:
    """Yield (booking, position, name, document, birth date) of each traveller."""
    for booking in bookings:
        for position in range(1, booking.passengers + 1):
            born = date(1950, 1, 1) + timedelta(days=(booking.id * 7919 + position * 104_729) % 21_900)
            yield booking.id, position, f"Traveller {booking.user_id}-{position}", f"P{booking.id:08d}{position}", born


def payment_rows(bookings: Sequence[PastBooking]) -> Iterator[tuple[Any, ...]]:
    """Yield (booking, cents, method, status, provider's reference, key, created, updated) of each payment."""
    for booking in bookings:
        yield (
            booking.id,
            booking.price_cents,
            "tok_seed",
            PAYMENT[booking.status],
            f"seed-{booking.id}",
            f"seed-{booking.id:08d}",
            booking.created_at,
            booking.ended_at or booking.created_at,
        )
