"""Rate, errors and duration, by route, region, version or cache level."""

from __future__ import annotations

import streamlit as st

from collector.record.store import RedDimension
from dashboard import charts, queries
from dashboard.context import View
from dashboard.parts import draw_page, nothing

DIMENSIONS: dict[RedDimension, str] = {
    "route": "Route",
    "region": "Region",
    "version": "Version",
    "cache_level": "Cache level",
}


def draw(view: View) -> None:
    """Draw the rate stacked by the chosen dimension and a table of the whole range."""
    by = st.segmented_control("By", list(DIMENSIONS), format_func=DIMENSIONS.__getitem__, default="route") or "route"
    red = queries.red(view.service.name, view.since, view.until, view.step, by)
    if red.empty:
        nothing("recorded request")
        return
    st.altair_chart(charts.rate_chart(red, by=by), width="stretch")
    table = red.groupby(by, as_index=False).agg(
        requests=("requests", "sum"), errors=("errors", "sum"), worst_p95_seconds=("p95_seconds", "max")
    )
    table["error ratio"] = table["errors"] / table["requests"]
    st.dataframe(table.sort_values("requests", ascending=False), hide_index=True, width="stretch")


draw_page("Traffic", draw)
