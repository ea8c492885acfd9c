"""A load run's seconds by step, for who looks at a long one. Owns no table: see `runs`."""

from __future__ import annotations

from datetime import timedelta

import pandas as pd

from collector.clickhouse import Client
from collector.record.histogram import quantile_from_histogram

_QUANTILES = {"p50_ms": 0.5, "p95_ms": 0.95, "p99_ms": 0.99}
_SQL = """SELECT toInt64(intDiv(toUnixTimestamp(second), {step:UInt32}) * {step:UInt32}) AS start, count(),
    sum(intended), sum(sent), sum(done), sum(failed), sum(unsent), max(send_lag_us_max), sumMap(response_histogram),
    max(users)
  FROM load_seconds WHERE run_id = {run_id:String} GROUP BY start ORDER BY start"""


def read_load_steps(client: Client, run_id: str, *, step: timedelta) -> pd.DataFrame:
    """Return `ds, seconds, intended, sent, done, failed, unsent, send_lag_ms, users, p50_ms, p95_ms, p99_ms` of a run.

    Counts over each step; seconds: how many of it were told. Quantiles are of response times from the intended start,
    missing where nothing was answered. users: the most of the step, missing where nobody did. No rows for a run
    that is not stored.
    """
    rows = client.query_rows(_SQL, {"run_id": run_id, "step": max(1, int(step.total_seconds()))})
    names = ("seconds", "intended", "sent", "done", "failed", "unsent")
    starts = pd.Series([row[0] for row in rows], dtype="int64")
    columns: dict[str, pd.Series] = {"ds": pd.Series(pd.to_datetime(starts, unit="s", utc=True)).dt.as_unit("us")}
    for index, name in enumerate(names, start=1):
        columns[name] = pd.Series([row[index] for row in rows], dtype="int64")
    columns["send_lag_ms"] = pd.Series([row[7] / 1000 for row in rows], dtype="float64")
    columns["users"] = pd.Series([row[9] for row in rows], dtype="float64")
    for name, quantile in _QUANTILES.items():
        found = [quantile_from_histogram(dict(row[8]), quantile) for row in rows]
        columns[name] = pd.Series(
            [None if each is None else each.total_seconds() * 1000 for each in found], dtype="float64"
        )
    return pd.DataFrame(columns)
