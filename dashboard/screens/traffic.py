"""Rate, errors and duration, by route, region, version or cache level; how durations are spread; what happened when."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any

import streamlit as st

from collector.record.store import RedDimension
from dashboard.charts import traffic as charts_traffic
from dashboard.context import View
from dashboard.parts import draw_figure, draw_page, draw_table, heading, nothing, say_marks, window_of
from dashboard.queries import record as queries
from dashboard.side_by_side import ask_ahead
from dashboard.tables.traffic import totals_table
from dashboard.timerange import floored, step_for
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
    name, step = view.service.name, _heat_step(view)
    ask_ahead(
        partial(queries.red, name, view.since, view.until, view.step, by, view.region),
        partial(queries.red, name, view.since, view.until, view.step, None, view.region),
        partial(queries.red_totals, name, view.since, view.until, by, view.region),
        partial(queries.latency_bands, name, floored(view.since, step), view.until, step, view.region),
        partial(queries.marks, view),
    )
    red = queries.red(name, view.since, view.until, view.step, by, view.region)
    if red.empty:
        nothing("recorded request")
        return
    red = red.assign(**{by: red[by].replace("", "(none)")})
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
        whole = queries.red(view.service.name, view.since, view.until, view.step, None, view.region)
        figure = charts_traffic.latency_chart(whole, step=view.step, window=window_of(view), marks=marks)
        draw_figure(figure, key="percentiles")
    st.caption(
        f"By {label}, per {window(view.step)}; beyond the busiest {charts_traffic.MOST_SERIES - 1} together as other."
        f"{say_marks(marks)}"
    )
    _draw_heat(view)
    heading("The whole range")
    totals = queries.red_totals(view.service.name, view.since, view.until, by, view.region)
    draw_table(totals_table(totals, by, DIMENSIONS[by]), key="totals", column_config=_columns())


def _draw_heat(view: View) -> None:
    heading("How long requests take")
    step = _heat_step(view)
    since = floored(view.since, step)
    bands = queries.latency_bands(view.service.name, since, view.until, step, view.region)
    if bands.empty:
        nothing("recorded request")
        return
    draw_figure(
        charts_traffic.heat_chart(bands, step=step, window=window_of(view), marks=queries.marks(view)), key="heat"
    )
    st.caption(
        f"Requests per {window(step)} and band of durations, from the record's histograms; bands are half a doubling,"
        " their edges the histograms' own."
    )


def _heat_step(view: View) -> timedelta:
    return max(view.step, step_for(view.until - view.since, charts_traffic.HEAT_COLUMNS))


def _columns() -> dict[str, Any]:
    number = st.column_config.NumberColumn
    durations = {f"{name}, ms": number(format="%.1f") for name in ("mean", "p50", "p95", "p99")}
    counts = {name: number(format="localized") for name in ("requests", "errors")}
    return {**counts, **durations, "share": number(format="%.1f %%"), "error ratio": number(format="%.3f %%")}


draw_page("Traffic", draw)
