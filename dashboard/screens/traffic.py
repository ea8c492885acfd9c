"""Rate, errors and duration, by route, region, version or cache level."""

from __future__ import annotations

from typing import Any

import streamlit as st

from collector.record.store import RedDimension
from dashboard import charts, queries
from dashboard.context import View
from dashboard.parts import draw_figure, draw_page, nothing, window_of
from dashboard.traffic_tables import totals_table
from dashboard.words import window

DIMENSIONS: dict[RedDimension, str] = {
    "route": "Route",
    "region": "Region",
    "version": "Version",
    "cache_level": "Cache level",
}


def draw(view: View) -> None:
    """Draw rate and p95 by the chosen dimension, and a table over the whole range."""
    by: RedDimension = (
        st.segmented_control(
            "By", list(DIMENSIONS), format_func=DIMENSIONS.__getitem__, default="route", key="by",
            label_visibility="collapsed",
        )
        or "route"
    )  # fmt: skip
    red = queries.red(view.service.name, view.since, view.until, view.step, by)
    if red.empty:
        nothing("recorded request")
        return
    red = red.assign(**{by: red[by].replace("", "(none)")})
    label = DIMENSIONS[by].lower()
    left, right = st.columns(2, gap="large")
    with left:
        st.subheader("Rate", anchor=False)
        draw_figure(charts.rate_chart(red, by=by, step=view.step, window=window_of(view)), key="rate")
    with right:
        st.subheader("Response time, p95", anchor=False)
        draw_figure(charts.p95_chart(red, by=by, step=view.step, window=window_of(view)), key="p95")
    st.caption(f"By {label}, per {window(view.step)}; beyond the busiest {charts.MOST_SERIES - 1} together as other.")
    st.subheader("The whole range", anchor=False)
    totals = queries.red_totals(view.service.name, view.since, view.until, by)
    table = totals_table(totals, by, DIMENSIONS[by])
    st.dataframe(table, hide_index=True, width="stretch", column_config=_columns(), key="totals")


def _columns() -> dict[str, Any]:
    number = st.column_config.NumberColumn
    durations = {f"{name}, ms": number(format="%.0f") for name in ("mean", "p50", "p95", "p99")}
    counts = {name: number(format="localized") for name in ("requests", "errors")}
    return {**counts, **durations, "share": number(format="%.1f %%"), "error ratio": number(format="%.3f %%")}


draw_page("Traffic", draw)
