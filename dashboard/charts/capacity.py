"""What replicas carry, as figures, pure: measured intervals, the scalability law, the days ahead against a limit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from collector.record.store import Capacity as Measured
from dashboard.charts import figure
from dashboard.charts.figure import Figure
from forecaster.outlook.outlook import Outlook

CURVE_POINTS = 60


def measured_frame(found: Sequence[Measured]) -> pd.DataFrame:
    """Return `build, ds, low, high, source` of measurements, oldest first; in requests per real second."""
    ordered = sorted(found, key=lambda one: one.measured_at)
    return pd.DataFrame(
        {
            "ds": pd.Series(
                pd.to_datetime(pd.Series([one.measured_at for one in ordered], dtype="object"), utc=True)
            ).dt.as_unit("us"),
            "build": [one.version or "(no build named)" for one in ordered],
            "low": [one.low_rps for one in ordered],
            "high": [one.high_rps for one in ordered],
            "source": [one.source for one in ordered],
        }
    )


def measured_chart(found: Sequence[Measured]) -> Figure:
    """Return the interval of every measurement over time, told apart by who measured."""
    frame = measured_frame(found).rename(columns={"source": "what"})
    names = sorted(frame["what"].unique())
    # Each tick names its day: measurements lie hours or months apart.
    axis = alt.Axis(format="%d %b %H:%M", tickCount=4, labelOverlap=True, grid=False)
    at = alt.X("ds:T", title=None, scale=alt.Scale(type="utc"), axis=axis)
    tips = [
        figure.TIME, alt.Tooltip("build:N"), alt.Tooltip("what:N", title="measured by"),
        alt.Tooltip("low:Q", title="surely carries, requests/s", format=".2f"),
        alt.Tooltip("high:Q", title="at most, requests/s", format=".2f"),
    ]  # fmt: skip
    low = alt.Y("low:Q", title="requests/s of one replica", scale=alt.Scale(zero=True))
    colour = figure.colours(list(names), [figure.BLUE, figure.ORANGE, figure.GREEN, figure.RED][: len(names)])
    chart = alt.layer(
        figure.rows("measured")
        .mark_rule(strokeWidth=5, opacity=0.55)
        .encode(x=at, y=low, y2=alt.Y2("high:Q"), color=colour, tooltip=tips),
        figure.rows("measured").mark_point(filled=True, size=70).encode(x=at, y=low, color=colour, tooltip=tips),
        figure.rows("measured")
        .mark_text(dx=9, align="left", fontSize=11, color="#8c8c8c")
        .encode(x=at, y=low, text=alt.Text("build:N")),
    ).properties(height=230)
    return figure.drawn(chart, {"measured": frame})


def law_frame(usl: Mapping[str, Any], largest: float) -> pd.DataFrame:
    """Return `n, rps` of the Universal Scalability Law, X(N) = gamma N / (1 + alpha (N-1) + beta N (N-1))."""
    n = np.linspace(1, max(2.0, largest), CURVE_POINTS)
    gamma, alpha, beta = (float(usl[name]) for name in ("gamma", "alpha", "beta"))
    return pd.DataFrame({"n": n, "rps": gamma * n / (1 + alpha * (n - 1) + beta * n * (n - 1)), "what": "fitted law"})


def law_chart(usl: Mapping[str, Any], points: pd.DataFrame, *, axis: str) -> Figure:
    """Return the law over measured points, with what perfect scaling would give. points: `n, rps`."""
    largest = 1.5 * float(points["n"].max()) if len(points) else 20.0
    fitted = law_frame(usl, largest)
    linear = pd.DataFrame({"n": [1.0, largest], "rps": [float(usl["gamma"]), float(usl["gamma"]) * largest]})
    top = 1.25 * max(float(fitted["rps"].max()), float(points["rps"].max()) if len(points) else 0.0)
    linear = linear.assign(rps=linear["rps"].clip(upper=top), what="perfect scaling")
    if float(usl["gamma"]) * largest > top:
        linear.loc[1, "n"] = top / float(usl["gamma"])
    names = ["fitted law", "perfect scaling", "measured"]
    colour = figure.colours(names, [figure.BLUE, "#8c8c8c", figure.ORANGE])
    dash = figure.dashes(names, [[1, 0], [4, 3], [1, 0]])
    n = alt.X("n:Q", title=axis)
    rate = alt.Y("rps:Q", title="requests/s")
    tips = [alt.Tooltip("what:N"), alt.Tooltip("n:Q", title=axis, format=".1f"), alt.Tooltip("rps:Q", format=",.2f")]
    chart = alt.layer(
        figure.rows("curves").mark_line(strokeWidth=2).encode(x=n, y=rate, color=colour, strokeDash=dash, tooltip=tips),
        figure.rows("points").mark_point(filled=True, size=70).encode(x=n, y=rate, color=colour, tooltip=tips),
    ).properties(height=250)
    return figure.drawn(chart, {"curves": pd.concat([fitted, linear]), "points": points.assign(what="measured")})


def outlook_frame(found: Outlook) -> pd.DataFrame:
    """Return `day, low, mid, high` of the busiest hour of each day ahead: lowest level, median, highest level."""
    levels = list(found.quantiles)
    middle = min(range(len(levels)), key=lambda index: abs(levels[index] - 0.5))
    days = pd.date_range(found.first, periods=len(found.peak))
    return pd.DataFrame({"day": days, "low": found.peak[:, 0], "mid": found.peak[:, middle], "high": found.peak[:, -1]})


def outlook_chart(found: Outlook, *, limits: Mapping[str, float]) -> Figure:
    """Return the busiest hour of each day ahead with its band, and what can be carried as lines by name."""
    names = ["median of the busiest hour", *limits]
    colour = figure.colours(names, [figure.BLUE, figure.RED, figure.GREEN, figure.ORANGE][: len(names)])
    dash = figure.dashes(names, [[1, 0], [6, 3], [2, 2], [4, 2]][: len(names)])
    days = alt.X("day:T", title=None, axis=alt.Axis(format="%d %b", labelOverlap=True, grid=False))
    rate = alt.Y("mid:Q", title="requests/s", scale=alt.Scale(zero=True))
    low, high = found.quantiles[0], found.quantiles[-1]
    tips = [
        alt.Tooltip("day:T", title="day", format="%a %d %b"),
        alt.Tooltip("low:Q", title=f"quantile {low:g}", format=",.3~f"),
        alt.Tooltip("mid:Q", title="median", format=",.3~f"),
        alt.Tooltip("high:Q", title=f"quantile {high:g}", format=",.3~f"),
    ]
    bounds = pd.DataFrame({"what": list(limits), "mid": list(limits.values())})
    chart = alt.layer(
        figure.rows("days").mark_area(color=figure.BLUE, opacity=0.2).encode(
            x=days, y=alt.Y("low:Q", title="requests/s"), y2=alt.Y2("high:Q"), tooltip=tips
        ),
        figure.rows("days").transform_calculate(what=f"'{names[0]}'").mark_line(**figure.line(strokeWidth=2)).encode(
            x=days, y=rate, color=colour, strokeDash=dash, tooltip=tips
        ),
        figure.rows("limits").mark_rule(strokeWidth=2).encode(
            y=rate, color=colour, strokeDash=dash,
            tooltip=[alt.Tooltip("what:N"), alt.Tooltip("mid:Q", title="requests/s", format=",.3~f")],
        ),
    ).properties(height=280)  # fmt: skip
    return figure.drawn(chart, {"days": outlook_frame(found), "limits": bounds})
