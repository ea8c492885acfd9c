"""What was sold: counted by a job from bookings, read by the admin's report from the replica for analytics."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from reference_app.database import Databases, Session
from reference_app.database.pools import Connection

_COUNT_SALE = """
INSERT INTO daily_sales AS d (day, origin, destination, cabin, bookings, passengers, revenue_cents)
SELECT (b.created_at AT TIME ZONE 'UTC')::date, i.origin, i.destination, b.cabin, 1, b.passengers, b.price_cents
FROM bookings b JOIN flight_instances i ON i.id = b.instance_id
WHERE b.id = %(id)s AND b.created_at = (SELECT created_at FROM booking_keys WHERE id = %(id)s)
ON CONFLICT (day, origin, destination, cabin) DO UPDATE SET bookings = d.bookings + 1,
  passengers = d.passengers + excluded.passengers, revenue_cents = d.revenue_cents + excluded.revenue_cents
"""
_COUNT_RETURN = """
INSERT INTO daily_sales AS d (day, origin, destination, cabin, returned_bookings, returned_cents)
SELECT (b.created_at AT TIME ZONE 'UTC')::date, i.origin, i.destination, b.cabin, 1, b.price_cents
FROM bookings b JOIN flight_instances i ON i.id = b.instance_id
WHERE b.id = %(id)s AND b.created_at = (SELECT created_at FROM booking_keys WHERE id = %(id)s)
ON CONFLICT (day, origin, destination, cabin) DO UPDATE SET returned_bookings = d.returned_bookings + 1,
  returned_cents = d.returned_cents + excluded.returned_cents
"""
_REPORT = """
SELECT day, origin, destination, sum(bookings)::bigint AS bookings, sum(passengers)::bigint AS passengers,
       sum(revenue_cents)::bigint AS revenue_cents, sum(returned_bookings)::bigint AS returned_bookings,
       sum(returned_cents)::bigint AS returned_cents
FROM daily_sales WHERE day BETWEEN %(first)s AND %(last)s
GROUP BY day, origin, destination ORDER BY day DESC, sum(revenue_cents) DESC, origin, destination
LIMIT %(limit)s OFFSET %(offset)s
"""


@dataclass(frozen=True, slots=True)
class DaySales:
    """What was booked on a UTC day on one route, and what of it was given back; money in US cents."""

    day: date
    origin: str
    destination: str
    bookings: int
    passengers: int
    revenue_cents: int
    returned_bookings: int
    returned_cents: int


class SalesStore:
    """Reads and counts sales."""

    def __init__(self, databases: Databases) -> None:
        self._databases = databases

    async def report(self, first: date, last: date, *, limit: int, offset: int, session: Session) -> list[DaySales]:
        """Return the sales from the first day to the last, newest day first, best route first."""
        session.trail["cache_level"] = "db"
        parameters = {"first": first, "last": last, "limit": limit, "offset": offset}
        return await self._databases.read(DaySales, _REPORT, parameters, session=session, purpose="analytics")


async def count_sale(connection: Connection, booking_id: int) -> None:
    """Count a booking as sold, in the transaction of the job."""
    await connection.execute(_COUNT_SALE, {"id": booking_id})


async def count_return(connection: Connection, booking_id: int) -> None:
    """Count a sold booking as given back, in the transaction of the job."""
    await connection.execute(_COUNT_RETURN, {"id": booking_id})
