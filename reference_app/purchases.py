"""Buying: hold the seats, take the money, confirm; or give the seats back. The one place where the three meet.

No lock and no transaction is held while the payment provider takes its time. Whatever happens in between (a kill, a
provider that does not answer, a hold that ends), rows say how far a purchase came, and a job brings it to its end:
seats and money never stay apart. What rows there are is the stores' business.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from reference_app.database import Session
from reference_app.payment_provider import ChargeDeclined, PaymentProvider, ProviderFailed, ProviderSilent
from reference_app.stores.bookings import Booking, BookingStore, Purchase
from reference_app.stores.payments import Payment, PaymentStore

Now = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class PurchaseTerms:
    """How long unpaid seats are held (of the clock in use)."""

    hold: timedelta = timedelta(minutes=15)


class Purchases:
    """Buys for users; settles what was left undecided. `now` is the clock in use."""

    def __init__(
        self,
        bookings: BookingStore,
        payments: PaymentStore,
        provider: PaymentProvider,
        *,
        terms: PurchaseTerms,
        now: Now,
    ) -> None:
        self._bookings, self._payments, self._provider = bookings, payments, provider
        self._terms, self._now = terms, now
        self.holds_total = 0
        self.payments_total: Counter[str] = Counter(succeeded=0, failed=0, timed_out=0)

    async def buy(self, purchase: Purchase, *, method: str | None, session: Session) -> tuple[Booking, bool] | None:
        """Hold the seats and, with a method, pay for them at once; return the booking and whether it is new.

        A payment that fails gives the seats back (status cancelled, payment failed); one that is not answered leaves
        them held. None when the key is in use and its booking can't be seen yet. Raises SoldOut, KeyReused.
        """
        now = self._now()
        held = await self._bookings.hold(
            purchase, now=now, hold_expires_at=now + self._terms.hold, method=method, session=session
        )
        if held is None:
            earlier = await self._bookings.booked_before(purchase, session)
            return (earlier, False) if earlier else None
        self.holds_total += 1
        if held.payment_id is not None and method is not None:
            key = Payment.key_of(held.payment_id)
            charge = _Charge(held.payment_id, held.booking_id, key, purchase.price_cents, method, keep_hold=False)
            return await self._charge(charge, session), True
        booking = await self._bookings.current(held.booking_id, user_id=purchase.user_id, session=session)
        return (booking, True) if booking else None

    async def pay(
        self, booking_id: int, *, user_id: int, method: str, key: str, session: Session
    ) -> tuple[Payment, bool] | None:
        """Pay the user's held booking; return the payment and whether it is new, None when there is no such booking.

        A payment that fails leaves the hold for another try. Raises NotNow, PaymentUnderWay.
        """
        begun = await self._payments.begin(
            booking_id, user_id=user_id, method=method, key=key, now=self._now(), session=session
        )
        if begun is None:
            return None
        payment, new = begun
        if new:
            await self._charge(_charge_of(payment, keep_hold=True), session)
        decided = await self._payments.payment(payment.id, user_id=user_id, session=session)
        return (decided or payment), new

    async def settle(self, payment_id: int) -> None:
        """Find out what became of a payment: charge again by the same key while the hold lasts, else make it void.

        Raises ProviderSilent or ProviderFailed when the provider still does not say: to be tried again.
        """
        session = Session()
        payment = await self._payments.payment(payment_id, user_id=None, session=session)
        if payment is None or payment.status not in ("pending", "timed_out"):
            return
        now = self._now()
        booking = await self._bookings.current(payment.booking_id, user_id=payment.user_id, session=session)
        lasts = booking is not None and booking.hold_expires_at is not None and booking.hold_expires_at > now
        if booking is None or booking.status != "held" or not lasts:
            await self._provider.give_back(payment.provider_key)
            await self._not_taken(payment, "made void", now)
            return
        try:
            reference = await self._provider.charge(
                payment.provider_key, cents=payment.amount_cents, method=payment.method, again=True
            )
        except ChargeDeclined as error:
            await self._not_taken(payment, str(error), now)
            return
        self.payments_total["succeeded"] += 1
        await self._payments.succeeded(payment.id, reference, booking_id=payment.booking_id, now=now, session=session)

    async def give_back(self, payment_id: int) -> None:
        """Return a payment's money; safe to repeat. The row is marked by the job's own transaction."""
        await self._provider.give_back(Payment.key_of(payment_id))

    async def _not_taken(self, payment: Payment, why: str, now: datetime) -> None:
        self.payments_total["failed"] += 1
        await self._payments.failed(
            payment.id, why, booking_id=payment.booking_id, keep_hold=False, now=now, session=Session()
        )

    async def _charge(self, charge: _Charge, session: Session) -> Booking:
        try:
            reference = await self._provider.charge(charge.key, cents=charge.cents, method=charge.method)
        except ProviderSilent as error:
            self.payments_total["timed_out"] += 1
            return await self._payments.unanswered(
                charge.payment_id, str(error), booking_id=charge.booking_id, session=session
            )
        except (ChargeDeclined, ProviderFailed) as error:
            self.payments_total["failed"] += 1
            return await self._payments.failed(
                charge.payment_id,
                str(error),
                booking_id=charge.booking_id,
                keep_hold=charge.keep_hold,
                now=self._now(),
                session=session,
            )
        self.payments_total["succeeded"] += 1
        return await self._payments.succeeded(
            charge.payment_id, reference, booking_id=charge.booking_id, now=self._now(), session=session
        )


@dataclass(frozen=True, slots=True)
class _Charge:
    payment_id: int
    booking_id: int
    key: str
    cents: int
    method: str
    keep_hold: bool


def _charge_of(payment: Payment, *, keep_hold: bool) -> _Charge:
    return _Charge(
        payment.id, payment.booking_id, payment.provider_key, payment.amount_cents, payment.method, keep_hold
    )
