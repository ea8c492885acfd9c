"""How long the driver's statements took: for servers without pg_stat_statements, as the embedded one is.

A statement is the text that the stores send, parameters apart, so its texts are few; the bound is for surprises. What
the server itself counts (`pg_stat_statements`) is read by `slowest`, which falls back on these timings.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import AsyncCursor
from psycopg.rows import class_row

MOST_STATEMENTS = 500
OTHERS = "(all other statements)"
_SERVER_VIEW = """
SELECT query AS statement, calls, mean_exec_time AS mean_ms, total_exec_time AS total_ms, max_exec_time AS max_ms, rows,
       shared_blks_hit::float8 / nullif(shared_blks_hit + shared_blks_read, 0) AS hit_ratio
FROM pg_stat_statements WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
ORDER BY total_exec_time DESC LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class SlowStatement:
    """One normalised statement. hit_ratio: pages found in the server's cache, 0..1; None where nobody counts them."""

    statement: str
    calls: int
    mean_ms: float
    total_ms: float
    max_ms: float
    rows: int
    hit_ratio: float | None = None


class StatementTimings:
    """What the driver measured, by statement, for one server."""

    def __init__(self, most: int = MOST_STATEMENTS) -> None:
        self._most = most
        self._known: dict[str, list[float]] = {}

    def note(self, statement: str, seconds: float, rows: int) -> None:
        """Count one execution. rows: -1, as the driver has it, for statements without any."""
        found = self._known.get(statement)
        if found is None:
            if len(self._known) >= self._most:
                statement = OTHERS
            found = self._known.setdefault(statement, [0, 0.0, 0.0, 0])
        found[0] += 1
        found[1] += seconds
        found[2] = max(found[2], seconds)
        found[3] += max(0, rows)

    def slowest(self, limit: int) -> list[SlowStatement]:
        """Return the statements that took most time in all, the worst first."""
        worst = sorted(self._known.items(), key=lambda item: item[1][1], reverse=True)[:limit]
        return [
            SlowStatement(
                " ".join(statement.split()),
                calls=int(calls),
                mean_ms=total * 1000 / calls,
                total_ms=total * 1000,
                max_ms=longest * 1000,
                rows=int(rows),
            )
            for statement, (calls, total, longest, rows) in worst
        ]


class TimedCursor(AsyncCursor[Any]):
    """A cursor that tells its connection's timings what each statement took."""

    async def execute(self, query: Any, *arguments: Any, **options: Any) -> TimedCursor:
        """Execute as psycopg does; failures are timed as well."""
        started = time.perf_counter()
        try:
            await super().execute(query, *arguments, **options)
        finally:
            timings: StatementTimings | None = getattr(self.connection, "timings", None)
            if timings is not None:
                text = query if isinstance(query, str) else str(query)
                timings.note(text, time.perf_counter() - started, self.rowcount)
        return self


async def server_statements(connection: psycopg.AsyncConnection[Any], limit: int) -> list[SlowStatement] | None:
    """Return the server's own view of its slowest statements; None when it has none that we may read."""
    try:
        async with connection.cursor(row_factory=class_row(SlowStatement)) as cursor:
            await cursor.execute(_SERVER_VIEW, {"limit": limit})
            return await cursor.fetchall()
    except (psycopg.errors.UndefinedTable, psycopg.errors.ObjectNotInPrerequisiteState, psycopg.errors.UndefinedColumn):
        return None
