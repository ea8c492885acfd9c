"""Airports, searches and single flights, read through the caches.

A search is asked of L1, then of L2, then of the database; seats may be sold between the answer and the booking, and
the booking is what decides. Prices are the supplier's: what is cached is the base price.
"""

from __future__ import annotations

import json
import logging
from dataclasses import astuple, dataclass
from datetime import date, datetime
from typing import Any

from reference_app.caching.invalidation import Publisher
from reference_app.caching.l1 import AIRPORT_SECONDS
from reference_app.caching.l2 import FAILURES
from reference_app.caching.tags import INVENTORY_UPDATED, airport_tag, route_day_tag, route_tag
from reference_app.caching.tiers import Tiers, Wanted
from reference_app.database import Databases, Session

log = logging.getLogger(__name__)

CABINS = ("economy", "business")
MOST_PASSENGERS = 9
MOST_OFFERS = 50

_OFFER = """
SELECT i.id AS flight_id, f.number, i.origin, i.destination, i.departs_at, i.arrives_at, i.status,
       v.cabin, v.seats_left, v.base_price_cents
FROM flight_instances i JOIN flights f ON f.id = i.flight_id AND f.is_domestic = i.is_domestic
JOIN inventory v ON v.instance_id = i.id
"""
# The route says in which partition its flights are, before any is opened.
_IN_ITS_PARTITION = """
WHERE i.is_domestic = (SELECT is_domestic FROM routes WHERE (origin, destination) = (%(origin)s, %(destination)s))
"""
_SEARCH = (
    _OFFER
    + _IN_ITS_PARTITION
    + """
  AND i.origin = %(origin)s AND i.destination = %(destination)s
  AND i.departs_at >= %(day)s::date::timestamp AT TIME ZONE 'UTC'
  AND i.departs_at < (%(day)s::date + 1)::timestamp AT TIME ZONE 'UTC'
  AND i.status IN ('scheduled', 'delayed') AND v.cabin = %(cabin)s AND v.seats_left >= %(passengers)s
ORDER BY i.departs_at, i.id LIMIT 50
"""
)
_ONE = _OFFER + "WHERE i.id = %(flight_id)s ORDER BY v.cabin DESC"
_AIRPORT = "SELECT code, name, city, country, region, latitude, longitude FROM airports WHERE code = %(code)s"


@dataclass(frozen=True, slots=True)
class Airport:
    """An airport by its IATA code."""

    code: str
    name: str
    city: str
    country: str
    region: str
    latitude: float
    longitude: float


@dataclass(frozen=True, slots=True)
class Offer:
    """One cabin of one flight on one day, with the base price in US cents."""

    flight_id: int
    number: str
    origin: str
    destination: str
    departs_at: datetime
    arrives_at: datetime
    status: str
    cabin: str
    seats_left: int
    base_price_cents: int


@dataclass(frozen=True, slots=True)
class Wish:
    """What someone searches for. `day` is the UTC day of departure."""

    origin: str
    destination: str
    day: date
    passengers: int
    cabin: str

    @property
    def key(self) -> str:
        """The name of the answer in the caches."""
        return f"search:{self.origin}:{self.destination}:{self.day.isoformat()}:{self.passengers}:{self.cabin}"

    @property
    def tags(self) -> tuple[str, ...]:
        """What changes make the answer stale: of the seats on that day, of the route's prices."""
        return (
            route_day_tag(self.origin, self.destination, self.day),
            route_tag(self.origin, self.destination),
        )


class FlightStore:
    """Reads airports and flights; notes on the session's trail which cache or server answered."""

    def __init__(self, databases: Databases, tiers: Tiers, publisher: Publisher) -> None:
        self._databases, self._tiers, self._publisher = databases, tiers, publisher

    async def airport(self, code: str, session: Session) -> Airport | None:
        """Return the airport, or None when nobody knows it."""

        async def load(session: Session) -> tuple[Airport, ...]:
            return tuple(await self._databases.read(Airport, _AIRPORT, {"code": code}, session=session))

        # An unknown code is remembered too.
        wanted = Wanted(f"airport:{code}", (airport_tag(code),), load, l1_seconds=AIRPORT_SECONDS)
        found = await self._tiers.fetch(wanted, session)
        return found[0] if found else None

    async def search(self, wish: Wish, session: Session) -> tuple[Offer, ...]:
        """Return at most 50 offers with enough seats, by departure."""

        async def load(session: Session) -> tuple[Offer, ...]:
            parameters = {name: getattr(wish, name) for name in ("origin", "destination", "day", "passengers", "cabin")}
            return tuple(await self._databases.read(Offer, _SEARCH, parameters, session=session))

        wanted = Wanted(wish.key, wish.tags, load, to_bytes=offers_to_bytes, from_bytes=offers_from_bytes)
        return await self._tiers.fetch(wanted, session)

    async def flight(self, flight_id: int, session: Session) -> list[Offer]:
        """Return the flight's cabins, economy first; empty when there is no such flight. Not cached."""
        session.trail["cache_level"] = "db"
        return await self._databases.read(Offer, _ONE, {"flight_id": flight_id}, session=session)

    async def forget_searches(self, origin: str, destination: str, day: date) -> None:
        """Make every cache forget what shows this route's seats on this day. Never raises: caches age out too."""
        tags = [route_day_tag(origin, destination, day)]
        self._tiers.l1.drop(tags)
        try:
            await self._publisher.publish(INVENTORY_UPDATED, tags)
        except FAILURES as error:
            log.warning("a change of seats could not be told: %s", type(error).__name__)


def offers_to_bytes(offers: tuple[Offer, ...]) -> bytes:
    """Return the offers as L2 keeps them."""
    return json.dumps([astuple(offer) for offer in offers], default=datetime.isoformat).encode()


def offers_from_bytes(data: bytes | None) -> tuple[Offer, ...] | None:
    """Return the offers, or None for a miss: no bytes, or bytes that another version wrote."""
    if data is None:
        return None
    try:
        return tuple(_offer(*row) for row in json.loads(data))
    except (ValueError, TypeError, IndexError, KeyError):
        return None


def _offer(*columns: Any) -> Offer:
    instants = (datetime.fromisoformat(text) for text in columns[4:6])
    return Offer(*columns[:4], *instants, *columns[6:])
