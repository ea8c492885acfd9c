"""How durations are spread over time: requests by step and band of durations, from the rollups' histograms.

Owns the SQL of red_1m and red_1h as a heat-map asks it. Quantiles and rates stand in collector.record.red.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import pandas as pd

from collector.clickhouse import Client
from collector.record.histogram import BUCKETS_PER_DOUBLING

BANDS_PER_DOUBLING = 2
_BUCKETS_PER_BAND = BUCKETS_PER_DOUBLING // BANDS_PER_DOUBLING
_HOUR = 3600


def read_latency_bands(
    client: Client, service: str, *, since: datetime, until: datetime, step: timedelta, region: str | None = None
) -> pd.DataFrame:
    """Return a frame `ds, low_ms, high_ms, requests`: bands of half a doubling that had requests, by step, ascending.

    A band holds durations in (low_ms, high_ms]; the edges are those of whole buckets, so no request is guessed.
    Raises ValueError for a step that is not of whole minutes.
    """
    step_seconds = int(step.total_seconds())
    if step_seconds < 60 or step_seconds % 60:
        raise ValueError(f"expected a step of whole minutes, got {step}")
    table, column = ("red_1h", "hour") if step_seconds % _HOUR == 0 else ("red_1m", "minute")
    of_region = "" if region is None else " AND region = {region:String}"
    rows = client.query_rows(
        f"""SELECT start, toInt64(intDiv(bucket + {_BUCKETS_PER_BAND - 1}, {_BUCKETS_PER_BAND})) AS band, sum(n) FROM (
          SELECT toInt64(intDiv(toUnixTimestamp({column}), {{step:UInt32}}) * {{step:UInt32}}) AS start,
            sumMap(histogram) AS buckets
          FROM {table} WHERE service = {{service:String}} AND {column} >= fromUnixTimestamp({{since:Int64}})
            AND {column} < fromUnixTimestamp({{until:Int64}}){of_region} GROUP BY start
        ) ARRAY JOIN mapKeys(buckets) AS bucket, mapValues(buckets) AS n
        GROUP BY start, band ORDER BY start, band""",  # noqa: S608 - fixed names and numbers, never input
        {
            "service": service,
            "step": step_seconds,
            "since": int(since.timestamp()),
            "until": int(until.timestamp()),
            **({} if region is None else {"region": region}),
        },
    )
    starts = pd.Series([row[0] for row in rows], dtype="int64")
    band = pd.Series([row[1] for row in rows], dtype="float64")
    return pd.DataFrame(
        {
            "ds": pd.Series(pd.to_datetime(starts, unit="s", utc=True)).dt.as_unit("us"),
            "low_ms": 2.0 ** ((band - 1) / BANDS_PER_DOUBLING) / 1000,
            "high_ms": 2.0 ** (band / BANDS_PER_DOUBLING) / 1000,
            "requests": pd.Series([row[2] for row in rows], dtype="int64"),
        }
    )
