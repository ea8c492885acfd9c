"""Where a search gets its fares: live from the supplier every time, or once per fare hour and replica.

Live is the rule: the supplier's few connections are what bounds a replica, as an outside system does. Kept fares are
the same fares (they hold for the hour), without the bound.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from reference_app.supplier import FARE_PERIOD_SECONDS, FareSupplier, LiveFares


class Fares(Protocol):
    """Whom a search asks."""

    async def ask(self, now_seconds: float) -> LiveFares:
        """Return the fares of the hour of `now_seconds` (epoch, of the clock in use). Raises SupplierBusy."""


class FaresOfTheHour:
    """Asks the supplier once for each fare period."""

    def __init__(self, supplier: FareSupplier) -> None:
        self._supplier, self._fares = supplier, LiveFares(hour=-1)
        self._asking = asyncio.Lock()

    async def ask(self, now_seconds: float) -> LiveFares:
        """Return the fares of the hour, asked at most once. Raises SupplierBusy."""
        hour = int(now_seconds // FARE_PERIOD_SECONDS)
        if self._fares.hour == hour:
            return self._fares
        async with self._asking:
            if self._fares.hour != hour:
                self._fares = await self._supplier.ask(now_seconds)
        return self._fares
