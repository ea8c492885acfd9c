"""A streaming replica as the router sees it: what for, where, and whether it may be read now.

It is taken out when it lags, can't be reached or fails a read, and comes back when a look finds it fit again. Who looks
and how often is the router's business.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

import psycopg

from reference_app.database.pools import Pool
from reference_app.database.probe import Probe, log_position
from reference_app.lsn import lag_seconds

log = logging.getLogger(__name__)

REPLICA_ACQUIRE_SECONDS = 0.5  # then the primary is asked, which may take the whole time again
_REPLAYED = "SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()::text END"


class Replica:
    """One replica. purpose empty: it is read for everything."""

    def __init__(self, pool: Pool, *, name: str = "replica", purpose: str = "", region: str = "") -> None:
        self.pool, self.name, self.purpose, self.region = pool, name, purpose, region
        self._probe = Probe(pool)
        self.fit = False
        self.replayed = 0
        self.lag_seconds: float | None = None
        self.lag_bytes: int | None = None
        self.taken_out_total = 0

    def serves(self, purpose: str) -> bool:
        """Tell whether it is there for this purpose."""
        return self.purpose in ("", purpose)

    async def look(self, positions: Iterable[tuple[float, int]], *, now_seconds: float, max_lag_seconds: float) -> None:
        """Ask how far it has replayed. positions: where the primary stood when (see `lag_seconds`)."""
        known = list(positions)
        try:
            async with self._probe.connection() as connection:
                replayed = await log_position(connection, _REPLAYED)
        except (psycopg.Error, OSError) as error:
            self.take_out(f"it can't be reached: {type(error).__name__}")
            self.lag_seconds = self.lag_bytes = None
            await self.pool.check()
            return
        self.lag_bytes = max(0, known[-1][1] - replayed) if known else None
        self.lag_seconds = lag_seconds(known, replayed, now_seconds=now_seconds)
        lag = float("inf") if self.lag_seconds is None else self.lag_seconds  # unknown: further than we can tell
        if lag > max_lag_seconds:
            self.take_out("it lags")
        elif not self.fit:
            self.fit = True
            log.info("reading from %s", self.name)
        self.replayed = replayed if self.fit else 0

    async def close(self, seconds: float) -> None:
        """Close what it has open, waiting at most so long."""
        await self._probe.close()
        await self.pool.close(timeout=seconds)

    def take_out(self, reason: str) -> None:
        """Read from it no more until a look finds it fit."""
        if self.fit:
            self.taken_out_total += 1
            log.warning("reading from the primary, not from %s: %s", self.name, reason)
        self.fit = False
        self.replayed = 0
