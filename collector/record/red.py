"""Rate, errors and durations of a service over time, from the per-minute and per-hour tables.

Owns the SQL of red_1m and red_1h as the dashboard asks it. Counts for SLOs stand in collector.slo.store.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Literal

import pandas as pd

from collector.clickhouse import Client
from collector.record.histogram import upper_edge

RedDimension = Literal["route", "region", "version", "cache_level"]
QUANTILES = {"p50_seconds": 0.5, "p95_seconds": 0.95, "p99_seconds": 0.99}
# The rule of histogram.quantile_from_histogram, in the store: three buckets leave it instead of whole histograms.
QUANTILES_OF_BUCKETS = f"""if(empty(arrayCumSum(mapValues(buckets)) AS seen), [], arrayMap(
        q -> mapKeys(buckets)[arrayFirstIndex(so_far -> so_far >= q * seen[-1] - 1e-9, seen)],
        {list(QUANTILES.values())}))"""
_WITH_QUANTILES = f"""
    SELECT start, dimension, n, failed, duration_us, {QUANTILES_OF_BUCKETS} AS quantiles
    FROM"""
DIMENSIONS = ("route", "region", "version", "cache_level")
_HOUR = 3600
_BY_THE_HOUR_FROM = timedelta(days=3)


def read_red(
    client: Client,
    service: str,
    *,
    since: datetime,
    until: datetime,
    step: timedelta,
    by: RedDimension | None = None,
    region: str | None = None,
) -> pd.DataFrame:
    """Return a frame `ds, [by,] requests, errors, rps, mean_seconds, p50_seconds, p95_seconds, p99_seconds`.

    One row per step (of whole minutes) and value of `by` that was recorded; others are absent. A step known to have had
    no requests has no durations (missing in the frame). errors are answers with status >= 500.
    Quantiles are upper edges of log buckets (see collector.record.histogram).
    """
    step_seconds = int(step.total_seconds())
    if by is not None and by not in DIMENSIONS:
        raise ValueError(f"expected by to be one of {', '.join(DIMENSIONS)} or None, got {by!r}")
    table, column = rollup_of(step)
    sql = f"""
    {_WITH_QUANTILES} (
    SELECT toInt64(intDiv(toUnixTimestamp({column}), {{step:UInt32}}) * {{step:UInt32}}) AS start,
      {by or "''"} AS dimension, sum(requests) AS n, sumIf(requests, status >= 500) AS failed,
      sum(duration_us_sum) AS duration_us, sumMap(histogram) AS buckets
    FROM {table}
    WHERE service = {{service:String}}
      AND {column} >= fromUnixTimestamp({{since:Int64}}) AND {column} < fromUnixTimestamp({{until:Int64}})
      {of_region(region)}
    GROUP BY start, dimension) ORDER BY start, dimension"""  # noqa: S608 - names from the two tuples above, never input
    parameters = {
        "service": service,
        "step": step_seconds,
        "since": int(since.timestamp()),
        "until": int(until.timestamp()),
        **_region(region),
    }
    return red_frame(client.query_rows(sql, parameters), step_seconds, by)


def read_red_totals(
    client: Client,
    service: str,
    *,
    since: datetime,
    until: datetime,
    by: RedDimension | None = None,
    region: str | None = None,
) -> pd.DataFrame:
    """Return the columns of read_red over the whole of [since, until): one row, or one per value of `by`.

    Quantiles are those of all requests in it, not a mean of parts. From three days on a start within an hour counts
    from the hour's begin. ds is since; no row where nothing was recorded.
    """
    if by is not None and by not in DIMENSIONS:
        raise ValueError(f"expected by to be one of {', '.join(DIMENSIONS)} or None, got {by!r}")
    table, column = ("red_1h", "hour") if until - since >= _BY_THE_HOUR_FROM else ("red_1m", "minute")
    start = int(since.timestamp())
    if column == "hour":
        start = start // _HOUR * _HOUR
    sql = f"""
    {_WITH_QUANTILES} (
    SELECT {{since:Int64}} AS start, {by or "''"} AS dimension, sum(requests) AS n,
      sumIf(requests, status >= 500) AS failed, sum(duration_us_sum) AS duration_us, sumMap(histogram) AS buckets
    FROM {table}
    WHERE service = {{service:String}}
      AND {column} >= fromUnixTimestamp({{since:Int64}}) AND {column} < fromUnixTimestamp({{until:Int64}})
      {of_region(region)}
    GROUP BY dimension) ORDER BY dimension"""  # noqa: S608 - names from the two tuples above, never input
    parameters = {"service": service, "since": start, "until": int(until.timestamp()), **_region(region)}
    return red_frame(client.query_rows(sql, parameters), int(until.timestamp()) - start, by)


def read_regions(client: Client, service: str, *, since: datetime) -> list[str]:
    """Return the regions that a service's requests came from since the begin of an hour, sorted; none where untold."""
    rows = client.query_rows(
        "SELECT DISTINCT region FROM red_1h WHERE service = {service:String}"
        " AND hour >= fromUnixTimestamp({since:Int64}) AND region != '' ORDER BY region",
        {"service": service, "since": int(since.timestamp()) // _HOUR * _HOUR},
    )
    return [str(name) for (name,) in rows]


def rollup_of(step: timedelta) -> tuple[str, str]:
    """Return the table that answers a step, and its column of time. Raises ValueError: not of whole minutes."""
    step_seconds = int(step.total_seconds())
    if step_seconds < 60 or step_seconds % 60:
        raise ValueError(f"expected a step of whole minutes, got {step}")
    return ("red_1h", "hour") if step_seconds % _HOUR == 0 else ("red_1m", "minute")


def of_region(region: str | None) -> str:
    """Return what narrows a query to the parameter `region`; nothing for all of them."""
    return "" if region is None else "AND region = {region:String}"


def _region(region: str | None) -> dict[str, str]:
    return {} if region is None else {"region": region}


def red_frame(rows: list[tuple[Any, ...]], step_seconds: int, by: str | None) -> pd.DataFrame:
    """Return rows `start, dimension, requests, errors, duration in us, buckets of the quantiles, ...` as a frame."""
    starts = pd.Series([row[0] for row in rows], dtype="int64")
    columns: dict[str, Any] = {"ds": pd.Series(pd.to_datetime(starts, unit="s", utc=True)).dt.as_unit("us")}
    if by is not None:
        columns[by] = pd.Series([row[1] for row in rows], dtype="object")
    requests = pd.Series([row[2] for row in rows], dtype="int64")
    columns["requests"] = requests
    columns["errors"] = pd.Series([row[3] for row in rows], dtype="int64")
    columns["rps"] = requests / step_seconds
    columns["mean_seconds"] = pd.Series([row[4] for row in rows], dtype="float64") / requests / 1e6
    edges = {bucket: upper_edge(bucket).total_seconds() for bucket in {each for row in rows for each in row[5]}}
    for number, name in enumerate(QUANTILES):
        columns[name] = pd.Series([edges[row[5][number]] if row[5] else None for row in rows], dtype="float64")
    return pd.DataFrame(columns)
