"""Samples by step, for who looks at a long time: at most one row per series and step. Owns no table: see `samples`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import pandas as pd

from collector.clickhouse import Client

_SQL = """SELECT series_id, toInt64(intDiv(toUnixTimestamp(ts), {step:UInt32}) * {step:UInt32}) AS start,
    argMax(value, ts) AS last, max(value) AS most
  FROM samples WHERE series_id IN {series:Array(UInt64)}
    AND ts >= fromUnixTimestamp64Milli({since:Int64}) AND ts < fromUnixTimestamp64Milli({until:Int64})
  GROUP BY series_id, start ORDER BY series_id, start"""


def read_sample_steps(
    client: Client, series: Sequence[int], *, since: datetime, until: datetime, step: timedelta
) -> pd.DataFrame:
    """Return `series_id, ds, last, most` of gauges and counters in [since, until): a row per step with a sample."""
    parameters = {
        "series": list(series),
        "since": int(since.timestamp() * 1000),
        "until": int(until.timestamp() * 1000),
        "step": int(step.total_seconds()),
    }
    rows = client.query_rows(_SQL, parameters) if series else []
    starts = pd.Series([row[1] for row in rows], dtype="int64")
    return pd.DataFrame(
        {
            "series_id": pd.Series([row[0] for row in rows], dtype="uint64"),
            "ds": pd.Series(pd.to_datetime(starts, unit="s", utc=True)).dt.as_unit("us"),
            "last": pd.Series([row[2] for row in rows], dtype="float64"),
            "most": pd.Series([row[3] for row in rows], dtype="float64"),
        }
    )


def increase_by_step(steps: pd.DataFrame) -> pd.DataFrame:
    """Return `series_id, ds, gained`: what counters gained from each series' row to its next. Pure.

    A counter that is lower than before began anew: what it shows is what it gained since, so what came between the last
    sample before and the new beginning is not known and not counted. The first row of a series gains nothing: it has
    nothing to be compared with.
    """
    gained = steps.groupby("series_id")["last"].diff()
    gained = gained.where(gained >= 0, steps["last"]).where(gained.notna())
    return steps.assign(gained=gained).dropna(subset="gained")[["series_id", "ds", "gained"]].reset_index(drop=True)
