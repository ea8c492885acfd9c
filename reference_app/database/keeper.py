"""Keeps the quarters of bookings a year ahead while the app runs: a look each hour of the app's clock."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import psycopg

from reference_app.database.partitions import MAKE, MISSING, needed_span

log = logging.getLogger(__name__)

EVERY = timedelta(hours=1)


class PartitionKeeper:
    """Looks and makes. Any number of replicas may: the functions of the schema lock each other out."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._looked_at: datetime | None = None
        self.missing: int | None = None  # None: not looked yet

    async def keep(self, connection: psycopg.AsyncConnection[Any]) -> None:
        """Make the missing quarters if it is time to look. A failure is told and tried again at the next call."""
        now = self._now()
        if self._looked_at is not None and now - self._looked_at < EVERY:
            return
        span = needed_span(now)
        try:
            self.missing = await self._count(connection, span)
            if self.missing:
                for (name,) in await (await connection.execute(MAKE, span)).fetchall():
                    log.info("made the partition %s", name)
                self.missing = await self._count(connection, span)
        except (psycopg.errors.UndefinedFunction, psycopg.errors.LockNotAvailable) as error:
            log.warning("the quarters of bookings could not be looked after: %s", type(error).__name__)
            return
        self._looked_at = now

    async def _count(self, connection: psycopg.AsyncConnection[Any], span: tuple[datetime, datetime]) -> int:
        return len(await (await connection.execute(MISSING, span)).fetchall())
