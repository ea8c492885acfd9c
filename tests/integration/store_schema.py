"""The record's own DDL and some events for it, for tests of the store."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import collector.record

COLUMNS = [
    "ts", "service", "route", "method", "status", "duration_us", "response_bytes", "region", "instance", "version",
    "cache_level", "database_target", "user_agent_family", "trace_id",
]  # fmt: skip
# The hour before this one began: rows older than the table's TTL would vanish at insert.
START_US = (int(time.time()) // 3600 - 1) * 3600 * 1_000_000


def statements(database: str) -> Iterator[str]:
    """The statements of 0001_record.sql: each ends in a semicolon at the end of a line."""
    path = Path(collector.record.__file__).parent / "schema" / "0001_record.sql"
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("--")]
    for statement in "\n".join(lines).replace("{database}", database).split(";\n"):
        if statement.strip(" ;\n"):
            yield statement.strip(" ;\n")


def create_record(client: Any, database: str) -> None:
    client.command(f"CREATE DATABASE {database} ENGINE = Atomic")
    for statement in statements(database):
        client.command(statement)


def event_columns(count: int, *, first: int = 0, start_us: int = START_US) -> list[list[Any]]:
    """Events one millisecond apart, in the order of COLUMNS: every tenth one an error, each 1,000 us long."""
    numbers = range(first, first + count)
    fixed = ["eu-west", "i-1", "v1", "none", "primary", "browser", ""]
    return [
        [start_us + n * 1000 for n in numbers], ["app"] * count, ["/r"] * count, ["GET"] * count,
        [500 if n % 10 == 0 else 200 for n in numbers], [1000] * count, [10] * count,
        *[[value] * count for value in fixed],
    ]  # fmt: skip
