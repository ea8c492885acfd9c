"""Inventory as admins see and change it: how many seats a cabin has, and at what base price."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import uuid4

from psycopg.rows import class_row

from reference_app.caching.tags import INVENTORY_UPDATED, flight_tag, route_day_tag, route_tag
from reference_app.database import Databases, Session
from reference_app.database.pools import Connection
from reference_app.jobs.terms import EVENTS
from reference_app.stores import outbox

_SELECT = """
SELECT v.instance_id AS flight_id, v.cabin, i.origin, i.destination, i.day, i.status, v.seats_total, v.seats_left,
       v.base_price_cents
FROM inventory v JOIN flight_instances i ON i.id = v.instance_id
"""
_PAGE = (
    _SELECT
    + """
WHERE (v.instance_id, v.cabin) > (%(after_id)s, %(after_cabin)s)
  AND (%(flight_id)s::bigint IS NULL OR v.instance_id = %(flight_id)s)
  AND (%(origin)s::text IS NULL OR i.origin = %(origin)s)
  AND (%(destination)s::text IS NULL OR i.destination = %(destination)s)
  AND (%(day)s::date IS NULL OR i.day = %(day)s)
ORDER BY v.instance_id, v.cabin LIMIT %(limit)s OFFSET %(offset)s
"""
)
_ONE = _SELECT + "WHERE v.instance_id = %(flight_id)s AND v.cabin = %(cabin)s FOR UPDATE OF v"
_CHANGE = """
UPDATE inventory SET seats_left = seats_left + coalesce(%(seats_total)s - seats_total, 0),
       seats_total = coalesce(%(seats_total)s, seats_total),
       base_price_cents = coalesce(%(base_price_cents)s, base_price_cents)
WHERE instance_id = %(flight_id)s AND cabin = %(cabin)s
"""


class SeatsSold(Exception):  # noqa: N818 - an answer, not a fault
    """More seats are sold or held than the cabin would have."""


@dataclass(frozen=True, slots=True)
class CabinInventory:
    """Seats of one cabin of one flight on one UTC day; the base price of one seat in US cents."""

    flight_id: int
    cabin: str
    origin: str
    destination: str
    day: date
    status: str
    seats_total: int
    seats_left: int
    base_price_cents: int


@dataclass(frozen=True, slots=True)
class InventoryPageWanted:
    """Which inventory: what is None is not asked for. Those after (after_id, after_cabin)."""

    flight_id: int | None
    origin: str | None
    destination: str | None
    day: date | None
    after_id: int
    after_cabin: str
    limit: int
    offset: int


class InventoryStore:
    """Reads and changes inventory."""

    def __init__(self, databases: Databases) -> None:
        self._databases = databases

    async def page(self, wanted: InventoryPageWanted, session: Session) -> list[CabinInventory]:
        """Return the cabins by flight and name."""
        session.trail["cache_level"] = "db"
        names = ("flight_id", "origin", "destination", "day", "after_id", "after_cabin", "limit", "offset")
        parameters = {name: getattr(wanted, name) for name in names}
        return await self._databases.read(CabinInventory, _PAGE, parameters, session=session)

    async def change(
        self,
        flight_id: int,
        cabin: str,
        *,
        seats_total: int | None,
        base_price_cents: int | None,
        session: Session,
    ) -> CabinInventory | None:
        """Change what is not None; return the cabin, or None when there is none. Raises SeatsSold, nothing changed."""
        session.trail["cache_level"] = "none"
        identity = {"flight_id": flight_id, "cabin": cabin}
        async with self._databases.write(session) as connection:
            before = await _one(connection, identity)
            if before is None:
                return None
            sold = before.seats_total - before.seats_left
            if seats_total is not None and seats_total < sold:
                raise SeatsSold(f"seats_total: expected at least the {sold} seats that are sold or held")
            change = {"seats_total": seats_total, "base_price_cents": base_price_cents}
            await connection.execute(_CHANGE, {**identity, **change})
            tags = [route_day_tag(before.origin, before.destination, before.day), flight_tag(flight_id)]
            tags += [route_tag(before.origin, before.destination)] if base_price_cents is not None else []
            event = outbox.Message(EVENTS, INVENTORY_UPDATED, {"tags": tags}, f"inventory:{uuid4()}")
            await outbox.put(connection, [event])
            return await _one(connection, identity)


async def _one(connection: Connection, identity: dict[str, Any]) -> CabinInventory | None:
    async with connection.cursor(row_factory=class_row(CabinInventory)) as cursor:
        await cursor.execute(_ONE, identity)
        return await cursor.fetchone()
