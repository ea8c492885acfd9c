"""The reads of the exporters: totals since the month began, and single minutes. Owns their SQL of red_1m and red_1h.

Totals are a function of the record alone: a restart of the collector neither resets nor loses nor doubles them. They
begin anew with each month (UTC), which every reader of counters takes for a reset.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any

from collector.clickhouse import Client
from collector.exporters.measures import Series, folded

_DAY = timedelta(days=1)
_COLUMNS = (
    "route, toString(intDiv(status, 100)) AS class, sum(requests) AS n, sum(duration_us_sum) AS took,"
    " sumMap(histogram) AS buckets"
)


def read_kept_routes(client: Client, service: str, *, until: datetime, most: int) -> set[str]:
    """Return the routes with the most requests of the day before `until`."""
    rows = client.query_rows(
        "SELECT route FROM red_1h WHERE service = {service:String} AND hour >= fromUnixTimestamp({since:Int64})"
        " AND hour < fromUnixTimestamp({until:Int64})"
        " GROUP BY route ORDER BY sum(requests) DESC, route LIMIT {most:UInt32}",
        {"service": service, "since": _epoch(until - _DAY), "until": _epoch(until), "most": most},
    )
    return {str(row[0]) for row in rows}


def month_start(until: datetime) -> datetime:
    """Return when the month began in which the minute that ends at `until` lies."""
    return (until - timedelta(minutes=1)).astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def read_totals(client: Client, service: str, *, until: datetime, kept_routes: Collection[str]) -> list[Series]:
    """Return the series of a service from the month's start to `until` (the end of a minute)."""
    hour = until.replace(minute=0, second=0, microsecond=0)
    rows = client.query_rows(
        f"""SELECT route, class, sum(n), sum(took), sumMap(buckets) FROM (
          SELECT {_COLUMNS} FROM red_1h
          WHERE service = {{service:String}} AND hour >= fromUnixTimestamp({{since:Int64}})
            AND hour < fromUnixTimestamp({{hour:Int64}}) GROUP BY route, class
          UNION ALL
          SELECT {_COLUMNS} FROM red_1m
          WHERE service = {{service:String}} AND minute >= fromUnixTimestamp({{hour:Int64}})
            AND minute < fromUnixTimestamp({{until:Int64}}) GROUP BY route, class
        ) GROUP BY route, class""",  # noqa: S608 - fixed text and placeholders, never input
        {"service": service, "since": _epoch(month_start(until)), "hour": _epoch(hour), "until": _epoch(until)},
    )
    return folded((_series(service, row) for row in rows), kept_routes)


def read_minutes(
    client: Client, service: str, *, since: datetime, until: datetime, kept_routes: Collection[str]
) -> dict[datetime, list[Series]]:
    """Return the series of each recorded minute in [since, until), by its start."""
    rows = client.query_rows(
        f"""SELECT toUnixTimestamp(minute) AS start, {_COLUMNS} FROM red_1m WHERE service = {{service:String}}
        AND minute >= fromUnixTimestamp({{since:Int64}}) AND minute < fromUnixTimestamp({{until:Int64}})
        GROUP BY start, route, class ORDER BY start""",  # noqa: S608 - fixed text and placeholders, never input
        {"service": service, "since": _epoch(since), "until": _epoch(until)},
    )
    minutes: dict[datetime, list[Series]] = {}
    for start, *row in rows:
        minutes.setdefault(datetime.fromtimestamp(start, UTC), []).append(_series(service, row))
    return {start: folded(series, kept_routes) for start, series in minutes.items()}


def _series(service: str, row: Any) -> Series:
    route, status_class, requests, took, buckets = row
    return Series(service, route, f"{status_class}xx", int(requests), int(took), buckets)


def _epoch(instant: datetime) -> int:
    return int(instant.timestamp())
