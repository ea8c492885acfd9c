"""Demand: requests per second offered to a service, recorded by us or told by a file, as one series.

Owns the SQL of demand_recorded and demand_imported, and the count of what came since the newest whole step. Cleaning
and modelling the series is the forecaster's job.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pandas as pd

from collector.clickhouse import Client

ROWS_PER_INSERT = 50_000
MONTHS_PER_INSERT = 48  # the store refuses a block that touches more than 100 partitions; these tables have one a month

# Rows coarser than the step are left out: a series is never finer than what was recorded. Of several rows at one
# instant the recorded one wins, then the finest.
_READ_DEMAND = """
WITH
  rows AS (
    SELECT ts, step_seconds, sum(value) AS value, 1 AS recorded FROM demand_recorded
    WHERE service = {service:String} AND step_seconds <= {step:UInt32}
      AND ts >= fromUnixTimestamp({since:Int64}) AND ts < fromUnixTimestamp({until:Int64})
    GROUP BY ts, step_seconds
    UNION ALL
    SELECT ts, step_seconds, argMax(value, imported_at) AS value, 0 AS recorded FROM demand_imported
    WHERE service = {service:String} AND step_seconds <= {step:UInt32}
      AND ts >= fromUnixTimestamp({since:Int64}) AND ts < fromUnixTimestamp({until:Int64})
    GROUP BY ts, step_seconds
  ),
  instants AS (
    SELECT ts, argMax((value, step_seconds), (recorded, -toInt64(step_seconds))) AS chosen FROM rows GROUP BY ts
  )
SELECT toInt64(intDiv(toUnixTimestamp(ts), {step:UInt32}) * {step:UInt32}) AS start,
  sum(chosen.1) / sum(chosen.2) AS rps
FROM instants
GROUP BY start
HAVING sum(chosen.2) * 2 >= {step:UInt32}
ORDER BY start
"""

_COUNT_REQUESTS = """SELECT count() FROM request_events
WHERE service = {service:String}
  AND ts >= fromUnixTimestamp64Milli({since:Int64}, 'UTC') AND ts < fromUnixTimestamp64Milli({until:Int64}, 'UTC')
HAVING count() > 0"""


@dataclass(frozen=True, slots=True)
class DemandExtent:
    """Start of the oldest row, end of the newest, and the coarsest step among them: the finest that loses none."""

    first: datetime
    end: datetime
    step: timedelta


def read_demand(client: Client, service: str, *, since: datetime, until: datetime, step: timedelta) -> pd.DataFrame:
    """Return demand as a frame `ds, rps`: aware UTC starts of steps, requests per second of the clock in use.

    Steps lie on whole multiples of `step` since the epoch, wholly inside [since, until). A step that finer rows cover
    only partly is their rate if they cover at least half of it (scaled by coverage), and absent otherwise; nothing is
    ever filled in. Recorded rows win over imported ones. A recorded minute without any request has no row: it counts
    as not covered, not as zero.
    """
    step_seconds = _whole_seconds(step)
    first = -(-_epoch(since) // step_seconds) * step_seconds
    last = _epoch(until) // step_seconds * step_seconds
    parameters = {"service": service, "step": step_seconds, "since": first, "until": max(first, last)}
    rows = client.query_rows(_READ_DEMAND, parameters)
    return pd.DataFrame(
        {"ds": _instants([row[0] for row in rows]), "rps": pd.Series([row[1] for row in rows], dtype="float64")}
    )


def count_requests(client: Client, service: str, *, since: datetime, until: datetime) -> int:
    """Return how many recorded requests came in [since, until), to the millisecond; imported demand has none."""
    bounds = {name: round(at.timestamp() * 1000) for name, at in (("since", since), ("until", until))}
    rows = client.query_rows(_COUNT_REQUESTS, {"service": service, **bounds})
    return int(rows[0][0]) if rows else 0


def read_demand_extent(client: Client, service: str) -> DemandExtent | None:
    """Return how far the rows of a service's demand reach and how coarse they are, or None without rows."""
    sql = """SELECT min(first), max(last), max(coarsest) FROM (
      SELECT toInt64(toUnixTimestamp(min(ts))) AS first, toInt64(max(toUnixTimestamp(ts) + step_seconds)) AS last,
        max(step_seconds) AS coarsest FROM demand_recorded WHERE service = {service:String} HAVING count() > 0
      UNION ALL
      SELECT toInt64(toUnixTimestamp(min(ts))) AS first, toInt64(max(toUnixTimestamp(ts) + step_seconds)) AS last,
        max(step_seconds) AS coarsest FROM demand_imported WHERE service = {service:String} HAVING count() > 0)
      HAVING count() > 0"""
    rows = client.query_rows(sql, {"service": service})
    if not rows:
        return None
    first, last, step = rows[0]
    return DemandExtent(datetime.fromtimestamp(first, UTC), datetime.fromtimestamp(last, UTC), timedelta(seconds=step))


