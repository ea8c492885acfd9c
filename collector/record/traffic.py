"""One service's traffic as a page shows it whole: by a dimension, of all requests, over the range, as a heat-map.

Owns the SQL of red_1m and red_1h that answers all four in one pass over the rollups: their histograms cost most to
read, and are read once. What only one of the four is asked for stands in collector.record.red.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pandas as pd

from collector.clickhouse import Client
from collector.record.histogram import BUCKETS_PER_DOUBLING
from collector.record.red import DIMENSIONS, QUANTILES_OF_BUCKETS, RedDimension, of_region, red_frame, rollup_of

BANDS_PER_DOUBLING = 2
_BUCKETS_PER_BAND = BUCKETS_PER_DOUBLING // BANDS_PER_DOUBLING


@dataclass(frozen=True, slots=True)
class Traffic:
    """Rate, errors and durations of [since, until).

    by_step: a row per step and value of the dimension; whole: a row per step, of all requests; totals: a row per value,
    of the whole range; all with the columns of `read_red`. bands: `ds, low_ms, high_ms, requests`, ascending: how many
    requests took longer than low_ms and up to high_ms, per (wider) step; the edges are those of whole buckets, so that
    no request is guessed. Absent is what had no request.
    """

    by_step: pd.DataFrame
    whole: pd.DataFrame
    totals: pd.DataFrame
    bands: pd.DataFrame


def read_traffic(
    client: Client,
    service: str,
    *,
    since: datetime,
    until: datetime,
    step: timedelta,
    band_step: timedelta,
    by: RedDimension,
    region: str | None = None,
) -> Traffic:
    """Return all four of [since, until); since: a multiple of step, and band_step: one of step, in whole minutes.

    The first band reaches back to the multiple of band_step before `since`, so that it is whole. Raises ValueError.
    """
    seconds, wide = int(step.total_seconds()), int(band_step.total_seconds())
    if by not in DIMENSIONS:
        raise ValueError(f"expected by to be one of {', '.join(DIMENSIONS)}, got {by!r}")
    table, column = rollup_of(step)
    start = int(since.timestamp())
    if start % seconds or wide % seconds:
        raise ValueError(f"expected since and band_step to be multiples of {step}, got {since} and {band_step}")
    sql = f"""
    SELECT of_range, of_all, start, dimension, n, failed, duration_us,
      {QUANTILES_OF_BUCKETS} AS quantiles, if(of_all = 1, buckets, map()) AS spread FROM (
    SELECT grouping(start) AS of_range, grouping(dimension) AS of_all, start, dimension, sum(part.n) AS n,
      sum(part.failed) AS failed, sum(part.duration_us) AS duration_us, sumMap(part.buckets) AS buckets
    FROM (
    SELECT toInt64(intDiv(toUnixTimestamp({column}), {{step:UInt32}}) * {{step:UInt32}}) AS start,
      start >= {{since:Int64}} AS inside, {by} AS dimension, sum(requests) AS n,
      sumIf(requests, status >= 500) AS failed, sum(duration_us_sum) AS duration_us, sumMap(histogram) AS buckets
    FROM {table}
    WHERE service = {{service:String}} AND {column} >= fromUnixTimestamp({{first:Int64}})
      AND {column} < fromUnixTimestamp({{until:Int64}}) {of_region(region)}
    GROUP BY start, dimension) AS part
    GROUP BY GROUPING SETS ((inside, start, dimension), (inside, start), (inside, dimension))
    HAVING of_all = 1 OR inside
    ) ORDER BY of_range, of_all, start, dimension"""  # noqa: S608 - fixed names and DIMENSIONS, never input
    parameters = {
        "service": service, "step": seconds, "since": start, "first": start // wide * wide,
        "until": int(until.timestamp()), **({} if region is None else {"region": region}),
    }  # fmt: skip
    rows = client.query_rows(sql, parameters)
    parts: dict[tuple[int, int], list[tuple[Any, ...]]] = {(0, 0): [], (0, 1): [], (1, 0): []}
    for row in rows:
        parts[row[0], row[1]].append(row[2:])
    whole = [row for row in parts[0, 1] if row[0] >= start]
    totals = [(start, *row[1:]) for row in parts[1, 0]]
    return Traffic(
        by_step=red_frame(parts[0, 0], seconds, by),
        whole=red_frame(whole, seconds, None),
        totals=red_frame(totals, int(until.timestamp()) - start, by),
        bands=_bands([(row[0], row[6]) for row in parts[0, 1]], wide),
    )


def _bands(spreads: list[tuple[int, Any]], band_seconds: int) -> pd.DataFrame:
    """Return the bands of half a doubling of histograms `(start in seconds, requests by bucket)`."""
    counted: Counter[tuple[int, int]] = Counter()
    for start, buckets in spreads:
        for bucket, requests in dict(buckets).items():
            band = -(-int(bucket) // _BUCKETS_PER_BAND)  # rounded up: buckets are named by their upper edge
            counted[start // band_seconds * band_seconds, band] += int(requests)
    cells = sorted(counted)
    starts = pd.Series([start for start, _ in cells], dtype="int64")
    edge = pd.Series([number for _, number in cells], dtype="float64")
    return pd.DataFrame(
        {
            "ds": pd.Series(pd.to_datetime(starts, unit="s", utc=True)).dt.as_unit("us"),
            "low_ms": 2.0 ** ((edge - 1) / BANDS_PER_DOUBLING) / 1000,
            "high_ms": 2.0 ** (edge / BANDS_PER_DOUBLING) / 1000,
            "requests": pd.Series([counted[cell] for cell in cells], dtype="int64"),
        }
    )
