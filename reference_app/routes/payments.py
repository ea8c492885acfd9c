"""Paying for held bookings, and looking at one's own payments."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Response

from reference_app.booking_models import PaymentAnswer, PaymentRequest
from reference_app.models import Identity
from reference_app.problems import Problem, documented
from reference_app.routes.bookings import IdempotencyKey
from reference_app.routes.caller import PartsIn, SessionIn, UserIn
from reference_app.routes.written import after_write
from reference_app.selection import answer
from reference_app.stores.bookings import NotNow
from reference_app.stores.payments import PaymentUnderWay

router = APIRouter(prefix="/api/payments", tags=["payments"])
_OUTCOMES: dict[int | str, dict[str, Any]] = {
    200: {"description": "The same key again: the first payment", "model": PaymentAnswer},
    202: {"description": "The provider did not answer: look again soon", "model": PaymentAnswer},
}


@router.post(
    "",
    status_code=201,
    summary="Pay a held booking",
    response_model=PaymentAnswer,
    responses={**_OUTCOMES, **documented(401, 402, 404, 409, 413, 422, 503, 504)},
)
async def pay(parts: PartsIn, session: SessionIn, user: UserIn, wish: PaymentRequest, key: IdempotencyKey) -> Response:
    """Takes the money and confirms the booking. Declined: 402, and the seats stay held until the hold is over."""
    try:
        paid = await parts.purchases.pay(wish.booking_id, user_id=user.id, method=wish.method, key=key, session=session)
    except NotNow as error:
        raise Problem(409, "not-held", str(error)) from error
    except PaymentUnderWay as error:
        raise Problem(409, "payment-under-way", str(error)) from error
    if paid is None:
        raise Problem(404, "unknown-booking", f"you have no booking with the id {wish.booking_id}")
    payment, new = paid
    headers = {**await after_write(parts), "Location": f"/api/payments/{payment.id}"}
    if payment.status == "failed":
        raise Problem(402, "payment-failed", f"the payment was not taken: {payment.failure}", headers=headers)
    undecided = payment.status in ("pending", "timed_out")
    status = 202 if undecided else 201 if new else 200
    return answer(PaymentAnswer.model_validate(payment), status=status, headers=headers)


@router.get(
    "/{payment_id}",
    summary="One's own payment",
    response_model=PaymentAnswer,
    responses=documented(401, 404, 422, 503, 504),
)
async def payment(
    parts: PartsIn, session: SessionIn, user: UserIn, payment_id: Annotated[Identity, Path()]
) -> Response:
    """The caller's payment, as the primary has it; another's does not exist for them."""
    found = await parts.payments.payment(payment_id, user_id=user.id, session=session)
    if found is None:
        raise Problem(404, "unknown-payment", f"you have no payment with the id {payment_id}")
    return answer(PaymentAnswer.model_validate(found))
