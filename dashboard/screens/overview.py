"""Is it healthy, what comes, are we ready: demand with its forecast, replicas with their floor, latency, SLOs."""

from __future__ import annotations

from datetime import datetime, timedelta

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dashboard import charts, queries
from dashboard.context import View
from dashboard.parts import draw_figure, draw_page, look_ahead, nothing, window_of
from dashboard.scaling_tables import planned, planned_until
from dashboard.slo_tables import slo_table, worst_first
from dashboard.words import NONE, minutes, percent, rps, window
from forecaster.forecast.types import Forecast

NEXT = timedelta(hours=1)
RECENT = timedelta(minutes=15)
MINUTE = timedelta(minutes=1)
DOTS_UP_TO = timedelta(hours=3)
DEFAULT_LEAD, DEFAULT_QUANTILE = timedelta(minutes=15), 0.95


def draw(view: View) -> None:
    """Draw the numbers of now, then demand, replicas, response times and SLOs."""
    name = view.service.name
    forecast = queries.latest_forecast(name, view.now)
    states = queries.replica_states(name, view.since, view.now, view.step)
    step = max(view.step, forecast.step) if forecast is not None else view.step
    demand = queries.demand(name, view.since, view.until, step)
    _draw_numbers(view, forecast, states)
    st.subheader("Demand and forecast", anchor=False)
    if demand.empty and forecast is None:
        nothing("demand")
    else:
        _draw_demand(view, demand, forecast, step)
    left, right = st.columns(2, gap="large")
    with left:
        st.subheader("Replicas", anchor=False)
        _draw_replicas(view, states, demand, forecast, step)
    with right:
        st.subheader("Response time", anchor=False)
        red = queries.red(name, view.since, view.until, view.step)
        if red.empty:
            nothing("recorded request")
        else:
            draw_figure(charts.latency_chart(red, step=view.step, window=window_of(view)), key="latency")
            st.caption(f"Of all requests, per {window(view.step)}.")
    if view.service.slos:
        st.subheader("SLOs", anchor=False)
        statuses = worst_first(queries.slo_statuses(view.service, view.minute))
        st.dataframe(slo_table(statuses), hide_index=True, width="stretch", key="slos")


def _draw_demand(view: View, demand: pd.DataFrame, forecast: Forecast | None, step: timedelta) -> None:
    name, scaling = view.service.name, view.service.scaling
    lead = scaling.lead if scaling is not None else DEFAULT_LEAD
    quantile = scaling.quantile if scaling is not None else DEFAULT_QUANTILE
    stored = queries.forecast_as_known(name, view.since, view.until, lead)
    known = charts.per_step(charts.band_of(stored, quantile=quantile), step)
    future = _between(forecast, view.now, look_ahead(view))
    ahead = charts.band_of(future, quantile=quantile)
    dots = view.until - view.since <= DOTS_UP_TO and step > MINUTE
    figure = charts.demand_chart(
        demand,
        minutes=queries.demand(name, view.since, view.minute, MINUTE) if dots else pd.DataFrame(),
        known=known,
        ahead=ahead,
        step=step,
        window=window_of(view),
    )
    draw_figure(figure, key="demand")
    levels = charts.quantile_levels(future, quantile=quantile)
    if forecast is None or levels is None:
        st.caption(f"Demand per {window(step)}. There is no forecast yet.")
        return
    age = minutes(view.now - forecast.origin)
    st.caption(
        f"Demand per {window(step)}{', dots per minute' if dots else ''}. Band: demand stays between its edges with"
        f" probability {levels[2] - levels[0]:.0%} ({levels[0]:g} to {levels[2]:g}); before now as it was known"
        f" {window(lead)} ahead, after now the newest forecast ({forecast.model}, {age} old)."
    )


def _between(forecast: Forecast | None, start: datetime, end: datetime) -> pd.DataFrame:
    """Return the steps of a forecast that touch [start, end), none without a forecast."""
    if forecast is None:
        return pd.DataFrame()
    frame = forecast.frame
    return frame[(frame["ds"] > start - forecast.step) & (frame["ds"] < end)]


def _draw_replicas(
    view: View, states: pd.DataFrame, demand: pd.DataFrame, forecast: Forecast | None, step: timedelta
) -> None:
    scaling = view.service.scaling
    if scaling is None:
        st.info(f"{view.service.name} is not scaled by Tidegauge: tidegauge.yaml has no scaling block for it.")
        return
    if states.empty:
        nothing("state of the autoscaler")
        return
    last = queries.decisions(view.service.name, view.since, view.now, limit=1)
    end = planned_until(forecast, now=view.now, until=look_ahead(view), lead=scaling.lead)
    plan = planned(last[0], until=end, now=view.now) if last else pd.DataFrame()
    needed = charts.needed_replicas(states, demand, step=step)
    draw_figure(charts.replica_chart(states, needed, plan, window=window_of(view)), key="scale")
    if last:
        st.caption(f"Why {last[0].decision.floor_after}: {last[0].decision.reasons[0]}.")


def _draw_numbers(view: View, forecast: Forecast | None, states: pd.DataFrame) -> None:
    name = view.service.name
    cells = st.columns(6)
    newest = queries.demand(name, view.minute - timedelta(minutes=5), view.minute, MINUTE)
    cells[0].metric(
        "Demand, requests/s", rps(None if newest.empty else float(newest["rps"].mean())), help="Mean of five minutes."
    )
    _draw_peak(cells[1], view, forecast)
    recent = queries.red_totals(name, view.minute - RECENT, view.minute)
    row = recent.iloc[0] if len(recent) and recent["requests"].iloc[0] else None
    cells[2].metric(
        "Errors",
        NONE if row is None else percent(row["errors"] / row["requests"]),
        help="Status 500 and up, 15 min.",
    )
    p95 = None if row is None or pd.isna(row["p95_seconds"]) else float(row["p95_seconds"])
    cells[3].metric(
        "p95, ms", NONE if p95 is None else f"{p95 * 1000:,.0f}", help="Of all requests of the last 15 minutes."
    )
    last = states.iloc[-1] if len(states) else None
    cells[4].metric(
        "Replicas ready", NONE if last is None else f"{last['ready']} of {last['desired']}", help="Ready of desired."
    )
    cells[5].metric(
        "Floor",
        NONE if last is None else str(last["floor"]),
        delta=None if last is None else f"operator's is {last['operator_floor']}",
        delta_color="off",
        delta_arrow="off",
    )


def _draw_peak(cell: DeltaGenerator, view: View, forecast: Forecast | None) -> None:
    scaling = view.service.scaling
    quantile = scaling.quantile if scaling is not None else DEFAULT_QUANTILE
    said = f"Demand stays under it for the next hour, at each instant with probability {quantile:g}."
    soon = charts.band_of(_between(forecast, view.now, view.now + NEXT), quantile=quantile)
    if soon.empty:
        cell.metric("Peak within 1 h", NONE, help=said)
        return
    at = soon["ds"][soon["high"] == soon["high"].max()].iloc[0]
    delta = f"at {max(at, pd.Timestamp(view.now)):%H:%M}"
    cell.metric(
        "Peak within 1 h", rps(float(soon["high"].max())), delta=delta, delta_color="off", delta_arrow="off", help=said
    )


draw_page("Overview", draw)
