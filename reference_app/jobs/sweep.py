"""The sweeps: lets holds expire, has undecided payments settled, has money that could not be given back tried again.

Safe to run in several places at once: each row is taken by one of them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from reference_app.database import DatabaseBusy, DatabaseDown
from reference_app.stores.bookings import BookingStore
from reference_app.stores.outbox import OutboxStore
from reference_app.stores.payments import PaymentStore

log = logging.getLogger(__name__)

MOST_AT_ONCE = 500
FORGET_EVERY_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class SweepTerms:
    """Real seconds between sweeps, until a silent payment is looked into, and until a failed refund is tried again."""

    every_seconds: float = 1.0
    settle_after_seconds: float = 30.0
    again_after_seconds: float = 300.0


class Sweep:
    """Looks for what is over. `now` is the clock in use: holds end by it."""

    def __init__(
        self,
        bookings: BookingStore,
        payments: PaymentStore,
        outbox: OutboxStore,
        *,
        terms: SweepTerms,
        now: Callable[[], datetime],
    ) -> None:
        self._bookings, self._payments, self._outbox = bookings, payments, outbox
        self._terms, self._now = terms, now
        self._forget_at = 0.0
        self.expired_total = 0
        self.settled_total = 0

    async def run(self, stopping: asyncio.Event) -> None:
        """Sweep until told to stop. A database that is away is waited for."""
        while not stopping.is_set():
            try:
                await self.sweep_once()
            except (DatabaseBusy, DatabaseDown) as error:
                log.warning("the sweep waits: %s: %s", type(error).__name__, error)
            with suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), self._terms.every_seconds)

    async def sweep_once(self) -> int:
        """Do what is due; return how many holds expired."""
        expired = 0
        while expired < MOST_AT_ONCE and await self._bookings.expire_one(self._now()) is not None:
            expired += 1
        self.expired_total += expired
        self.settled_total += await self._payments.settle_undecided(after_seconds=self._terms.settle_after_seconds)
        await self._outbox.order_anew("payments", after_seconds=self._terms.again_after_seconds)
        now = asyncio.get_running_loop().time()
        if now >= self._forget_at:
            self._forget_at = now + FORGET_EVERY_SECONDS
            await self._outbox.forget()
        return expired
