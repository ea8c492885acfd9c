"""The table of forecasts: its SQL, its writes and its reads. `forecaster.store` is the door to it."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from collector.clickhouse import Client
from forecaster.forecast.types import Forecast
from forecaster.store.instants import epoch_milliseconds, epoch_seconds, utc

_NAMESPACE = uuid.UUID("6a1f3c52-1d0e-4c0e-9a57-0b8f6f0f5a11")


def forecast_id(forecast: Forecast) -> str:
    """Return what a forecast is called in the audit: made of what it is, so that the same one is called the same."""
    return str(uuid.uuid5(_NAMESPACE, _token(forecast)))


def _token(forecast: Forecast) -> str:
    # A second forecast from the same origin is a second one only if it saw more: the newest is read back.
    return f"{forecast.name}/{epoch_seconds(forecast.origin)}/{epoch_seconds(forecast.watermark)}/{forecast.model}"


def write_forecast(client: Client, forecast: Forecast, *, created_at: datetime) -> None:
    """Store a forecast, one row per step. Raises ValueError when a value is not a finite number."""
    levels = list(forecast.quantiles)
    values = forecast.frame.drop(columns="ds").to_numpy(dtype=float)
    if values.shape != (len(forecast.frame), len(levels)) or not np.isfinite(values).all():
        expected = f"expected {len(levels)} finite quantiles per step"
        raise ValueError(f"forecast of {forecast.name} from {forecast.origin}: {expected}, got shape {values.shape}")
    rows = len(values)
    columns: dict[str, list[Any]] = {
        "service": [forecast.name] * rows,
        "origin": [epoch_seconds(forecast.origin)] * rows,
        "model": [forecast.model] * rows,
        "step_seconds": [int(forecast.step.total_seconds())] * rows,
        "ds": [epoch_seconds(ds) for ds in forecast.frame["ds"]],
        "quantiles": [levels] * rows,
        "values_rps": values.tolist(),
        "created_at": [epoch_milliseconds(created_at)] * rows,
        "history_from": [epoch_seconds(forecast.history_from)] * rows,
        "watermark": [epoch_seconds(forecast.watermark)] * rows,
        "notes": [list(forecast.notes)] * rows,
        "id": [forecast_id(forecast)] * rows,
    }
    client.insert_columns("forecasts", columns, token=f"forecast/{_token(forecast)}")


def read_latest_forecast(client: Client, service: str, *, at: datetime) -> Forecast | None:
    """Return the newest forecast with origin <= at, with all its steps, None when there is none yet.

    `at` is the present of the clock in use: a demo that is played again must not see what lies ahead of it.
    """
    frame = client.query_frame(
        "SELECT origin, model, step_seconds, ds, quantiles, values_rps, history_from, watermark, notes FROM forecasts"
        " WHERE service = {service:String} AND (origin, created_at) IN (SELECT origin, created_at FROM forecasts"
        " WHERE service = {service:String} AND origin <= toDateTime({at:Int64}, 'UTC')"
        " ORDER BY origin DESC, created_at DESC LIMIT 1) ORDER BY ds",
        {"service": service, "at": epoch_seconds(at)},
    )
    if frame.empty:
        return None
    first = frame.iloc[0]
    return Forecast(
        name=service,
        origin=utc(first["origin"]),
        model=str(first["model"]),
        step=timedelta(seconds=int(first["step_seconds"])),
        quantiles=tuple(first["quantiles"]),
        frame=_with_quantile_columns(frame[["ds"]], frame),
        history_from=utc(first["history_from"]),
        watermark=utc(first["watermark"]),
        notes=tuple(str(note) for note in first["notes"]),
    )


def read_forecasts(client: Client, service: str, *, since: datetime, until: datetime) -> pd.DataFrame:
    """Return all forecasts with since <= origin < until: columns origin, created_at, model, ds and `q<level>` each."""
    frame = client.query_frame(
        "SELECT origin, created_at, model, ds, quantiles, values_rps FROM forecasts WHERE service = {service:String}"
        " AND origin >= toDateTime({since:Int64}, 'UTC') AND origin < toDateTime({until:Int64}, 'UTC')"
        " ORDER BY origin, created_at, ds",
        {"service": service, "since": epoch_seconds(since), "until": epoch_seconds(until)},
    )
    return _with_quantile_columns(frame[["origin", "created_at", "model", "ds"]], frame) if len(frame) else _no_rows()


def read_forecast_as_known(
    client: Client, service: str, *, since: datetime, until: datetime, lead: timedelta
) -> pd.DataFrame:
    """Return for each step since <= ds < until what was forecast for it `lead` before: columns ds, origin, `q<level>`.

    It is the newest forecast whose origin is at least `lead` before the step: what a floor that takes `lead` to bring
    a ready replica could rest on. Steps without such a forecast have no row.
    """
    frame = client.query_frame(
        "SELECT ds, max(origin) AS newest, argMax(quantiles, (origin, created_at)) AS quantiles,"
        " argMax(values_rps, (origin, created_at)) AS values_rps FROM forecasts WHERE service = {service:String}"
        " AND ds >= toDateTime({since:Int64}, 'UTC') AND ds < toDateTime({until:Int64}, 'UTC')"
        " AND origin <= ds - {lead:UInt32} GROUP BY ds ORDER BY ds",
        {
            "service": service,
            "since": epoch_seconds(since),
            "until": epoch_seconds(until),
            "lead": int(lead.total_seconds()),
        },
    ).rename(columns={"newest": "origin"})
    return _with_quantile_columns(frame[["ds", "origin"]], frame) if len(frame) else _no_rows()


def _with_quantile_columns(left: pd.DataFrame, stored: pd.DataFrame) -> pd.DataFrame:
    """Return `left` with one column `q<level>` per level that any stored row has (NaN where a row has it not)."""
    values = pd.DataFrame(
        [
            {f"q{level:g}": value for level, value in zip(levels, row, strict=True)}
            for levels, row in zip(stored["quantiles"], stored["values_rps"], strict=True)
        ],
        index=left.index,
    )
    return pd.concat([left, values], axis=1)


def _no_rows() -> pd.DataFrame:
    return pd.DataFrame({"ds": pd.Series(dtype="datetime64[s, UTC]"), "origin": pd.Series(dtype="datetime64[s, UTC]")})
