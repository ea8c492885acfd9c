"""Search, single flights and airports."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

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
from reference_app.paging import PageNumber
from reference_app.problems import Problem, documented
from reference_app.routes.caller import FieldsIn, PartsIn, SessionIn
from reference_app.selection import answer
from reference_app.stores.flights import MOST_OFFERS, Wish
from reference_app.stores.prices import ALL_PRICES
from reference_app.supplier import FARE_PERIOD_SECONDS

FURTHEST_DAYS = 365

router = APIRouter(prefix="/api", tags=["flights"])


@router.get(
    "/flights/search",
    summary="Search flights with live prices",
    response_model=SearchAnswer,
    responses=documented(422, 503, 504),
)
async def search(
    request: Request,
    parts: PartsIn,
    session: SessionIn,
    origin: Annotated[AirportCode, Query(examples=["ATL"])],
    destination: Annotated[AirportCode, Query(examples=["LHR"])],
    day: Annotated[Day, Query(alias="date")],
    fields: FieldsIn,
    passengers: Annotated[PartySize, Query()] = 1,
    cabin: Annotated[Cabin, Query(alias="class")] = "economy",
    page: PageNumber = 1,
    limit: Annotated[int, Query(ge=1, le=MOST_OFFERS, description="Offers on a page.", examples=[20])] = MOST_OFFERS,
) -> Response:
    """Offers with enough seats, by departure. Prices are base price, pricing rules, live fare, in this order."""
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
    prices = await parts.prices.prices(now, session)
    until = min([prices.hold_until(now + _fares_hold_for(now)), *(offer.departs_at for offer in offers)])
    tags = (*wish.tags, airport_tag(origin), airport_tag(destination), ALL_PRICES)
    make_public(request.scope, Public(tags, until, keep=parts.fares is not parts.supplier))
    body = SearchAnswer.model_construct(
        origin=origin,
        destination=destination,
        date=day,
        passengers=passengers,
        cabin=cabin,
        page=page,
        limit=limit,
        flights=[CabinOffer.of(offer, prices, fares) for offer in offers[(page - 1) * limit : page * limit]],
    )
    return answer(body, fields, items="flights")


@router.get(
    "/flights/{flight_id}",
    summary="One flight on one day",
    response_model=FlightAnswer,
    responses=documented(404, 422, 503, 504),
)
async def flight(
    request: Request, parts: PartsIn, session: SessionIn, flight_id: Annotated[Identity, Path()], fields: FieldsIn
) -> Response:
    """The flight's cabins, with seats and the prices of the moment but for the live fare."""
    offers = await parts.flights.flight(flight_id, session)
    if not offers:
        raise Problem(404, "unknown-flight", f"no flight has the id {flight_id}")
    one = offers[0]
    shown = (route_day_tag(one.origin, one.destination, one.departs_at.date()), route_tag(one.origin, one.destination))
    now = parts.now()
    prices = await parts.prices.prices(now, session)
    priced = (airport_tag(one.origin), airport_tag(one.destination), ALL_PRICES)
    until = prices.hold_until(now + timedelta(days=1))
    make_public(request.scope, Public((flight_tag(flight_id), *shown, *priced), until))
    cabins = [CabinOffer.of(offer, prices) for offer in offers]
    return answer(FlightAnswer.model_construct(flight_id=flight_id, cabins=cabins), fields, items="cabins")


@router.get(
    "/airports/{code}",
    summary="One airport",
    response_model=AirportAnswer,
    responses=documented(404, 422, 503, 504),
)
async def airport(
    request: Request, parts: PartsIn, session: SessionIn, code: Annotated[AirportCode, Path()], fields: FieldsIn
) -> Response:
    """The airport with this IATA code."""
    found = await parts.flights.airport(code, session)
    if found is None:
        raise Problem(404, "unknown-airport", f"no airport has the code {code}")
    make_public(request.scope, Public((airport_tag(code),)))
    return answer(AirportAnswer.model_validate(found), fields)


def _fares_hold_for(now: datetime) -> timedelta:
    return timedelta(seconds=FARE_PERIOD_SECONDS - now.timestamp() % FARE_PERIOD_SECONDS)


def _check_day(day: date, today: date) -> None:
    last = today + timedelta(days=FURTHEST_DAYS)
    if not today <= day <= last:
        kind = "past-date" if day < today else "far-date"
        raise Problem(422, kind, f"date: expected a UTC day from {today} to {last}, got {day}")
