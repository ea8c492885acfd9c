"""The table of scores, and the forecasts that are due to be scored: their SQL. Scores are made in `score`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from collector.clickhouse import Client
from forecaster.forecast.types import Forecast
from forecaster.scores.score import Score
from forecaster.store.instants import epoch_milliseconds, epoch_seconds, utc

_ARRAYS = ("quantiles", "pinball", "naive_pinball", "covered")
_PLAIN = ("model", "naive", "points", "demand", "absolute_error", "naive_absolute_error")


def write_scores(client: Client, scores: Sequence[Score], *, scored_at: datetime) -> None:
    """Store scores of one service and bucket; the same forecasts again replace them. No scores, no insert."""
    if not scores:
        return
    columns: dict[str, list[Any]] = {
        "service": [score.service for score in scores],
        "bucket": [score.bucket for score in scores],
        "origin": [epoch_seconds(score.origin) for score in scores],
        "step_seconds": [int(score.step.total_seconds()) for score in scores],
        "scored_at": [epoch_milliseconds(scored_at)] * len(scores),
        **{name: [getattr(score, name) for score in scores] for name in _PLAIN},
        **{name: [list(getattr(score, name)) for score in scores] for name in _ARRAYS},
    }
    first, last = scores[0], scores[-1]
    span = f"{epoch_seconds(first.origin)}-{epoch_seconds(last.origin)}/{epoch_milliseconds(scored_at)}"
    client.insert_columns("forecast_scores", columns, token=f"scores/{first.service}/{first.bucket}/{span}")


def read_scored_until(client: Client, service: str) -> dict[str, datetime]:
    """Return by bucket the newest origin that was scored: the watermark from which scoring goes on."""
    rows = client.query_rows(
        "SELECT bucket, max(origin) FROM forecast_scores WHERE service = {service:String} GROUP BY bucket",
        {"service": service},
    )
    return {str(bucket): utc(origin) for bucket, origin in rows}


def read_scores(client: Client, service: str, *, since: datetime, until: datetime) -> list[Score]:
    """Return the scores of forecasts with since <= origin < until, oldest first, each forecast and bucket once."""
    rows = client.query_rows(
        "SELECT bucket, origin, step_seconds, model, naive, points, demand, absolute_error, naive_absolute_error,"
        " quantiles, pinball, naive_pinball, covered FROM forecast_scores FINAL WHERE service = {service:String}"
        " AND origin >= toDateTime({since:Int64}, 'UTC') AND origin < toDateTime({until:Int64}, 'UTC')"
        " ORDER BY origin, bucket",
        {"service": service, "since": epoch_seconds(since), "until": epoch_seconds(until)},
    )
    return [_score(service, row) for row in rows]


def read_scored(client: Client, service: str, *, since: datetime) -> pd.DataFrame:
    """Return what scores of forecasts with origin >= since rest on, by origin.

    Columns bucket, origin (epoch s), step_seconds, points, demand (requests/s, summed), reach_seconds (how far ahead
    the forecast goes). A score whose forecast is gone is left out.
    """
    asked = {"service": service, "since": epoch_seconds(since)}
    scores = client.query_rows(
        "SELECT bucket, toInt64(toUnixTimestamp(origin)) AS origin, step_seconds, points, demand FROM forecast_scores"
        " FINAL WHERE service = {service:String} AND forecast_scores.origin >= toDateTime({since:Int64}, 'UTC')"
        " ORDER BY origin, bucket",
        asked,
    )
    reaches = client.query_rows(
        "SELECT toInt64(toUnixTimestamp(origin)), toInt64(max(ds) - origin) + any(step_seconds) FROM forecasts"
        " WHERE service = {service:String} AND origin >= toDateTime({since:Int64}, 'UTC') GROUP BY origin",
        asked,
    )
    found = pd.DataFrame(scores, columns=["bucket", "origin", "step_seconds", "points", "demand"])
    found["reach_seconds"] = found["origin"].map(dict(reaches))
    return found.dropna(subset="reach_seconds").reset_index(drop=True)


_COLUMNS = "origin, model, step_seconds, ds, quantiles, values_rps, history_from, watermark"


def read_forecasts_after(
    client: Client, service: str, *, after: datetime | None, until: datetime, reach: timedelta, most: int
) -> list[Forecast]:
    """Return the oldest `most` forecasts with after < origin <= until, oldest first, each as far as `reach` ahead.

    Of several forecasts from one origin it is the one made last.
    """
    wanted = (
        "origin > toDateTime({after:Int64}, 'UTC') AND origin <= toDateTime({until:Int64}, 'UTC')"
        " GROUP BY origin ORDER BY origin LIMIT {most:UInt32}"
    )
    more = {"after": epoch_seconds(after) if after else 0, "until": epoch_seconds(until), "most": most}
    return _newest(client, service, wanted, more, reach)


def read_forecasts_from(client: Client, service: str, origins: Sequence[int], *, reach: timedelta) -> list[Forecast]:
    """Return the forecasts from these origins (epoch s), oldest first, as `read_forecasts_after` does."""
    wanted = "toUnixTimestamp(origin) IN {origins:Array(Int64)} GROUP BY origin"
    return _newest(client, service, wanted, {"origins": list(origins)}, reach)


def _newest(client: Client, service: str, wanted: str, more: dict[str, Any], reach: timedelta) -> list[Forecast]:
    frame = client.query_frame(
        f"SELECT {_COLUMNS} FROM forecasts WHERE service = {{service:String}} AND ds < origin + {{reach:UInt32}}"  # noqa: S608 - constants
        " AND (origin, created_at) IN (SELECT origin, max(created_at) FROM forecasts"
        f" WHERE service = {{service:String}} AND {wanted}) ORDER BY origin, ds",
        {"service": service, "reach": int(reach.total_seconds()), **more},
    )
    if frame.empty:
        return []
    return [_forecast(service, rows) for _, rows in frame.groupby("origin", sort=True)]


def _forecast(service: str, rows: pd.DataFrame) -> Forecast:
    first = rows.iloc[0]
    levels = tuple(float(level) for level in first["quantiles"])
    values = pd.DataFrame(
        np.array([list(row) for row in rows["values_rps"]]), columns=[f"q{level:g}" for level in levels]
    )
    values.insert(0, "ds", pd.to_datetime(rows["ds"].to_numpy(), utc=True))
    return Forecast(
        name=service,
        origin=utc(first["origin"]),
        model=str(first["model"]),
        step=timedelta(seconds=int(first["step_seconds"])),
        quantiles=levels,
        frame=values,
        history_from=utc(first["history_from"]),
        watermark=utc(first["watermark"]),
    )


def _score(service: str, row: tuple[Any, ...]) -> Score:
    bucket, origin, step, *others = row
    plain: dict[str, Any] = dict(zip(_PLAIN, others[: len(_PLAIN)], strict=True))
    arrays: dict[str, Any] = dict(zip(_ARRAYS, (tuple(values) for values in others[len(_PLAIN) :]), strict=True))
    return Score(service=service, bucket=bucket, origin=utc(origin), step=timedelta(seconds=step), **plain, **arrays)
