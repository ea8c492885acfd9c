"""What callers send and get, checked and described for OpenAPI. pydantic stays here and in the routes."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from reference_app.stores.bookings import Booking
from reference_app.stores.flights import MOST_PASSENGERS, Offer
from reference_app.supplier import LiveFares

Cabin = Literal["economy", "business"]
AirportCode = Annotated[str, Field(pattern="^[A-Z]{3}$", examples=["JFK"], description="IATA code")]
Identity = Annotated[int, Field(ge=1, le=2**63 - 1, examples=[1])]
PartySize = Annotated[int, Field(ge=1, le=MOST_PASSENGERS, examples=[2])]


def _day(value: Any) -> Any:
    # pydantic would take "86400" for a day too: seconds since 1970.
    if isinstance(value, str):
        if len(value) != len("2030-01-31"):
            raise ValueError("expected a day as YYYY-MM-DD")
        return date.fromisoformat(value)
    return value


Day = Annotated[date, BeforeValidator(_day), Field(description="UTC day of departure", examples=["2030-01-31"])]


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
    """Seats of one cabin on one flight. Without a live price, `price_cents` is the base price of one seat."""

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
    def of(cls, offer: Offer, fares: LiveFares | None = None) -> CabinOffer:
        """Return the offer with the live price, if there is one."""
        base = offer.base_price_cents
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
    """Offers with live prices, by departure; at most 50."""

    model_config = ConfigDict(populate_by_name=True)

    origin: AirportCode
    destination: AirportCode
    date: Day
    passengers: PartySize
    cabin: Annotated[Cabin, Field(alias="class")]
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


class BookingRequest(BaseModel):
    """What to book. The price is the supplier's at the moment of booking."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"flight_id": 7, "class": "economy", "passengers": 2}]},
    )

    flight_id: Identity
    cabin: Annotated[Cabin, Field(alias="class")] = "economy"
    passengers: PartySize = 1


class BookingAnswer(BaseModel):
    """One's own booking. `price_cents` is for all passengers."""

    model_config = ConfigDict(populate_by_name=True)

    id: Identity
    flight_id: Identity
    origin: AirportCode
    destination: AirportCode
    date: Day
    cabin: Annotated[Cabin, Field(alias="class")]
    passengers: PartySize
    price_cents: Annotated[int, Field(examples=[37800])]
    currency: Literal["USD"] = "USD"
    status: Literal["confirmed", "cancelled"]
    created_at: datetime
    cancelled_at: datetime | None

    @classmethod
    def of(cls, booking: Booking) -> BookingAnswer:
        """Return the booking as its owner sees it."""
        return cls.model_construct(
            id=booking.id,
            flight_id=booking.flight_id,
            origin=booking.origin,
            destination=booking.destination,
            date=booking.day,
            cabin=booking.cabin,
            passengers=booking.passengers,
            price_cents=booking.price_cents,
            status=booking.status,
            created_at=booking.created_at.astimezone(UTC),
            cancelled_at=booking.cancelled_at.astimezone(UTC) if booking.cancelled_at else None,
        )
