"""Connections to one server: a psycopg pool on the terms set, with timings and statement limits.

psycopg's pool waits longer and longer between its attempts; a connection here is tried again every 200 ms instead, for
as long as one attempt to connect may take, so that a server that comes back is used at once.
"""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
from psycopg_pool import AsyncConnectionPool

from reference_app.database.settings import PoolTerms
from reference_app.database.statements import StatementTimings, TimedCursor

STATEMENT_MILLISECONDS = 3000
USUAL_TERMS = PoolTerms()


class Connection(psycopg.AsyncConnection[Any]):
    """A connection that knows where to note its timings and what its statements are limited to."""

    timings: StatementTimings | None = None
    statement_ms: int = STATEMENT_MILLISECONDS

    async def limit_statements(self, milliseconds: int) -> None:
        """Let each further statement take at most so long; costs a round trip only when it changes something."""
        if milliseconds != self.statement_ms:
            await self.execute("SELECT set_config('statement_timeout', %s, false)", [str(milliseconds)])
            self.statement_ms = milliseconds


Pool = AsyncConnectionPool[Connection]


def open_pool(
    url: str,
    *,
    name: str,
    read_only: bool = False,
    terms: PoolTerms = USUAL_TERMS,
    timings: StatementTimings | None = None,
    session_options: str = "",
) -> Pool:
    """Return a pool on these terms, not yet opened."""
    options = f"-c statement_timeout={STATEMENT_MILLISECONDS} -c timezone=UTC{session_options}"
    if read_only:
        options += " -c default_transaction_read_only=on"
    return AsyncConnectionPool(
        url,
        connection_class=_retrying(terms, timings),
        min_size=terms.min_size,
        max_size=terms.max_size,
        timeout=terms.acquire_seconds,
        max_idle=terms.idle_seconds,
        reconnect_timeout=terms.connect_seconds,
        open=False,
        name=name,
        kwargs={
            "autocommit": True,  # a read is one round trip
            "application_name": name,
            "options": options,
        },
    )


def _retrying(terms: PoolTerms, timings: StatementTimings | None) -> type[Connection]:
    class Retrying(Connection):
        @classmethod
        async def connect(cls, conninfo: str = "", **options: Any) -> Any:
            try:
                async with asyncio.timeout(terms.connect_seconds):
                    connection = await connected(super().connect, conninfo, options, terms.retry_seconds)
            except TimeoutError:
                raise psycopg.OperationalError(f"no connection within {terms.connect_seconds:g} s") from None
            if timings is not None:
                connection.timings = timings
                connection.cursor_factory = TimedCursor
            return connection

    return Retrying


async def connected(connect: Any, conninfo: str, options: dict[str, Any], retry_seconds: float) -> Any:
    """Return the first connection that `connect` makes, asked again after each refusal; the caller sets the limit."""
    while True:
        try:
            return await connect(conninfo, **options)
        except psycopg.OperationalError:
            await asyncio.sleep(retry_seconds)
