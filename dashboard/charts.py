"""Figures from frames, pure: what is drawn is tested on values. One palette, told apart without colour as well."""

from __future__ import annotations

from datetime import datetime
from typing import TypeAlias

import altair as alt
import pandas as pd

BLUE, ORANGE, GREEN, RED, GREY = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#8c8c8c"  # Okabe and Ito's
HEIGHT = 260
Figure: TypeAlias = alt.LayerChart | alt.FacetChart | alt.Chart


def _time_axis() -> alt.X:
    return alt.X("ds:T", title=None, axis=alt.Axis(format="%H:%M", labelOverlap=True))


def _utc(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with times as the page shows them: UTC, whatever zone the browser is in."""
    return frame.assign(ds=frame["ds"].dt.tz_convert("UTC").dt.tz_localize(None))


def demand_chart(demand: pd.DataFrame, known: pd.DataFrame, ahead: pd.DataFrame, *, now: datetime) -> Figure:
    """Return demand, the forecast band as it was known ahead of time, and the band from now on.

    demand: `ds, rps`. known and ahead: `ds, q0.1, q0.5, q0.95` (either may be empty).
    """
    layers: list[alt.Chart] = []
    for band, opacity in ((known, 0.25), (ahead, 0.4)):
        if len(band):
            rows = _utc(band).rename(columns={"q0.1": "low", "q0.5": "mid", "q0.95": "high"})
            area = alt.Chart(rows).mark_area(color=ORANGE, opacity=opacity)
            layers.append(area.encode(x=_time_axis(), y=alt.Y("low:Q", title="requests/s"), y2="high:Q"))
            middle = alt.Chart(rows).mark_line(color=ORANGE, strokeDash=[4, 3], strokeWidth=1.5)
            layers.append(middle.encode(x=_time_axis(), y="mid:Q"))
    line = alt.Chart(_utc(demand)).mark_line(color=BLUE, strokeWidth=2)
    layers.append(line.encode(x=_time_axis(), y=alt.Y("rps:Q", title="requests/s"), tooltip=["ds:T", "rps:Q"]))
    present = pd.DataFrame({"ds": [pd.Timestamp(now)]})
    layers.append(alt.Chart(_utc(present)).mark_rule(color=GREY, strokeDash=[2, 2]).encode(x=_time_axis()))
    return alt.layer(*layers).properties(height=HEIGHT)


def replica_chart(states: pd.DataFrame, demand: pd.DataFrame) -> Figure:
    """Return the floor, the ready and the desired replicas as steps, and the replicas that demand needed.

    states: `ts, floor, desired, ready, capacity_rps`. demand: `ds, rps`.
    """
    names = {"floor": "floor", "ready": "ready", "desired": "desired"}
    long = states.rename(columns={"ts": "ds"}).melt("ds", list(names), var_name="what", value_name="replicas")
    needed = needed_replicas(states, demand)
    scale = alt.Scale(domain=["needed", "floor", "ready", "desired"], range=[BLUE, RED, GREEN, GREY])
    dash = alt.Scale(domain=["needed", "floor", "ready", "desired"], range=[[1, 0], [6, 3], [1, 0], [2, 2]])
    encode = {
        "x": _time_axis(),
        "y": alt.Y("replicas:Q", title="replicas"),
        "color": alt.Color("what:N", scale=scale, title=None),
        "strokeDash": alt.StrokeDash("what:N", scale=dash, title=None),
        "tooltip": ["ds:T", "what:N", "replicas:Q"],
    }
    steps = alt.Chart(_utc(long)).mark_line(interpolate="step-after").encode(**encode)
    layers = [steps]
    if len(needed):
        layers.insert(0, alt.Chart(_utc(needed)).mark_line(strokeWidth=1, opacity=0.8).encode(**encode))
    return alt.layer(*layers).properties(height=HEIGHT)


def needed_replicas(states: pd.DataFrame, demand: pd.DataFrame) -> pd.DataFrame:
    """Return `ds, what, replicas`: demand over the capacity of one replica, where that was known at the time."""
    known = states[["ts", "capacity_rps"]].dropna().rename(columns={"ts": "ds"}).sort_values("ds")
    if known.empty or demand.empty:
        return pd.DataFrame({"ds": pd.Series(dtype="datetime64[us, UTC]"), "what": [], "replicas": []})
    rates = demand.assign(ds=demand["ds"].dt.as_unit("us")).sort_values("ds")
    both = pd.merge_asof(rates, known.assign(ds=known["ds"].dt.as_unit("us")), on="ds").dropna()
    return pd.DataFrame({"ds": both["ds"], "what": "needed", "replicas": both["rps"] / both["capacity_rps"]})


def latency_chart(red: pd.DataFrame, *, objective_seconds: float | None) -> Figure:
    """Return p50, p95 and p99 over time in milliseconds, and the objective as a line. red: as read by `read_red`."""
    columns = {"p50_seconds": "p50", "p95_seconds": "p95", "p99_seconds": "p99"}
    long = red.rename(columns=columns).melt("ds", list(columns.values()), var_name="what", value_name="seconds")
    long = long.assign(ms=long["seconds"] * 1000)
    scale = alt.Scale(domain=["p50", "p95", "p99"], range=[GREEN, BLUE, RED])
    lines = (
        alt.Chart(_utc(long))
        .mark_line()
        .encode(
            x=_time_axis(),
            y=alt.Y("ms:Q", title="milliseconds"),
            color=alt.Color("what:N", scale=scale, title=None),
            tooltip=["ds:T", "what:N", "ms:Q"],
        )
    )
    if objective_seconds is None:
        return alt.layer(lines).properties(height=HEIGHT)
    rule = alt.Chart(pd.DataFrame({"ms": [objective_seconds * 1000]})).mark_rule(color=RED, strokeDash=[6, 3])
    return alt.layer(lines, rule.encode(y="ms:Q")).properties(height=HEIGHT)


def rate_chart(red: pd.DataFrame, *, by: str) -> Figure:
    """Return requests per second over time, stacked by a dimension of the record. red: as read by `read_red`."""
    chart: alt.Chart = (
        alt.Chart(_utc(red))
        .mark_area()
        .encode(
            x=_time_axis(),
            y=alt.Y("rps:Q", title="requests/s", stack=True),
            color=alt.Color(f"{by}:N", title=None, scale=alt.Scale(scheme="tableau10")),
            tooltip=["ds:T", f"{by}:N", "rps:Q"],
        )
        .properties(height=HEIGHT)
    )
    return chart
