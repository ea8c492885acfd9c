"""Booking seats (held and confirmed in one step), reading one's own bookings, cancelling them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Path, Response

from reference_app.lsn import lsn_to_text
from reference_app.models import BookingAnswer, BookingRequest, Identity
from reference_app.parts import Parts
from reference_app.problems import Problem, documented
from reference_app.routes.caller import LAST_WRITE, PartsIn, SessionIn, UserIn
from reference_app.stores.bookings import Booking, KeyReused, Purchase, SoldOut

COOKIE_SECONDS = 60

router = APIRouter(prefix="/api/bookings", tags=["bookings"])

IdempotencyKey = Annotated[
    str,
    Header(
        alias="Idempotency-Key",
        pattern="^[A-Za-z0-9._:-]{8,64}$",
        examples=["3f1c9a70-order-1"],
        description="Chosen by the caller, one per purchase; the same key again gets the same booking.",
    ),
]


@router.post("", status_code=201, summary="Book seats", responses=documented(401, 404, 409, 413, 422, 503))
async def book(
    parts: PartsIn, session: SessionIn, user: UserIn, wish: BookingRequest, key: IdempotencyKey, response: Response
) -> BookingAnswer:
    """Takes the seats at the supplier's price, or none at all. The same key again: 200, the first booking."""
    now = parts.now()
    try:
        booking = await parts.bookings.booked_before(
            user_id=user.id,
            key=key,
            flight_id=wish.flight_id,
            cabin=wish.cabin,
            passengers=wish.passengers,
            session=session,
        )
        new = False
        if booking is None:
            price = await _price_cents(parts, session, wish)
            purchase = Purchase(user.id, key, wish.flight_id, wish.cabin, wish.passengers, price)
            booking, new = await parts.bookings.book(purchase, now=now, session=session)
    except SoldOut as error:
        raise Problem(409, "sold-out", str(error)) from error
    except KeyReused as error:
        raise Problem(422, "key-reused", f"Idempotency-Key: {error}") from error
    await _after_write(parts, booking, response)
    response.status_code = 201 if new else 200
    response.headers["Location"] = f"/api/bookings/{booking.id}"
    return BookingAnswer.of(booking)


@router.get("/{booking_id}", summary="One's own booking", responses=documented(401, 404, 422, 503))
async def booking(
    parts: PartsIn, session: SessionIn, user: UserIn, booking_id: Annotated[Identity, Path()]
) -> BookingAnswer:
    """The caller's booking; another's does not exist for them."""
    found = await parts.bookings.booking(booking_id, user_id=user.id, session=session)
    if found is None:
        raise _unknown(booking_id)
    return BookingAnswer.of(found)


@router.post("/{booking_id}/cancel", summary="Cancel one's own booking", responses=documented(401, 404, 422, 503))
async def cancel(
    parts: PartsIn, session: SessionIn, user: UserIn, booking_id: Annotated[Identity, Path()], response: Response
) -> BookingAnswer:
    """Gives the seats back, once; cancelling again changes nothing."""
    cancelled = await parts.bookings.cancel(booking_id, user_id=user.id, now=parts.now(), session=session)
    if cancelled is None:
        raise _unknown(booking_id)
    await _after_write(parts, cancelled, response)
    return BookingAnswer.of(cancelled)


async def _price_cents(parts: Parts, session: SessionIn, wish: BookingRequest) -> int:
    cabins = {offer.cabin: offer for offer in await parts.flights.flight(wish.flight_id, session)}
    if wish.cabin not in cabins:
        raise Problem(404, "unknown-flight", f"no flight has the id {wish.flight_id} and a {wish.cabin} cabin")
    # Asked before the transaction: a lock must not be held while an outside system takes its time.
    fares = await parts.supplier.ask(parts.now().timestamp())
    return fares.price_cents(wish.flight_id, cabins[wish.cabin].base_price_cents) * wish.passengers


async def _after_write(parts: Parts, booking: Booking, response: Response) -> None:
    await parts.flights.forget_searches(booking.origin, booking.destination, booking.day)
    position = lsn_to_text(await parts.databases.written_position())
    response.headers[LAST_WRITE] = position
    response.set_cookie(LAST_WRITE, position, max_age=COOKIE_SECONDS, path="/api", httponly=True, samesite="lax")


def _unknown(booking_id: int) -> Problem:
    return Problem(404, "unknown-booking", f"you have no booking with the id {booking_id}")
