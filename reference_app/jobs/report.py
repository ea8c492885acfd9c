"""What waits and what was given up, for people: reads the outbox, and orders anew what they say.

The outbox is the record; Redis is not asked. Used by the command, with a connection of its own.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import class_row

MOST_SHOWN = 50
_WAITING = "SELECT queue, count(*) FROM outbox WHERE failed_at IS NULL GROUP BY queue ORDER BY queue"
_FAILED = """
SELECT id, queue, name, payload::text AS payload, failed_at, failure FROM outbox WHERE failed_at IS NOT NULL
ORDER BY failed_at DESC LIMIT %(limit)s
"""
_ORDER_ANEW = """
UPDATE outbox SET failed_at = NULL, published_at = NULL, round = round + 1
WHERE failed_at IS NOT NULL AND id = ANY(%(ids)s)
"""


@dataclass(frozen=True, slots=True)
class FailedJob:
    """A job whose attempts all failed."""

    id: int
    queue: str
    name: str
    payload: str
    failed_at: datetime
    failure: str


@dataclass(frozen=True, slots=True)
class JobReport:
    """How many jobs wait or run, by queue; the newest that were given up; how many were ordered anew just now."""

    waiting: dict[str, int]
    failed: list[FailedJob]
    ordered_anew: int

    def text(self, *, as_json: bool) -> str:
        """Return it as JSON or for people."""
        if as_json:
            return json.dumps(asdict(self), default=datetime.isoformat)
        waiting = ", ".join(f"{queue} {number}" for queue, number in self.waiting.items()) or "none"
        lines = [f"waiting or running: {waiting}", f"given up: {len(self.failed) or 'none'}"]
        lines += [f"  {job.id} {job.queue} {job.name} {job.payload}: {job.failure}" for job in self.failed]
        return "\n".join([*lines, *([f"ordered anew: {self.ordered_anew}"] if self.ordered_anew else [])])


def report_jobs(connection: psycopg.Connection[Any], order_anew: list[int]) -> JobReport:
    """Order the named jobs anew, if they were given up, and return what is in the outbox then."""
    again = connection.execute(_ORDER_ANEW, {"ids": order_anew}).rowcount if order_anew else 0
    waiting = dict(connection.execute(_WAITING).fetchall())
    with connection.cursor(row_factory=class_row(FailedJob)) as cursor:
        failed = cursor.execute(_FAILED, {"limit": MOST_SHOWN}).fetchall()
    return JobReport(waiting, failed, again)
