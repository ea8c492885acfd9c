"""Booking seats, held, paid and confirmed at once or in steps; reading, changing and cancelling one's own bookings."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Response

from reference_app.booking_models import BookingAnswer, BookingRequest, ChangeRequest, ConfirmRequest
from reference_app.models import Identity
from reference_app.parts import Parts
from reference_app.problems import Problem, documented
from reference_app.routes.caller import FieldsIn, PartsIn, SessionIn, UserIn
from reference_app.routes.written import after_write
from reference_app.selection import answer
from reference_app.stores.bookings import Booking, KeyReused, NotNow, Purchase, SoldOut, Traveller
from reference_app.stores.payments import PaymentUnderWay

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
BookingId = Annotated[Identity, Path()]
_OUTCOMES: dict[int | str, dict[str, Any]] = {
    200: {"description": "The same key again: the first booking", "model": BookingAnswer},
    202: {"description": "The seats are held, the payment is not decided yet: look again soon", "model": BookingAnswer},
}


@router.post(
    "",
    status_code=201,
    summary="Book seats",
    response_model=BookingAnswer,
    responses={**_OUTCOMES, **documented(401, 402, 404, 409, 413, 422, 503, 504)},
)
async def book(parts: PartsIn, session: SessionIn, user: UserIn, wish: BookingRequest, key: IdempotencyKey) -> Response:
    """Takes the seats and the money, or neither. With `hold` the seats are kept for a while, to be paid later."""
    if wish.travellers and len(wish.travellers) != wish.passengers:
        detail = f"travellers: expected {wish.passengers}, one for each passenger, got {len(wish.travellers)}"
        raise Problem(422, "travellers", detail)
    travellers = tuple(Traveller(one.name, one.document, one.birth_date) for one in wish.travellers)
    purchase = Purchase(user.id, key, wish.flight_id, wish.cabin, wish.passengers, 0, travellers)
    return await _buy(parts, session, purchase, None if wish.hold else wish.payment_method)


@router.get(
    "/{booking_id}",
    summary="One's own booking",
    response_model=BookingAnswer,
    responses=documented(401, 404, 422, 503, 504),
)
async def booking(
    parts: PartsIn, session: SessionIn, user: UserIn, booking_id: BookingId, fields: FieldsIn
) -> Response:
    """The caller's booking; another's does not exist for them."""
    found = await parts.bookings.booking(booking_id, user_id=user.id, session=session)
    if found is None:
        raise _unknown(booking_id)
    return answer(BookingAnswer.of(found), fields)


@router.post(
    "/{booking_id}/confirm",
    summary="Pay and confirm a held booking",
    response_model=BookingAnswer,
    responses={202: _OUTCOMES[202], **documented(401, 402, 404, 409, 413, 422, 503, 504)},
)
async def confirm(
    parts: PartsIn,
    session: SessionIn,
    user: UserIn,
    booking_id: BookingId,
    wish: ConfirmRequest,
    key: IdempotencyKey,
) -> Response:
    """Pays the held seats. A payment that is declined leaves them held, for another try. Confirmed again: unchanged."""
    found = await parts.bookings.current(booking_id, user_id=user.id, session=session)
    if found is None:
        raise _unknown(booking_id)
    if found.status != "confirmed":
        try:
            await parts.purchases.pay(booking_id, user_id=user.id, method=wish.payment_method, key=key, session=session)
        except NotNow as error:
            raise Problem(409, "not-held", str(error)) from error
        except PaymentUnderWay as error:
            raise Problem(409, "payment-under-way", str(error)) from error
        found = await parts.bookings.current(booking_id, user_id=user.id, session=session) or found
    return await _decided(parts, found, status=200)


@router.post(
    "/{booking_id}/cancel",
    summary="Cancel one's own booking",
    response_model=BookingAnswer,
    responses=documented(401, 404, 409, 422, 503, 504),
)
async def cancel(parts: PartsIn, session: SessionIn, user: UserIn, booking_id: BookingId) -> Response:
    """Gives the seats back, once, and the money soon after; cancelling again changes nothing."""
    try:
        cancelled = await parts.bookings.cancel(booking_id, user_id=user.id, now=parts.now(), session=session)
    except NotNow as error:
        raise Problem(409, "not-cancellable", str(error)) from error
    if cancelled is None:
        raise _unknown(booking_id)
    return answer(BookingAnswer.of(cancelled), headers=await after_write(parts, cancelled))


@router.post(
    "/{booking_id}/change",
    status_code=201,
    summary="Change to another flight, cabin or party",
    response_model=BookingAnswer,
    responses={**_OUTCOMES, **documented(401, 402, 404, 409, 413, 422, 503, 504)},
)
async def change(
    parts: PartsIn,
    session: SessionIn,
    user: UserIn,
    booking_id: BookingId,
    wish: ChangeRequest,
    key: IdempotencyKey,
) -> Response:
    """Makes a new booking that takes the place of a confirmed one: either both things happen, or none.

    The new one is paid in full at the price of the moment; what was paid for the old one is given back.
    """
    old = await parts.bookings.current(booking_id, user_id=user.id, session=session)
    if old is None:
        raise _unknown(booking_id)
    purchase = Purchase(user.id, key, wish.flight_id, wish.cabin, wish.passengers, 0, changed_from=booking_id)
    return await _buy(parts, session, purchase, wish.payment_method, old=old)


async def _buy(
    parts: Parts, session: SessionIn, wanted: Purchase, method: str | None, old: Booking | None = None
) -> Response:
    try:
        # A repetition is found when its key is taken; only a change that was made has to be found before it is refused.
        booking = await parts.bookings.booked_before(wanted, session) if old is not None else None
        new = False
        if booking is None:
            if old is not None and old.status != "confirmed":
                raise Problem(409, "not-changeable", f"booking {old.id} is {old.status}, not confirmed")
            purchase = wanted.priced(await _price_cents(parts, session, wanted))
            bought = await parts.purchases.buy(purchase, method=method, session=session)
            if bought is None:
                raise Problem(409, "key-in-use", "Idempotency-Key: another request with this key is under way")
            booking, new = bought
    except SoldOut as error:
        raise Problem(409, "sold-out", str(error)) from error
    except KeyReused as error:
        raise Problem(422, "key-reused", f"Idempotency-Key: {error}") from error
    return await _decided(parts, booking, status=201 if new else 200)


async def _decided(parts: Parts, booking: Booking, *, status: int) -> Response:
    headers = await after_write(parts, booking)
    headers["Location"] = f"/api/bookings/{booking.id}"
    if booking.payment == "failed" and booking.status in ("held", "cancelled"):
        held = "the seats are still held" if booking.status == "held" else "the seats were given back"
        raise Problem(402, "payment-failed", f"the payment was not taken; {held}", headers=headers)
    if status == 201 and booking.status not in ("held", "confirmed"):
        detail = f"the seats were {booking.status} while they were paid; what was taken is given back"
        raise Problem(409, "not-confirmed", detail, headers=headers)
    if booking.status == "held" and booking.payment is not None:
        status = 202
    return answer(BookingAnswer.of(booking), status=status, headers=headers)


async def _price_cents(parts: Parts, session: SessionIn, wish: Purchase) -> int:
    cabins = {offer.cabin: offer for offer in await parts.flights.flight(wish.flight_id, session)}
    offer = cabins.get(wish.cabin)
    if offer is None:
        raise Problem(404, "unknown-flight", f"no flight has the id {wish.flight_id} and a {wish.cabin} cabin")
    # Asked before the transaction: a lock must not be held while an outside system takes its time.
    now = parts.now()
    fares = await parts.supplier.ask(now.timestamp())
    prices = await parts.prices.prices(now, session)
    base = prices.cents(offer.base_price_cents, origin=offer.origin, destination=offer.destination, cabin=offer.cabin)
    return fares.price_cents(wish.flight_id, base) * wish.passengers


def _unknown(booking_id: int) -> Problem:
    return Problem(404, "unknown-booking", f"you have no booking with the id {booking_id}")
