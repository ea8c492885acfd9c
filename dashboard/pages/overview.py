"""Is it healthy, what comes, are we ready: demand with its forecast, replicas with their floor, latency."""

from __future__ import annotations

from datetime import timedelta

import pandas as pd
import streamlit as st

from dashboard import charts, queries
from dashboard.context import View
from dashboard.parts import draw_page, nothing, rps

NEXT = timedelta(hours=1)
RECENT = timedelta(minutes=5)


def draw(view: View) -> None:
    """Draw the numbers of now, then the three curves."""
    name, lead = view.service.name, _lead(view)
    demand = queries.demand(name, view.since, view.until, view.step)
    forecast = queries.latest_forecast(name, view.until)
    states = queries.replica_states(name, view.since, view.until)
    red = queries.red(name, view.since, view.until, view.step)
    _numbers(view, demand, None if forecast is None else forecast.frame, states)
    st.subheader("Demand and forecast")
    if demand.empty:
        nothing("demand")
    else:
        known = queries.forecast_as_known(name, view.since, view.until, lead)
        ahead = _ahead(view, None if forecast is None else forecast.frame)
        st.altair_chart(charts.demand_chart(demand, known, ahead, now=view.until), width="stretch")
        st.caption(
            f"Band: 10 % to 95 %, as known {lead.total_seconds() / 60:g} minutes ahead; right of now: the newest."
        )
    left, right = st.columns(2)
    with left:
        st.subheader("Replicas")
        if states.empty:
            nothing("state of the autoscaler")
        else:
            st.altair_chart(charts.replica_chart(states, demand), width="stretch")
    with right:
        st.subheader("Response time")
        if red.empty:
            nothing("recorded request")
        else:
            st.altair_chart(charts.latency_chart(red, objective_seconds=None), width="stretch")


def _lead(view: View) -> timedelta:
    return view.service.scaling.lead if view.service.scaling is not None else timedelta(minutes=15)


def _ahead(view: View, frame: pd.DataFrame | None) -> pd.DataFrame:
    """Return the newest forecast over as much future as fits beside the past."""
    if frame is None:
        return pd.DataFrame()
    end = view.until + (view.until - view.since) / 3
    return frame[(frame["ds"] >= view.until - view.step) & (frame["ds"] < end)]


def _numbers(view: View, demand: pd.DataFrame, ahead: pd.DataFrame | None, states: pd.DataFrame) -> None:
    recent = queries.red(view.service.name, view.until - 3 * RECENT, view.until, timedelta(minutes=1))
    now_rps = float(demand["rps"].iloc[-3:].mean()) if len(demand) else None
    cells = st.columns(6)
    cells[0].metric("Demand, requests/s", rps(now_rps))
    soon = None if ahead is None else ahead[(ahead["ds"] >= view.until) & (ahead["ds"] < view.until + NEXT)]
    cells[1].metric("Peak within 1 h (p95)", rps(None if soon is None or soon.empty else float(soon["q0.95"].max())))
    requests = int(recent["requests"].sum()) if len(recent) else 0
    errors = f"{recent['errors'].sum() / requests:.2%}" if requests else "–"
    cells[2].metric("Errors, 15 min", errors)
    p95 = f"{recent['p95_seconds'].max() * 1000:,.0f} ms" if requests else "–"
    cells[3].metric("Worst p95, 15 min", p95)
    last = states.iloc[-1] if len(states) else None
    cells[4].metric("Replicas ready / desired", "–" if last is None else f"{last['ready']} / {last['desired']}")
    cells[5].metric("Floor (operator's)", "–" if last is None else f"{last['floor']} ({last['operator_floor']})")


draw_page("Overview", draw)
