"""What the seed consists of, made from a scale and a seed alone: the same in, the same out.

Pure: rows come out, and the loader puts them into the database.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import permutations

from reference_app.stores.flights import Airport
from reference_app.tokens import token_hash, token_of_user

DAYS_AHEAD = 60
FEWEST_FLIGHTS = 60
FEWEST_USERS = 100
SEATS = {"economy": 150, "business": 20}
CABIN_PRICE = {"economy": 1.0, "business": 3.2}
REGIONS = ("us-east", "us-west", "eu-west")
SPEED_KM_PER_HOUR = 820.0


@dataclass(frozen=True, slots=True)
class ScheduledFlight:
    """A flight of the timetable, flown once a day. `departs_after` counts from the start of the UTC day."""

    id: int
    number: str
    origin: str
    destination: str
    departs_after: timedelta
    duration: timedelta
    base_price_cents: int


@dataclass(frozen=True, slots=True)
class FlyingDay:
    """One flight on one day."""

    id: int
    flight: ScheduledFlight
    day: date
    departs_at: datetime
    arrives_at: datetime


def timetable(airports: list[Airport], *, scale: float, seed: int) -> list[ScheduledFlight]:
    """Return the daily flights: 1,667 at scale 1 (100,000 in 60 days), at least 60. Large pairs first."""
    rng = random.Random(f"{seed}:timetable")  # noqa: S311 - reproducible data, not a secret
    pairs = sorted(
        permutations(range(len(airports)), 2), key=lambda pair: ((pair[0] + 1) * (pair[1] + 1), pair)
    )  # rank x rank: a gravity model's order
    count = max(FEWEST_FLIGHTS, round(100_000 / DAYS_AHEAD * scale))
    return [
        _flight(number, airports[origin], airports[destination], rng)
        for number, (origin, destination) in ((n, pairs[(n - 1) % len(pairs)]) for n in range(1, count + 1))
    ]


def flying_days(
    flights: list[ScheduledFlight], *, first_day: date, last_day: date, first_id: int
) -> Iterator[FlyingDay]:
    """Yield each flight on each day (both ends included), numbered on from `first_id`, a day at a time."""
    number = first_id
    for offset in range((last_day - first_day).days + 1):
        day = first_day + timedelta(days=offset)
        for flight in flights:
            departs_at = datetime.combine(day, time(), UTC) + flight.departs_after
            yield FlyingDay(number, flight, day, departs_at, departs_at + flight.duration)
            number += 1


def user_rows(*, scale: float, token_seed: str) -> Iterator[tuple[int, str, str, str, bytes]]:
    """Yield users (id, email, name, region, token hash): 50,000 at scale 1, at least 100, with ids from 1."""
    for number in range(1, max(FEWEST_USERS, round(50_000 * scale)) + 1):
        region = REGIONS[number % len(REGIONS)]
        hashed = token_hash(token_of_user(number, token_seed))
        yield number, f"user{number}@example.com", f"User {number}", region, hashed


def distance_km(one: Airport, other: Airport) -> float:
    """Return the great-circle distance by the haversine formula on a sphere of 6371 km."""
    north_1, north_2 = math.radians(one.latitude), math.radians(other.latitude)
    east = math.radians(other.longitude - one.longitude)
    half = math.sin((north_2 - north_1) / 2) ** 2 + math.cos(north_1) * math.cos(north_2) * math.sin(east / 2) ** 2
    return 2 * 6371.0 * math.asin(math.sqrt(half))


def _flight(number: int, origin: Airport, destination: Airport, rng: random.Random) -> ScheduledFlight:
    distance = distance_km(origin, destination)
    minutes = 35 + round(distance / SPEED_KM_PER_HOUR * 60)
    return ScheduledFlight(
        id=number,
        number=f"TG{number}",
        origin=origin.code,
        destination=destination.code,
        departs_after=timedelta(minutes=rng.randrange(5 * 60, 23 * 60, 5)),
        duration=timedelta(minutes=minutes),
        base_price_cents=round((35 + 0.085 * distance) * rng.uniform(0.85, 1.25)) * 100,
    )
