"""A connection of its own for looking at a server: a pool whose connections are all in use must not look dead."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import psycopg

from reference_app.database.pools import Pool
from reference_app.lsn import lsn_from_text

PROBE_SECONDS = 1.0


class Probe:
    """Connects when asked, keeps the connection while it works, and begins anew after any failure."""

    def __init__(self, pool: Pool) -> None:
        self._url, self._name = str(pool.conninfo), f"{pool.name} probe"
        self._connection: psycopg.AsyncConnection[Any] | None = None

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        """Give the connection, for a second at most. Raises psycopg.Error, OSError or TimeoutError."""
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                if self._connection is None:
                    self._connection = await psycopg.AsyncConnection.connect(
                        self._url, autocommit=True, application_name=self._name
                    )
                yield self._connection
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Close the connection, if there is one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(psycopg.Error, OSError):
                await connection.close()


async def log_position(connection: psycopg.AsyncConnection[Any], query: Any) -> int:
    """Return the log position that the query answers. Raises psycopg.OperationalError when it answers none."""
    row = await (await connection.execute(query)).fetchone()
    if row is None or row[0] is None:
        raise psycopg.OperationalError("expected a log position: is this server a streaming replica?")
    return lsn_from_text(row[0])
