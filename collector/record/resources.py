"""CPU and memory of all replicas of a service by step, from the samples that were told of its processes.

Owns no table: series and samples are `samples`'. For one quotient over one span, CPU per request, there is `cpu`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd

from collector.clickhouse import Client
from collector.record.cpu import CPU_NAMES, SOURCES
from collector.record.samples import read_series

MEMORY_NAMES = ("process_resident_memory_bytes", "process.memory.usage")

_SPAN = """series_id IN {series:Array(UInt64)} AND ts >= fromUnixTimestamp64Milli({since:Int64})
      AND ts < fromUnixTimestamp64Milli({until:Int64})"""

# What a counter gained between two samples is spread evenly over the steps between them; a value under the one before
# is a restart from zero. A step's gain is of the time that its best known replica was seen in it.
_CPU = f"""
WITH
  told AS (SELECT series_id, toUnixTimestamp64Milli(ts) AS at, value FROM samples WHERE {_SPAN}
    LIMIT 1 BY series_id, ts),
  pairs AS (SELECT series_id, at, value, lagInFrame(at) OVER run AS before, lagInFrame(value) OVER run AS was,
      row_number() OVER run AS number
    FROM told WINDOW run AS (PARTITION BY series_id ORDER BY at ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)),
  pieces AS (SELECT series_id, (if(value < was, value, value - was)) / (at - before) AS rate, at, before,
      {{step_ms:Int64}} * toInt64(arrayJoin(range(
        toUInt64(intDiv(before, {{step_ms:Int64}})), toUInt64(intDiv(at, {{step_ms:Int64}})) + 1))) AS start_ms,
      least(at, start_ms + {{step_ms:Int64}}) - greatest(before, start_ms) AS spent_ms
    FROM pairs WHERE number > 1 AND at - before <= {{gap_ms:Int64}}),
  steps AS (SELECT series_id, start_ms, sum(rate * spent_ms) AS gained, sum(spent_ms) AS known_ms
    FROM pieces GROUP BY series_id, start_ms)
SELECT intDiv(start_ms, 1000) AS start, sum(gained) * 1000 / max(known_ms) AS per_second
FROM steps WHERE start_ms >= {{first:Int64}} * 1000 AND start_ms < {{last:Int64}} * 1000
GROUP BY start_ms HAVING max(known_ms) * 2 >= {{step_ms:Int64}} ORDER BY start
"""  # noqa: S608 - a constant

# All replicas are sampled in one round, so the rounds of a step are the samples of the replica that has the most.
_MEMORY = f"""
SELECT start, sum(total) / max(rounds) AS bytes FROM (
  SELECT series_id, toInt64(intDiv(toUnixTimestamp(ts), {{step:UInt32}}) * {{step:UInt32}}) AS start,
    sum(value) AS total, count() AS rounds
  FROM (SELECT series_id, ts, value FROM samples WHERE {_SPAN} LIMIT 1 BY series_id, ts)
  GROUP BY series_id, start)
GROUP BY start ORDER BY start
"""  # noqa: S608 - a constant


def read_cpu_steps(
    client: Client, service: str, *, since: datetime, until: datetime, step: timedelta, longest_gap_seconds: float
) -> pd.DataFrame:
    """Return `ds` (aware UTC start of step) and `rate`: CPU-seconds of all replicas per second of the clock in use.

    Steps lie on whole multiples of `step`, wholly inside [since, until). Absent is a step of which less than half lies
    between two samples of a replica that are no further apart than `longest_gap_seconds`. Raises StoreError.
    """
    first, last = _edges(since, until, step)
    reach = int(longest_gap_seconds) + 1
    asked = {
        "since": (first - reach) * 1000, "until": (last + reach) * 1000, "first": first, "last": last,
        "step_ms": round(step.total_seconds() * 1000), "gap_ms": round(longest_gap_seconds * 1000),
    }  # fmt: skip
    return _told(client, _by_source(client, service, CPU_NAMES, "counter"), _CPU, asked, column="rate")


def read_memory_steps(
    client: Client, service: str, *, since: datetime, until: datetime, step: timedelta
) -> pd.DataFrame:
    """Return `ds` and `bytes`: the resident memory of all replicas together, mean of a step's samples; same steps."""
    first, last = _edges(since, until, step)
    asked = {"since": first * 1000, "until": last * 1000, "step": int(step.total_seconds())}
    return _told(client, _by_source(client, service, MEMORY_NAMES, "gauge"), _MEMORY, asked, column="bytes")


def read_resource_span(client: Client, service: str, names: Sequence[str]) -> tuple[datetime, datetime] | None:
    """Return the instants of the oldest and the newest sample of a service's series of these names; None without."""
    series = [each.series_id for name in names for each in read_series(client, service=service, name=name)]
    sql = """SELECT toUnixTimestamp64Milli(min(ts)), toUnixTimestamp64Milli(max(ts)), count() FROM samples
      WHERE series_id IN {series:Array(UInt64)}"""
    oldest, newest, known = client.query_rows(sql, {"series": series})[0] if series else (0, 0, 0)
    return (datetime.fromtimestamp(oldest / 1000, UTC), datetime.fromtimestamp(newest / 1000, UTC)) if known else None


def _by_source(client: Client, service: str, names: Sequence[str], kind: str) -> list[list[int]]:
    """Return the series of each source that has any: the same process may be told of by several."""
    series = [each for name in names for each in read_series(client, service=service, name=name) if each.kind == kind]
    found = [[each.series_id for each in series if each.source == source] for source in SOURCES]
    return [ids for ids in found if ids]


def _told(
    client: Client, sources: Sequence[list[int]], sql: str, asked: Mapping[str, int], *, column: str
) -> pd.DataFrame:
    """Return what the first source tells that tells anything."""
    rows: Sequence[tuple[Any, ...]] = ()
    for ids in sources:
        rows = client.query_rows(sql, {"series": ids, **asked})
        if rows:
            break
    starts = pd.Series([row[0] for row in rows], dtype="int64")
    return pd.DataFrame(
        {
            "ds": pd.Series(pd.to_datetime(starts, unit="s", utc=True)).dt.as_unit("us"),
            column: pd.Series([row[1] for row in rows], dtype="float64"),
        }
    )


def _edges(since: datetime, until: datetime, step: timedelta) -> tuple[int, int]:
    """Return the first and the end of the whole steps inside [since, until), epoch seconds."""
    seconds = int(step.total_seconds())
    first = -(-int(since.timestamp()) // seconds) * seconds
    return first, max(first, int(until.timestamp()) // seconds * seconds)
