"""SLIs, error budgets and burn rates as figures, pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import altair as alt
import pandas as pd

from collector.slo.history import BudgetPoint
from collector.slo.objectives import BURN_PAIRS, SloStatus
from dashboard.charts import figure
from dashboard.charts.figure import Figure, Window
from dashboard.words import window as span_name


def sli_chart(
    series: pd.DataFrame, *, target: float, step: timedelta, window: Window, marks: pd.DataFrame | None = None
) -> Figure:
    """Return the SLI of one objective per step in percent, with its target as a line; steps without requests are gaps.

    series: `ds, valid, good, sli`.
    """
    frame = figure.with_gaps(series[["ds", "valid", "good", "sli"]], step)
    frame = frame.assign(percent=frame["sli"] * 100, bad=frame["valid"] - frame["good"])
    names = ["SLI per step", "target"]
    what, dash = figure.colours(names, [figure.BLUE, figure.RED]), figure.dashes(names, [[1, 0], [6, 3]])
    percent = alt.Y("percent:Q", title="good requests, %", scale=alt.Scale(zero=False))
    tips = [
        figure.TIME,
        alt.Tooltip("percent:Q", title="SLI, %", format=".3f"),
        alt.Tooltip("bad:Q", title="bad requests", format=","),
        alt.Tooltip("valid:Q", title="of", format=","),
    ]
    curve = figure.rows("sli").transform_calculate(what="'SLI per step'").mark_line(**figure.line())
    rule = figure.rows("target").transform_calculate(what="'target'").mark_rule(strokeWidth=1.8)
    layers = [
        rule.encode(y=percent, color=what, strokeDash=dash, tooltip=[alt.Tooltip("percent:Q", title="target, %")]),
        curve.encode(x=figure.time_axis(), y=percent, color=what, strokeDash=dash, tooltip=tips),
    ]
    targets = pd.DataFrame({"percent": [target * 100]})
    return figure.layered(layers, {"sli": frame, "target": targets}, window, marks=marks)


def budget_frame(points: Sequence[BudgetPoint]) -> pd.DataFrame:
    """Return `ds, left, bad, valid` of a budget's history: percent left, and the step's own requests."""
    times = pd.to_datetime(pd.Series([point.at for point in points], dtype="object"), utc=True)
    return pd.DataFrame(
        {
            "ds": pd.Series(times).dt.as_unit("us"),
            "left": pd.Series(
                [None if p.budget_left is None else p.budget_left * 100 for p in points], dtype="float64"
            ),
            "bad": pd.Series([point.step.valid - point.step.good for point in points], dtype="int64"),
            "valid": pd.Series([point.step.valid for point in points], dtype="int64"),
        }
    )


def budget_chart(
    points: Sequence[BudgetPoint], *, step: timedelta, window: Window, marks: pd.DataFrame | None = None
) -> Figure:
    """Return what was left of the error budget, in percent, at the end of each step; below zero it is overspent."""
    frame = figure.with_gaps(budget_frame(points).dropna(subset="left").reset_index(drop=True), step)
    left = alt.Y("left:Q", title="budget left, %", scale=alt.Scale(zero=True))
    tips = [
        figure.TIME,
        alt.Tooltip("left:Q", title="left, %", format=".1f"),
        alt.Tooltip("bad:Q", title="bad in the step", format=","),
        alt.Tooltip("valid:Q", title="of", format=","),
    ]
    area = figure.rows("budget").mark_area(color=figure.BLUE, opacity=0.18, invalid="break-paths-show-path-domains")
    curve = figure.rows("budget").mark_line(color=figure.BLUE, **figure.line(strokeWidth=2))
    spent = figure.rows("spent").mark_rule(color=figure.RED, strokeDash=[6, 3], strokeWidth=1.6)
    layers = [
        area.encode(x=figure.time_axis(), y=left),
        curve.encode(x=figure.time_axis(), y=left, tooltip=tips),
        spent.encode(y=left, tooltip=[alt.Tooltip("left:Q", title="spent at, %")]),
    ]
    return figure.layered(layers, {"budget": frame, "spent": pd.DataFrame({"left": [0.0]})}, window, marks=marks)


def burn_frame(statuses: Sequence[SloStatus]) -> pd.DataFrame:
    """Return `what, span, seconds, rate` of every SLO and window with valid requests."""
    return pd.DataFrame(
        [
            {"what": status.slo.name, "span": span_name(each), "seconds": each.total_seconds(), "rate": rate}
            for status in statuses
            for each, rate in sorted(status.burn_rates.items())
            if rate is not None
        ],
        columns=["what", "span", "seconds", "rate"],
    )


def burn_chart(statuses: Sequence[SloStatus]) -> Figure:
    """Return the burn rate of every SLO over every window, with the rate above which each window's pair alerts."""
    frame = burn_frame(statuses)
    names = [status.slo.name for status in statuses][: len(figure.CATEGORIES)]
    spans = {span_name(each): each for pair in BURN_PAIRS for each in (pair.long, pair.short)}
    ordered = sorted(spans, key=lambda name: spans[name])
    limits = pd.DataFrame(
        [{"span": span_name(each), "limit": pair.factor} for pair in BURN_PAIRS for each in (pair.long, pair.short)]
    ).drop_duplicates()
    where = alt.X("span:N", title="over the last", sort=ordered, axis=alt.Axis(labelAngle=0))
    factors = alt.Axis(values=[0, 1, 3, 6, 14.4], labelExpr="datum.value", labelOverlap=False)
    rate, above = (
        alt.Y(column, title="burn rate", scale=alt.Scale(type="symlog", zero=True), axis=factors)
        for column in ("rate:Q", "limit:Q")
    )
    tips = [
        alt.Tooltip("what:N", title="SLO"),
        alt.Tooltip("span:N", title="over"),
        alt.Tooltip("rate:Q", format=".2f"),
    ]
    dots = figure.rows("burn").mark_point(size=90, filled=True, opacity=0.9)
    ticks = figure.rows("limits").mark_tick(color=figure.RED, thickness=2.5, width=34)
    chart = alt.layer(
        ticks.encode(x=where, y=above, tooltip=[alt.Tooltip("limit:Q", title="alerts above")]),
        dots.encode(
            x=where,
            y=rate,
            color=figure.colours(names, figure.CATEGORIES, symbol="circle"),
            shape=figure.shapes(names),
            tooltip=tips,
        ),
    ).properties(height=230)
    return figure.drawn(chart, {"burn": frame[frame["what"].isin(names)], "limits": limits})
