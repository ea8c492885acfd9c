"""Rate, errors and duration as figures, pure: lines by a dimension, stacked rates, a heat-map of durations."""

from __future__ import annotations

from datetime import timedelta

import altair as alt
import pandas as pd

from dashboard.charts import figure
from dashboard.charts.figure import Figure, Window

MOST_SERIES = len(figure.CATEGORIES)
OTHER = "other"
HEAT_COLUMNS = 120
LEAST_ERRORS_SHOWN = 0.1  # percent: without any errors the axis needs some height all the same


def latency_chart(
    red: pd.DataFrame, *, step: timedelta, window: Window, marks: pd.DataFrame | None = None
) -> Figure:  # fmt: skip
    """Return p50, p95 and p99 over time in milliseconds, on a logarithmic scale. red: as read by `read_red`."""
    names = ["p50", "p95", "p99"]
    frame = figure.with_gaps(red, step).rename(columns={f"{name}_seconds": name for name in names})
    long = frame.melt("ds", names, var_name="what", value_name="seconds")
    long = long.assign(ms=long["seconds"] * 1000)[["ds", "what", "ms"]]
    dash = figure.dashes(names, [[2, 2], [1, 0], [6, 3]])
    lines = figure.rows("latency").mark_line(**figure.line())
    encoded = lines.encode(
        x=figure.time_axis(),
        y=figure.milliseconds(),
        color=figure.colours(names, [figure.GREEN, figure.BLUE, figure.RED]),
        strokeDash=dash,
        tooltip=[figure.TIME, alt.Tooltip("what:N", title="quantile"), alt.Tooltip("ms:Q", title="ms", format=",.0f")],
    )
    return figure.layered([encoded], {"latency": long}, window, marks=marks)


def rate_chart(
    red: pd.DataFrame, *, by: str, step: timedelta, window: Window, marks: pd.DataFrame | None = None
) -> Figure:  # fmt: skip
    """Return requests per second as stacked bars, one per step: a step without a row has no bar. red: of `read_red`."""
    order = leading(red, by)
    named = red.assign(what=red[by].where(red[by].isin(order), OTHER))
    bars = named.groupby(["ds", "what"], as_index=False).agg(rps=("rps", "sum"))
    rank = {name: place for place, name in enumerate([*order, OTHER])}
    bars = bars.assign(rank=bars["what"].map(rank)).sort_values(["ds", "rank"]).drop(columns="rank")
    top = bars.groupby("ds")["rps"].cumsum()
    bars = bars.assign(end=bars["ds"] + step * 0.94, top=top, bottom=top - bars["rps"])
    rate = alt.Y("bottom:Q", title="requests/s")
    tips = [figure.TIME, alt.Tooltip("what:N", title=by), alt.Tooltip("rps:Q", title="requests/s", format=",.3~f")]
    what = _series(order, bars["what"], "square")
    drawn = (
        figure.rows("rate")
        .mark_bar()
        .encode(x=figure.time_axis(), x2=alt.X2("end:T"), y=rate, y2=alt.Y2("top:Q"), color=what, tooltip=tips)
    )
    return figure.layered(
        [drawn], {"rate": bars}, window, marks=marks, height=figure.HEIGHT + figure.legend_height(order)
    )


def p95_chart(
    red: pd.DataFrame, *, by: str, step: timedelta, window: Window, marks: pd.DataFrame | None = None
) -> Figure:  # fmt: skip
    """Return the p95 of each leading value of a dimension, in milliseconds. red: as read by `read_red`."""
    order = leading(red, by)
    kept = red[red[by].isin(order) & red["p95_seconds"].notna()]
    frame = figure.with_gaps(kept[["ds", by, "p95_seconds"]].reset_index(drop=True), step, by=by)
    frame = pd.DataFrame({"ds": frame["ds"], "what": frame[by], "ms": frame["p95_seconds"] * 1000})
    drawn = figure.rows("p95").mark_line(**figure.line(strokeWidth=1.6))
    encoded = drawn.encode(
        x=figure.time_axis(),
        y=figure.milliseconds(),
        color=_series(order, frame["what"]),
        tooltip=[figure.TIME, alt.Tooltip("what:N", title=by), alt.Tooltip("ms:Q", title="p95, ms", format=",.0f")],
    )
    return figure.layered(
        [encoded], {"p95": frame}, window, marks=marks, height=figure.HEIGHT + figure.legend_height(order)
    )


