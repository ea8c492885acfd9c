"""What callers send and get about bookings and payments, checked and described for OpenAPI."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from reference_app.models import PRINTABLE, AirportCode, Cabin, Day, Identity, PartySize, as_day
from reference_app.stores.bookings import Booking
from reference_app.stores.flights import MOST_PASSENGERS

PaymentMethod = Annotated[
    Literal["card", "card-declined", "card-timeout", "card-error"],
    Field(description="What to pay with. The ones but `card` have one outcome each, for trying things out."),
]
PaymentStatus = Literal["pending", "succeeded", "failed", "timed_out", "refunded"]
BookingStatus = Literal["held", "confirmed", "cancelled", "expired", "changed"]


class TravellerRequest(BaseModel):
    """Someone who flies."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=100, pattern=PRINTABLE, examples=["Ada Lovelace"])]
    document: Annotated[str, Field(pattern="^[A-Z0-9]{5,20}$", examples=["P1234567"])]
    birth_date: Annotated[date, BeforeValidator(as_day), Field(ge=date(1900, 1, 1), examples=["1990-12-10"])]


class BookingRequest(BaseModel):
    """What to book. The price is the one of the moment: base price, pricing rules, live fare.

    It is paid and confirmed at once, unless `hold` is set: then the seats are held for a while, to be paid later.
    """

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"flight_id": 7, "class": "economy", "passengers": 2}]},
    )

    flight_id: Identity
    cabin: Annotated[Cabin, Field(alias="class")] = "economy"
    passengers: PartySize = 1
    hold: bool = False
    payment_method: PaymentMethod = "card"
    travellers: Annotated[list[TravellerRequest], Field(max_length=MOST_PASSENGERS)] = []


class ChangeRequest(BaseModel):
    """What to fly instead. The new booking is paid in full, then the old one's money is given back."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"flight_id": 8, "class": "economy", "passengers": 2}]},
    )

    flight_id: Identity
    cabin: Annotated[Cabin, Field(alias="class")] = "economy"
    passengers: PartySize = 1
    payment_method: PaymentMethod = "card"


class PaymentRequest(BaseModel):
    """Which held booking to pay, and with what."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"booking_id": 1, "method": "card"}]})

    booking_id: Identity
    method: PaymentMethod = "card"


class ConfirmRequest(BaseModel):
    """What to pay a held booking with."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"payment_method": "card"}]})

    payment_method: PaymentMethod = "card"


class BookingAnswer(BaseModel):
    """One's own booking. `price_cents` is for all passengers; `payment` is the state of its last payment."""

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
    status: BookingStatus
    payment: PaymentStatus | None
    created_at: datetime
    cancelled_at: datetime | None
    hold_expires_at: datetime | None
    changed_from: Identity | None

    @classmethod
    def of(cls, booking: Booking) -> BookingAnswer:
        """Return the booking as its owner sees it."""
        held = booking.status == "held"
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
            payment=booking.payment,
            created_at=booking.created_at.astimezone(UTC),
            cancelled_at=booking.cancelled_at.astimezone(UTC) if booking.cancelled_at else None,
            hold_expires_at=booking.hold_expires_at.astimezone(UTC) if held and booking.hold_expires_at else None,
            changed_from=booking.changed_from,
        )


class BookingPage(BaseModel):
    """One's bookings, newest first. `next_cursor` goes on after the last; null at the end."""

    bookings: list[BookingAnswer]
    page: Annotated[int, Field(examples=[1])]
    limit: Annotated[int, Field(examples=[20])]
    next_cursor: str | None


class PaymentAnswer(BaseModel):
    """One's own payment. timed_out: the provider did not answer; a job finds out, look again soon."""

    model_config = ConfigDict(from_attributes=True)

    id: Identity
    booking_id: Identity
    amount_cents: Annotated[int, Field(examples=[37800])]
    currency: Annotated[str, Field(examples=["USD"])]
    method: PaymentMethod
    status: PaymentStatus
    failure: str | None
    created_at: datetime
