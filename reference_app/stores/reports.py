"""Reports over many bookings, read from the analytics replica so that they slow no search."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime

from reference_app.database import Databases, Session

# The month as an expression is what the index holds; the span beside it is what leaves the other quarters unopened.
ROUTE_MONTH = """
SELECT i.origin, i.destination, %(month)s::date AS month, count(*) AS bookings, sum(b.passengers)::bigint AS passengers,
       sum(b.price_cents)::bigint AS revenue_cents
FROM bookings b JOIN flight_instances i ON i.id = b.instance_id
WHERE date_trunc('month', b.created_at AT TIME ZONE 'UTC') = %(month)s::timestamp
  AND b.created_at >= %(starts)s AND b.created_at < %(ends)s AND b.status = 'confirmed'
GROUP BY i.origin, i.destination ORDER BY revenue_cents DESC, i.origin, i.destination LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class RouteMonth:
    """What a route brought in a UTC month (its first day), in bookings made in it and still confirmed; US cents."""

    origin: str
    destination: str
    month: date
    bookings: int
    passengers: int
    revenue_cents: int


class ReportStore:
    """Reads reports."""

    def __init__(self, databases: Databases) -> None:
        self._databases = databases

    async def revenue_by_route(self, month: date, *, limit: int, session: Session) -> list[RouteMonth]:
        """Return the routes that brought most in the month that `month` lies in. Raises as `Databases.read`."""
        session.trail["cache_level"] = "db"
        return await self._databases.read(
            RouteMonth, ROUTE_MONTH, report_parameters(month, limit), session=session, purpose="analytics"
        )


def report_parameters(month: date, limit: int) -> dict[str, object]:
    """Return the query's parameters: the month's first day, and its first instant and that of the next."""
    starts = datetime(month.year, month.month, 1, tzinfo=UTC)
    ends = datetime(month.year + month.month // 12, month.month % 12 + 1, 1, tzinfo=UTC)
    return {"month": starts.date(), "starts": starts, "ends": ends, "limit": limit}
