"""Rate, errors and duration, by route, region, version or cache level; how durations are spread; what happened when."""

from __future__ import annotations

from typing import Any

import streamlit as st

from collector.record.store import RedDimension
from dashboard.charts import traffic as charts_traffic
from dashboard.context import View
from dashboard.parts import beneath, draw_figure, draw_page, draw_table, heading, nothing, say_marks, window_of
from dashboard.queries import ahead
from dashboard.queries import record as queries
from dashboard.side_by_side import ask_ahead
from dashboard.tables.traffic import totals_table
from dashboard.words import window

DIMENSIONS: dict[RedDimension, str] = {
    "route": "Route",
    "region": "Region",
    "version": "Version",
    "cache_level": "Cache level",
}


def draw(view: View) -> None:
    """Draw rate, errors and durations by the chosen dimension, the spread of durations, and the whole range's table."""
    by: RedDimension = (
        st.segmented_control(
            "By", list(DIMENSIONS), format_func=DIMENSIONS.__getitem__, default="route", key="by",
            label_visibility="collapsed",
        )
        or "route"
    )  # fmt: skip
    name, wide = view.service.name, ahead.heat_step(view)
    ask_ahead(*ahead.traffic(view, by))
    found = queries.traffic(name, view.since, view.until, view.step, wide, by, view.region)
    if found.by_step.empty:
        nothing("recorded request")
        return
    red = found.by_step.assign(**{by: found.by_step[by].replace("", "(none)")})
    label = DIMENSIONS[by].lower()
    marks = queries.marks(view)
    drawn: dict[str, Any] = {"by": by, "step": view.step, "window": window_of(view), "marks": marks}
    left, right = st.columns(2, gap="large")
    with left:
        heading("Rate")
        draw_figure(charts_traffic.rate_chart(red, **drawn), key="rate")
        heading("Errors")
        draw_figure(charts_traffic.error_chart(red, **drawn), key="errors")
    with right:
        heading("Response time, p95")
        draw_figure(charts_traffic.p95_chart(red, **drawn), key="p95")
        heading("Percentiles of all requests")
        figure = charts_traffic.latency_chart(found.whole, step=view.step, window=window_of(view), marks=marks)
        draw_figure(figure, key="percentiles")
    st.caption(
        f"By {label}, per {window(view.step)}; beyond the busiest {charts_traffic.MOST_SERIES - 1} together as other."
        f"{say_marks(marks)}"
    )
    beneath()
    heading("How long requests take")
    draw_figure(charts_traffic.heat_chart(found.bands, step=wide, window=window_of(view), marks=marks), key="heat")
    st.caption(
        f"Requests per {window(wide)} and band of durations, from the record's histograms; bands are half a doubling,"
        " their edges the histograms' own."
    )
    heading("The whole range")
    draw_table(totals_table(found.totals, by, DIMENSIONS[by]), key="totals", column_config=_columns())


def _columns() -> dict[str, Any]:
    number = st.column_config.NumberColumn
    durations = {f"{name}, ms": number(format="%.1f") for name in ("mean", "p50", "p95", "p99")}
    counts = {name: number(format="localized") for name in ("requests", "errors")}
    return {**counts, **durations, "share": number(format="%.1f %%"), "error ratio": number(format="%.3f %%")}


draw_page("Traffic", draw)