def error_chart(
    red: pd.DataFrame, *, by: str, step: timedelta, window: Window, marks: pd.DataFrame | None = None
) -> Figure:  # fmt: skip
    """Return the share of requests that failed in percent, by each leading value of a dimension."""
    frame = red.assign(what=red[by], value=red["errors"] / red["requests"] * 100)
    return lines_chart(
        frame[frame["what"].isin(leading(red, by))], title="failed, %", step=step, window=window, marks=marks,
        order=leading(red, by), form=".3~f", least_top=LEAST_ERRORS_SHOWN,
    )  # fmt: skip


def lines_chart(
    frame: pd.DataFrame,
    *,
    title: str,
    step: timedelta,
    window: Window,
    marks: pd.DataFrame | None = None,
    order: list[str] | None = None,
    form: str = ",.3~f",
    height: int = 220,
    least_top: float = 0.0,
) -> Figure:
    """Return one line per `what` of a frame `ds, what, value`; a missing step is a gap.

    order: of the colours. least_top: up to where the axis reaches at least.
    """
    kept = frame[["ds", "what", "value"]].sort_values("ds", kind="stable").reset_index(drop=True)
    names = order if order is not None else sorted(str(name) for name in kept["what"].unique())
    names = names[:MOST_SERIES]
    kept = figure.with_gaps(kept[kept["what"].isin(names)].reset_index(drop=True), step, by="what")
    drawn = figure.rows("lines").mark_line(**figure.line(strokeWidth=1.7))
    encoded = drawn.encode(
        x=figure.time_axis(),
        y=alt.Y("value:Q", title=title, scale=alt.Scale(zero=True)),
        color=figure.colours(names, figure.CATEGORIES[: len(names)]),
        tooltip=[figure.TIME, alt.Tooltip("what:N", title="what"), alt.Tooltip("value:Q", title=title, format=form)],
    )
    reach = figure.rows("reach").mark_point(opacity=0).encode(y=alt.Y("value:Q"))
    data = {"lines": kept, "reach": pd.DataFrame({"value": [least_top]})}
    return figure.layered([encoded, reach], data, window, height=height + figure.legend_height(names), marks=marks)


def heat_chart(
    bands: pd.DataFrame, *, step: timedelta, window: Window, marks: pd.DataFrame | None = None
) -> Figure:  # fmt: skip
    """Return how many requests took how long: a cell per step and band, the darker the more.

    bands: `ds, low_ms, high_ms, requests`. The scale is logarithmic in both durations and counts, so that the few slow
    requests are seen beside the many fast ones.
    """
    cells = bands.assign(end=bands["ds"] + step)
    low = figure.milliseconds("low_ms:Q", nice=False)
    shade = alt.Color(
        "requests:Q",
        scale=alt.Scale(type="log", scheme="viridis"),
        legend=alt.Legend(title="requests", orient="right", format=",", gradientLength=180),
    )
    tips = [
        figure.TIME,
        alt.Tooltip("low_ms:Q", title="longer than, ms", format=",.3~f"),
        alt.Tooltip("high_ms:Q", title="up to, ms", format=",.3~f"),
        alt.Tooltip("requests:Q", title="requests", format=","),
    ]
    cell = (
        figure.rows("bands")
        .mark_rect()
        .encode(x=figure.time_axis(), x2=alt.X2("end:T"), y=low, y2=alt.Y2("high_ms:Q"), color=shade, tooltip=tips)
    )
    return figure.layered([cell], {"bands": cells}, window, marks=marks)


def leading(red: pd.DataFrame, by: str) -> list[str]:
    """Return the values of a dimension that get a colour of their own: those with most requests, then by name."""
    totals = red.groupby(by)["requests"].sum().reset_index().sort_values(["requests", by], ascending=[False, True])
    names = [str(name) for name in totals[by]]
    return names if len(names) <= MOST_SERIES else names[: MOST_SERIES - 1]


def _series(order: list[str], drawn: pd.Series, symbol: str = "stroke") -> alt.Color:
    names = [*order, OTHER] if (drawn == OTHER).any() and OTHER not in order else order
    return figure.colours(names, figure.CATEGORIES[: len(names)], symbol=symbol)
