"""Search, single flights and airports."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request

from reference_app.caching.answers import Public, make_public
from reference_app.caching.tags import airport_tag, flight_tag, route_day_tag, route_tag
from reference_app.models import (
    AirportAnswer,
    AirportCode,
    Cabin,
    CabinOffer,
    Day,
    FlightAnswer,
    Identity,
    PartySize,
    SearchAnswer,
)
from reference_app.problems import Problem, documented
from reference_app.routes.caller import PartsIn, SessionIn
from reference_app.stores.flights import Wish
from reference_app.supplier import FARE_PERIOD_SECONDS

FURTHEST_DAYS = 365

router = APIRouter(prefix="/api", tags=["flights"])


@router.get("/flights/search", summary="Search flights with live prices", responses=documented(422, 503))
async def search(
    request: Request,
    parts: PartsIn,
    session: SessionIn,
    origin: Annotated[AirportCode, Query(examples=["ATL"])],
    destination: Annotated[AirportCode, Query(examples=["LHR"])],
    day: Annotated[Day, Query(alias="date")],
    passengers: Annotated[PartySize, Query()] = 1,
    cabin: Annotated[Cabin, Query(alias="class")] = "economy",
) -> SearchAnswer:
    """Offers with enough seats, by departure. Even a cached search asks the supplier for its fares."""
    now = parts.now()
    _check_day(day, now.date())
    if origin == destination:
        raise Problem(422, "same-airport", f"origin and destination: expected two airports, got {origin} twice")
    for name, code in (("origin", origin), ("destination", destination)):
        if await parts.flights.airport(code, session) is None:
            raise Problem(422, "unknown-airport", f"{name}: no airport has the code {code}")
    # First the supplier, which may turn us away: a shed request then costs the database nothing.
    fares = await parts.fares.ask(now.timestamp())
    wish = Wish(origin, destination, day, passengers, cabin)
    offers = [offer for offer in await parts.flights.search(wish, session) if offer.departs_at > now]
    until = min([now + _fares_hold_for(now), *(offer.departs_at for offer in offers)])
    make_public(request.scope, Public(wish.tags, until, keep=parts.fares is not parts.supplier))
    return SearchAnswer.model_construct(
        origin=origin,
        destination=destination,
        date=day,
        passengers=passengers,
        cabin=cabin,
        flights=[CabinOffer.of(offer, fares) for offer in offers],
    )


@router.get("/flights/{flight_id}", summary="One flight on one day", responses=documented(404, 422, 503))
async def flight(
    request: Request, parts: PartsIn, session: SessionIn, flight_id: Annotated[Identity, Path()]
) -> FlightAnswer:
    """The flight's cabins, seats and base prices."""
    offers = await parts.flights.flight(flight_id, session)
    if not offers:
        raise Problem(404, "unknown-flight", f"no flight has the id {flight_id}")
    one = offers[0]
    shown = (route_day_tag(one.origin, one.destination, one.departs_at.date()), route_tag(one.origin, one.destination))
    make_public(request.scope, Public((flight_tag(flight_id), *shown)))
    return FlightAnswer(flight_id=flight_id, cabins=[CabinOffer.of(offer) for offer in offers])


@router.get("/airports/{code}", summary="One airport", responses=documented(404, 422, 503))
async def airport(
    request: Request, parts: PartsIn, session: SessionIn, code: Annotated[AirportCode, Path()]
) -> AirportAnswer:
    """The airport with this IATA code."""
    found = await parts.flights.airport(code, session)
    if found is None:
        raise Problem(404, "unknown-airport", f"no airport has the code {code}")
    make_public(request.scope, Public((airport_tag(code),)))
    return AirportAnswer.model_validate(found)


def _fares_hold_for(now: datetime) -> timedelta:
    return timedelta(seconds=FARE_PERIOD_SECONDS - now.timestamp() % FARE_PERIOD_SECONDS)


def _check_day(day: date, today: date) -> None:
    last = today + timedelta(days=FURTHEST_DAYS)
    if not today <= day <= last:
        kind = "past-date" if day < today else "far-date"
        raise Problem(422, kind, f"date: expected a UTC day from {today} to {last}, got {day}")
