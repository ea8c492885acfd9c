"""A load run as figures, pure: what was intended, sent and failed, how long it took, and two runs on one clock."""

from __future__ import annotations

from datetime import timedelta

import altair as alt
import pandas as pd

from dashboard.charts import figure
from dashboard.charts.figure import Figure

QUANTILES = ("p50_ms", "p95_ms", "p99_ms")


def rate_frame(steps: pd.DataFrame) -> pd.DataFrame:
    """Return `ds, what, rps` of a run's steps: arrivals intended, sent, failed and unsent per second that was told."""
    columns = {name: steps[name] / steps["seconds"] for name in ("intended", "sent", "failed", "unsent")}
    return pd.DataFrame({"ds": steps["ds"], **columns}).melt("ds", var_name="what", value_name="rps")


def run_rate_chart(steps: pd.DataFrame) -> Figure:
    """Return the rates of a run over time. steps: of `read_load_steps`."""
    names = ["intended", "sent", "failed", "unsent"]
    drawn = figure.rows("rates").mark_line(**figure.line(strokeWidth=1.8))
    encoded = drawn.encode(
        x=figure.time_axis(),
        y=alt.Y("rps:Q", title="requests/s", scale=alt.Scale(zero=True)),
        color=figure.colours(names, [figure.GREY, figure.BLUE, figure.RED, figure.PINK]),
        strokeDash=figure.dashes(names, [[5, 3], [1, 0], [1, 0], [2, 2]]),
        tooltip=[figure.TIME, alt.Tooltip("what:N"), alt.Tooltip("rps:Q", title="requests/s", format=",.3~f")],
    )
    return figure.drawn(alt.layer(encoded).properties(height=230), {"rates": rate_frame(steps)})


def run_latency_chart(steps: pd.DataFrame) -> Figure:
    """Return the percentiles of the response time of a run, from the intended start, in ms."""
    frame = steps.melt("ds", QUANTILES, var_name="what", value_name="ms").dropna(subset="ms")
    frame = frame.assign(what=frame["what"].str.removesuffix("_ms"))
    names = ["p50", "p95", "p99"]
    drawn = figure.rows("latency").mark_line(**figure.line(strokeWidth=1.8))
    encoded = drawn.encode(
        x=figure.time_axis(),
        y=figure.milliseconds(),
        color=figure.colours(names, [figure.GREEN, figure.BLUE, figure.RED]),
        strokeDash=figure.dashes(names, [[2, 2], [1, 0], [6, 3]]),
        tooltip=[figure.TIME, alt.Tooltip("what:N"), alt.Tooltip("ms:Q", format=",.1f")],
    )
    return figure.drawn(alt.layer(encoded).properties(height=230), {"latency": frame})


def run_users_chart(steps: pd.DataFrame) -> Figure | None:
    """Return how many users were at work over a run's time; None where nobody counted them."""
    frame = steps[["ds", "users"]].dropna(subset="users")
    if frame.empty:
        return None
    drawn = figure.rows("users").mark_line(interpolate="step-after", color=figure.BLUE, strokeWidth=1.8)
    encoded = drawn.encode(
        x=figure.time_axis(),
        y=alt.Y("users:Q", title="users", scale=alt.Scale(zero=True), axis=alt.Axis(tickMinStep=1)),
        tooltip=[figure.TIME, alt.Tooltip("users:Q", title="users, at most", format=",")],
    )
    return figure.drawn(alt.layer(encoded).properties(height=110), {"users": frame})


def compared_frame(before: pd.DataFrame, after: pd.DataFrame, names: tuple[str, str]) -> pd.DataFrame:
    """Return `minute, what, ms`: the p95 of two runs, each from its own begin."""
    parts = []
    for steps, name in zip((before, after), names, strict=True):
        since = (steps["ds"] - steps["ds"].min()) / timedelta(minutes=1)
        parts.append(pd.DataFrame({"minute": since, "what": name, "ms": steps["p95_ms"]}))
    return pd.concat(parts, ignore_index=True).dropna(subset="ms")


def compared_chart(before: pd.DataFrame, after: pd.DataFrame, names: tuple[str, str]) -> Figure:
    """Return the p95 of two runs beside each other, minute by minute from their begin."""
    drawn = figure.rows("compared").mark_line(**figure.line(strokeWidth=1.9))
    encoded = drawn.encode(
        x=alt.X("minute:Q", title="minutes into the run"),
        y=figure.milliseconds(),
        color=figure.colours(list(names), [figure.ORANGE, figure.BLUE]),
        strokeDash=figure.dashes(list(names), [[5, 3], [1, 0]]),
        tooltip=[alt.Tooltip("minute:Q", format=".1f"), alt.Tooltip("what:N"), alt.Tooltip("ms:Q", format=",.1f")],
    )
    return figure.drawn(alt.layer(encoded).properties(height=230), {"compared": compared_frame(before, after, names)})
