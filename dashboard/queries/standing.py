"""How a service stands, read: its SLOs, its newest requests, its autoscaler, the hour ahead, its alerts."""

from __future__ import annotations

from datetime import datetime, timedelta

import pandas as pd

from collector.catalog import Service
from dashboard.charts.scaling import band_of
from dashboard.queries import forecaster as forecast_queries
from dashboard.queries import record as queries
from dashboard.tables.standing import Standing
from dashboard.timerange import step_for
from forecaster.forecast.types import Forecast

RECENT = timedelta(minutes=15)
TREND_POINTS = 60
NEXT = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
DEFAULT_LEAD, DEFAULT_QUANTILE = timedelta(minutes=15), 0.95


def standing_of(service: Service, *, minute: datetime, since: datetime, now: datetime | None = None) -> Standing:
    """Return how a service stands at the end of a minute; since: the beginning of its trend. Raises StoreError.

    now: the present, where it is that which is looked at: whether requests still come is told then.
    """
    name = service.name
    recent = queries.red_totals(name, minute - RECENT, minute)
    told = queries.demand(name, minute - RECENT, minute, MINUTE)
    newest = None if now is None else queries.silent_since(service, now)
    row = recent.iloc[0] if len(recent) and recent["requests"].iloc[0] else None
    states = forecast_queries.replica_states(name, minute - RECENT, minute, RECENT) if service.scaling else None
    last = states.iloc[-1] if states is not None and len(states) else None
    peak = peak_of(forecast_queries.latest_forecast(name, minute), service, minute)
    trend = queries.demand(name, since, minute, step_for(minute - since, TREND_POINTS))
    firing = [one for one in queries.alerts(minute) if one["service"] == name and one["phase"] == "firing"]
    return Standing(
        service=name,
        statuses=tuple(queries.slo_statuses(service, minute)),
        rps=float(told["rps"].mean()) if len(told) else None,  # of the minutes that are known: others are no zero
        error_ratio=None if row is None else float(row["errors"] / row["requests"]),
        p95_seconds=None if row is None or pd.isna(row["p95_seconds"]) else float(row["p95_seconds"]),
        ready=None if last is None else int(last["ready"]),
        desired=None if last is None else int(last["desired"]),
        floor=None if last is None else int(last["floor"]),
        peak_rps=None if peak is None else peak[0],
        alerts=len(firing),
        silent_for=None if newest is None or now is None else now - newest,
        recent_rps=tuple(float(value) for value in trend["rps"]),
    )


def peak_of(forecast: Forecast | None, service: Service, now: datetime) -> tuple[float, datetime] | None:
    """Return the highest rate of the next hour, at the quantile that scaling asks for, and when; None: no forecast."""
    quantile = service.scaling.quantile if service.scaling is not None else DEFAULT_QUANTILE
    soon = band_of(between(forecast, now, now + NEXT), quantile=quantile)
    if soon.empty:
        return None
    at = soon["ds"][soon["high"] == soon["high"].max()].iloc[0]
    return float(soon["high"].max()), max(at.to_pydatetime(), now)


def between(forecast: Forecast | None, start: datetime, end: datetime) -> pd.DataFrame:
    """Return the steps of a forecast that touch [start, end), none without a forecast."""
    if forecast is None:
        return pd.DataFrame()
    frame = forecast.frame
    return frame[(frame["ds"] > start - forecast.step) & (frame["ds"] < end)]
