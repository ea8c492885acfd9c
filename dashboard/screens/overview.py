"""Is it healthy, what comes, are we ready: every service, the worst first, then the chosen one closer."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pandas as pd
import streamlit as st

from dashboard.charts import scaling as charts
from dashboard.charts import traffic as charts_traffic
from dashboard.context import View, catalog, zone
from dashboard.parts import (
    beneath,
    draw_figure,
    draw_page,
    draw_table,
    heading,
    look_ahead,
    nothing,
    say_marks,
    window_of,
)
from dashboard.queries import ahead
from dashboard.queries import forecaster as forecast_queries
from dashboard.queries import record as queries
from dashboard.queries.standing import (
    DEFAULT_LEAD,
    DEFAULT_QUANTILE,
    between,
    peak_of,
    standing_of,
)
from dashboard.side_by_side import ask_ahead
from dashboard.tables.scaling import planned, planned_until, reasons
from dashboard.tables.slo import slo_table
from dashboard.tables.slo import worst_first as slos_worst_first
from dashboard.tables.standing import Standing, standing_table, worst_first
from dashboard.words import NONE, minutes, percent, rps, time_of_day, window
from forecaster.forecast.types import Forecast

MINUTE = timedelta(minutes=1)
DOTS_UP_TO = timedelta(hours=3)
MOST_SERVICES = 50
SHADES = {"●": "green", "▲": "red", "◆": "orange"}  # beside a shape: colour alone tells too few


def draw(view: View) -> None:
    """Draw the services, then the chosen one: its numbers of now, demand, SLOs, replicas and response times."""
    ask_ahead(*ahead.overview(view))
    standings = _draw_services(view)
    own = next((each for each in standings if each.service == view.service.name), None)
    if own is None:
        own = standing_of(view.service, minute=view.minute, since=view.since, now=view.now if view.live else None)
    shape = own.state()[0]
    if own.known:
        st.markdown(f"#### :{SHADES.get(shape, 'gray')}[{shape}] {own.sentence()}")
    forecast = forecast_queries.latest_forecast(view.service.name, view.minute)
    _draw_numbers(view, own, forecast)
    marks = queries.marks(view)
    demand, step = _draw_demand(view, forecast, marks)
    if view.service.slos:
        heading("SLOs")
        statuses = slos_worst_first(list(own.statuses))
        draw_table(slo_table(statuses), key="slos")
    beneath()
    left, right = st.columns(2, gap="large")
    with left:
        heading("Replicas")
        _draw_replicas(view, demand, forecast, step, marks)
    with right:
        heading("Response time")
        _draw_latency(view, marks)


def _draw_services(view: View) -> list[Standing]:
    known, now = list(catalog().services.values())[:MOST_SERVICES], view.now if view.live else None
    standings = worst_first([standing_of(each, minute=view.minute, since=view.since, now=now) for each in known])
    config: dict[str, Any] = {
        "trend": st.column_config.LineChartColumn(
            "trend", width="small", help="Requests/s over the time range.", y_min=0
        ),
        "alerts": st.column_config.NumberColumn("alerts", help="That fire now."),
        "next hour, peak": st.column_config.TextColumn(
            help="Requests/s that demand stays under, at scaling's quantile."
        ),
    }
    draw_table(standing_table(standings), key="services", column_config=config)
    if len(catalog().services) > MOST_SERVICES:
        st.caption(f"The first {MOST_SERVICES} services of {len(catalog().services)}.")
    return standings


def _draw_numbers(view: View, own: Standing, forecast: Forecast | None) -> None:
    cells = st.columns(6)
    cells[0].metric("Demand, requests/s", rps(own.rps), help="Mean of the last 15 minutes.")
    peak = peak_of(forecast, view.service, view.minute)
    quantile = view.service.scaling.quantile if view.service.scaling is not None else DEFAULT_QUANTILE
    said = f"Demand stays under it for the next hour, at each instant with probability {quantile:g}."
    at = None if peak is None else f"at {time_of_day(peak[1], zone())}"
    cells[1].metric(
        "Peak within 1 h", rps(own.peak_rps), delta=at, delta_color="off", delta_arrow="off", help=said
    )  # fmt: skip
    cells[2].metric("Errors", percent(own.error_ratio), help="Status 500 and up, of the last 15 minutes.")
    p95 = NONE if own.p95_seconds is None else f"{own.p95_seconds * 1000:,.0f}"
    cells[3].metric("p95, ms", p95, help="Of all requests of the last 15 minutes.")
    ready = NONE if own.ready is None else f"{own.ready} of {own.desired}"
    cells[4].metric("Replicas ready", ready, help="Ready of desired.")
    cells[5].metric("Floor", NONE if own.floor is None else str(own.floor), help="The autoscaler's minReplicas.")


def _draw_demand(view: View, forecast: Forecast | None, marks: pd.DataFrame) -> tuple[pd.DataFrame, timedelta]:
    name, scaling = view.service.name, view.service.scaling
    heading("Demand and forecast")
    step = max(view.step, forecast.step) if forecast is not None else view.step
    demand = queries.demand(name, view.since, view.until, step)
    if demand.empty and forecast is None:
        nothing("demand")
        return demand, step
    lead = scaling.lead if scaling is not None else DEFAULT_LEAD
    quantile = scaling.quantile if scaling is not None else DEFAULT_QUANTILE
    stored = forecast_queries.forecast_as_known(name, view.since, view.until, lead)
    known = charts.per_step(charts.band_of(stored, quantile=quantile), step)
    future = between(forecast, view.now, look_ahead(view))
    dots = view.until - view.since <= DOTS_UP_TO and step > MINUTE
    figure = charts.demand_chart(
        demand,
        minutes=queries.demand(name, view.since, view.minute, MINUTE) if dots else pd.DataFrame(),
        known=known,
        ahead=charts.band_of(future, quantile=quantile),
        step=step,
        window=window_of(view),
        marks=marks,
    )
    draw_figure(figure, key="demand")
    levels = charts.quantile_levels(future, quantile=quantile)
    whole = " Of all regions." if view.region else ""
    if forecast is None or levels is None:
        st.caption(f"Demand per {window(step)}. There is no forecast yet.{whole}{say_marks(marks)}")
        return demand, step
    age = minutes(view.now - forecast.origin)
    st.caption(
        f"Demand per {window(step)}{', dots per minute' if dots else ''}. Band: demand stays between its edges with"
        f" probability {levels[2] - levels[0]:.0%} ({levels[0]:g} to {levels[2]:g}); before now as it was known"
        f" {window(lead)} ahead, after now the newest forecast ({forecast.model}, {age} old).{whole}{say_marks(marks)}"
    )
    return demand, step


def _draw_replicas(
    view: View, demand: pd.DataFrame, forecast: Forecast | None, step: timedelta, marks: pd.DataFrame
) -> None:
    scaling = view.service.scaling
    if scaling is None:
        st.info(f"{view.service.name} is not scaled by Tidegauge: tidegauge.yaml has no scaling block for it.")
        return
    states = forecast_queries.replica_states(view.service.name, view.since, view.now, view.step)
    if states.empty:
        nothing("state of the autoscaler")
        return
    last = forecast_queries.decisions(view.service.name, view.since, view.now, limit=1)
    end = planned_until(forecast, now=view.now, until=look_ahead(view), lead=scaling.lead)
    plan = planned(last[0], until=end, now=view.now) if last else pd.DataFrame()
    needed = charts.needed_replicas(states, demand, step=step)
    draw_figure(charts.replica_chart(states, needed, plan, window=window_of(view), marks=marks), key="scale")
    if last:
        st.caption(f"Why {last[0].decision.floor_after}: {reasons(last[0], zone())[0]}.")


def _draw_latency(view: View, marks: pd.DataFrame) -> None:
    red = queries.red(view.service.name, view.since, view.until, view.step, None, view.region)
    if red.empty:
        nothing("recorded request")
        return
    figure = charts_traffic.latency_chart(red, step=view.step, window=window_of(view), marks=marks)
    draw_figure(figure, key="latency")
    st.caption(f"Of all requests{f' of {view.region}' if view.region else ''}, per {window(view.step)}.")


draw_page("Overview", draw)
