"""What callers send and get, checked and described for OpenAPI. pydantic stays here and in the routes."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from reference_app.stores.flights import MOST_PASSENGERS, Offer
from reference_app.stores.prices import Prices
from reference_app.supplier import LiveFares

Cabin = Literal["economy", "business"]
AirportCode = Annotated[str, Field(pattern="^[A-Z]{3}$", examples=["JFK"], description="IATA code")]
Identity = Annotated[int, Field(ge=1, le=2**63 - 1, examples=[1])]
PartySize = Annotated[int, Field(ge=1, le=MOST_PASSENGERS, examples=[2])]


Region = Literal["us-east", "us-west", "eu-west"]
# No control characters: PostgreSQL keeps no NUL, and a mail's header no line break.
PRINTABLE = r"^[^\x00-\x1f\x7f]+$"


def as_day(value: Any) -> Any:
    """Return a day for its ISO text; anything else is left to pydantic. Raises ValueError."""
    # pydantic would take "86400" for a day too: seconds since 1970.
    if isinstance(value, str):
        if len(value) != len("2030-01-31"):
            raise ValueError("expected a day as YYYY-MM-DD")
        return date.fromisoformat(value)
    return value


Day = Annotated[date, BeforeValidator(as_day), Field(description="UTC day of departure", examples=["2030-01-31"])]


class AirportAnswer(BaseModel):
    """An airport."""

    model_config = ConfigDict(from_attributes=True)

    code: AirportCode
    name: Annotated[str, Field(examples=["John F. Kennedy"])]
    city: Annotated[str, Field(examples=["New York"])]
    country: Annotated[str, Field(examples=["US"])]
    region: Annotated[str, Field(examples=["north-america"])]
    latitude: Annotated[float, Field(examples=[40.64])]
    longitude: Annotated[float, Field(examples=[-73.78])]


class CabinOffer(BaseModel):
    """Seats of one cabin on one flight. `price_cents` is the price of one seat; with a live fare in a search only."""

    model_config = ConfigDict(populate_by_name=True)

    flight_id: Identity
    number: Annotated[str, Field(examples=["TG7"])]
    origin: AirportCode
    destination: AirportCode
    departs_at: datetime
    arrives_at: datetime
    status: Annotated[str, Field(examples=["scheduled"])]
    cabin: Annotated[Cabin, Field(alias="class")]
    seats_left: Annotated[int, Field(examples=[42])]
    price_cents: Annotated[int, Field(examples=[18900])]
    currency: Literal["USD"] = "USD"

    @classmethod
    def of(cls, offer: Offer, prices: Prices, fares: LiveFares | None = None) -> CabinOffer:
        """Return the offer at its price: base price, rules, and the live fare, if there is one."""
        place = {"origin": offer.origin, "destination": offer.destination, "cabin": offer.cabin}
        base = prices.cents(offer.base_price_cents, **place)
        return cls.model_construct(
            flight_id=offer.flight_id,
            number=offer.number,
            origin=offer.origin,
            destination=offer.destination,
            departs_at=offer.departs_at,
            arrives_at=offer.arrives_at,
            status=offer.status,
            cabin=offer.cabin,
            seats_left=offer.seats_left,
            price_cents=base if fares is None else fares.price_cents(offer.flight_id, base),
        )


class SearchAnswer(BaseModel):
    """Offers with live prices, by departure; at most 50 in all."""

    model_config = ConfigDict(populate_by_name=True)

    origin: AirportCode
    destination: AirportCode
    date: Day
    passengers: PartySize
    cabin: Annotated[Cabin, Field(alias="class")]
    page: Annotated[int, Field(examples=[1])]
    limit: Annotated[int, Field(examples=[50])]
    flights: list[CabinOffer]


class FlightAnswer(BaseModel):
    """One flight on one day, with its cabins at base prices."""

    flight_id: Identity
    cabins: list[CabinOffer]


class UserAnswer(BaseModel):
    """The caller."""

    model_config = ConfigDict(from_attributes=True)

    id: Identity
    email: Annotated[str, Field(examples=["user1@example.com"])]
    name: Annotated[str, Field(examples=["User 1"])]
    home_region: Annotated[str, Field(examples=["us-east"])]


class UserChange(BaseModel):
    """What to change of oneself; what is not named stays."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"name": "Ada Lovelace"}]})

    name: Annotated[str, Field(min_length=1, max_length=100, pattern=PRINTABLE, examples=["Ada Lovelace"])] | None = (
        None
    )
    home_region: Region | None = None
