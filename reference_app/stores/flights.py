"""Airports, searches and single flights, read through the caches.

A search is asked of L1, then of L2, then of the database; seats may be sold between the answer and the booking, and
the booking is what decides. Prices are the supplier's: what is cached is the base price.
"""

from __future__ import annotations

import json
import random
from dataclasses import astuple, dataclass
from datetime import date, datetime
from itertools import product
from typing import Any

from reference_app.caches import RecentValues, SharedCache
from reference_app.database import Databases, Session

CABINS = ("economy", "business")
MOST_PASSENGERS = 9
AIRPORT_SECONDS = 3600.0
SEARCH_L1_SECONDS = 30.0
SEARCH_L2_SECONDS = 300  # with a tenth of jitter, so that keys written together do not leave together

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


class FlightStore:
    """Reads airports and flights; notes on the session's trail which cache or server answered."""

    def __init__(self, databases: Databases, shared: SharedCache) -> None:
        self._databases, self._shared = databases, shared
        self._airports: RecentValues[str, tuple[Airport, ...]] = RecentValues(size=1000, age_seconds=AIRPORT_SECONDS)
        self._searches: RecentValues[str, tuple[Offer, ...]] = RecentValues(size=2000, age_seconds=SEARCH_L1_SECONDS)

    async def airport(self, code: str, session: Session) -> Airport | None:
        """Return the airport, or None when nobody knows it."""
        found = self._airports.get(code)
        session.trail["cache_level"] = "db" if found is None else "l1"
        if found is None:
            found = tuple(await self._databases.read(Airport, _AIRPORT, {"code": code}, session=session))
            self._airports.put(code, found)  # an unknown code is remembered too
        return found[0] if found else None

    async def search(self, wish: Wish, session: Session) -> tuple[Offer, ...]:
        """Return at most 50 offers with enough seats, by departure."""
        if (offers := self._searches.get(wish.key)) is not None:
            session.trail["cache_level"] = "l1"
            return offers
        offers = offers_from_bytes(await self._shared.get(wish.key))
        session.trail["cache_level"] = "db" if offers is None else "l2"
        if offers is None:
            parameters = {name: getattr(wish, name) for name in ("origin", "destination", "day", "passengers", "cabin")}
            offers = tuple(await self._databases.read(Offer, _SEARCH, parameters, session=session))
            age = SEARCH_L2_SECONDS + random.randint(0, SEARCH_L2_SECONDS // 10)  # noqa: S311 - jitter, no secret
            await self._shared.put(wish.key, offers_to_bytes(offers), age_seconds=age)
        self._searches.put(wish.key, offers)
        return offers

    async def flight(self, flight_id: int, session: Session) -> list[Offer]:
        """Return the flight's cabins, economy first; empty when there is no such flight. Not cached."""
        session.trail["cache_level"] = "db"
        return await self._databases.read(Offer, _ONE, {"flight_id": flight_id}, session=session)

    async def forget_searches(self, origin: str, destination: str, day: date) -> None:
        """Drop the searches that show this route and day from L2 and our own L1; other replicas' L1 ages out."""
        counts = range(1, MOST_PASSENGERS + 1)
        keys = [Wish(origin, destination, day, count, cabin).key for count, cabin in product(counts, CABINS)]
        for key in keys:
            self._searches.drop(key)
        await self._shared.drop(*keys)


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
