"""A demand that comes and goes every two hours of a fast clock, imported with the hours to come.

It makes a forecaster raise and lower floors again and again within seconds.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from collector.clickhouse import Client, migrate
from collector.record import store as record
from collector.sources.files import import_series, parse_csv
from forecaster import store

SPEED = 400
REPLICA_RPS = 12  # of real time, that one replica carries
STEP = timedelta(minutes=5)
WAVE = timedelta(hours=2)  # 18 seconds: half of it quiet, half of it needing six replicas
SERVICE = "reference-app"


def requests_at(at: datetime, *, speed: float) -> float:
    """Return requests per step: a replica's 12 per real second are 12 / speed per second of the clock."""
    busy = at.timestamp() % WAVE.total_seconds() < WAVE.total_seconds() / 2
    return (5.9 if busy else 0.5) * REPLICA_RPS / speed * STEP.total_seconds()


def import_wave(client: Client, *, now: datetime, speed: float = SPEED) -> datetime:
    """Make the tables, import three days of the wave and six to come, up to the real present; return when it begins."""
    migrate(client, record.SCHEMA_FOLDER, owner=record.SCHEMA_OWNER)
    migrate(client, store.SCHEMA_FOLDER, owner=store.SCHEMA_OWNER)
    first = datetime.fromtimestamp(now.timestamp() // 86400 * 86400, UTC) - timedelta(days=3)
    real = datetime.now(UTC)
    starts = [at for at in (first + index * STEP for index in range(10 * 288)) if at + STEP <= real]
    lines = [f"{at:%Y-%m-%dT%H:%M:%SZ},{requests_at(at, speed=speed)}" for at in starts]
    text = "\n".join(["timestamp,value", *lines])
    import_series(client, SERVICE, parse_csv(text), source="file", now=real)
    return first