def read_watermark(client: Client, service: str) -> datetime | None:
    """Return the end of the newest recorded minute of a service, or None when nothing was recorded.

    That minute may still be under way, so the watermark can lie up to a minute ahead of now: who needs whole minutes
    takes the earlier of the watermark and the start of the present minute.
    """
    sql = """SELECT toInt64(max(toUnixTimestamp(ts) + step_seconds)), count() FROM demand_recorded
      WHERE service = {service:String}"""
    end, known = client.query_rows(sql, {"service": service})[0]
    return datetime.fromtimestamp(end, UTC) if known else None


def write_imported_demand(
    client: Client,
    service: str,
    frame: pd.DataFrame,
    *,
    step: timedelta,
    source: str,
    content_id: str,
    imported_at: datetime,
    on_progress: Callable[[int, int], None] | None = None,
) -> int:
    """Store a frame `ds, value` (aware UTC start of step, requests in the step) and return the number of rows.

    content_id: names the content (a hash of the file and the shift). The same content again is stored once, unless
    another import of this service came between: then it replaces that one's values again.
    on_progress: called with (rows done, rows in all) after every chunk.
    """
    step_seconds = _whole_seconds(step)
    total, done = len(frame), 0
    seconds = _to_epoch_seconds(frame["ds"])
    chunks = chunk_bounds(seconds)
    origin = f"{source}#{content_id[:12]}"
    newest_other = client.query_rows(
        """SELECT toInt64(max(toUnixTimestamp64Micro(imported_at))) FROM demand_imported
        WHERE service = {service:String} AND source != {origin:String}""",
        {"service": service, "origin": origin},
    )[0][0]
    stamp = int(imported_at.timestamp() * 1_000_000)
    for number, (start, end) in enumerate(chunks):
        rows = end - start
        client.insert_columns(
            "demand_imported",
            {
                "service": [service] * rows,
                "ts": seconds[start:end],
                "step_seconds": [step_seconds] * rows,
                "value": frame["value"].iloc[start:end].tolist(),
                "source": [origin] * rows,
                "imported_at": [stamp] * rows,
            },
            token=f"import/{service}/{content_id}/{newest_other}/{number}",
        )
        done += rows
        if on_progress is not None:
            on_progress(done, total)
    return done


def chunk_bounds(seconds: list[int]) -> list[tuple[int, int]]:
    """Cut sorted epoch seconds into (start, end) index ranges that one insert may hold: few rows, few months."""
    bounds: list[tuple[int, int]] = []
    start = 0
    span = MONTHS_PER_INSERT * 28 * 86400
    for index in range(1, len(seconds) + 1):
        full = index - start >= ROWS_PER_INSERT
        if index == len(seconds) or full or seconds[index] - seconds[start] >= span:
            bounds.append((start, index))
            start = index
    return bounds


def _whole_seconds(step: timedelta) -> int:
    seconds = int(step.total_seconds())
    if seconds < 1 or seconds != step.total_seconds():
        raise ValueError(f"expected a step of whole seconds, got {step}")
    return seconds


def _epoch(instant: datetime) -> int:
    if instant.tzinfo is None:
        raise ValueError(f"expected an aware datetime, got {instant!r}")
    return int(instant.timestamp())


def _instants(seconds: list[int]) -> pd.Series:
    return pd.Series(pd.to_datetime(pd.Series(seconds, dtype="int64"), unit="s", utc=True)).dt.as_unit("us")


def _to_epoch_seconds(instants: pd.Series) -> list[int]:
    return [int(value) for value in instants.dt.as_unit("s").astype("int64")]
