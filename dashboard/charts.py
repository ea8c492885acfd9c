"""Figures from frames, pure: what is drawn is tested on values. Told apart by dash and shape as well as by colour."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import altair as alt
import pandas as pd

from dashboard.figure import (
    BLUE,
    CATEGORIES,
    GREEN,
    GREY,
    ORANGE,
    PINK,
    RED,
    SKY,
    Figure,
    Window,
    colours,
    dashes,
    layered,
    line,
    rows,
    time_axis,
    with_gaps,
)

TIME = alt.Tooltip("time:N", title="at")
NOBODY_LOOKED_AFTER = timedelta(minutes=10)
MOST_SERIES = len(CATEGORIES)
OTHER = "other"
_LOG_TICKS = [1, 3, 10, 30, 100, 300, 1000, 3000, 10_000, 30_000, 100_000]


def demand_chart(
    demand: pd.DataFrame,
    *,
    minutes: pd.DataFrame,
    known: pd.DataFrame,
    ahead: pd.DataFrame,
    step: timedelta,
    window: Window,
) -> Figure:
    """Return demand, the forecast as it was known ahead of time, and the newest forecast from now on.

    demand: `ds, rps` per `step`. minutes: the same per minute, drawn as dots (may be empty). known, ahead: `ds, low,
    mid, high` as `band_of` returns them (may be empty).
    """
    names = ["demand", "forecast: median and band"]
    what = colours(names, [BLUE, ORANGE])
    dash = dashes(names, [[1, 0], [5, 3]])
    rate = alt.Y("rps:Q", title="requests/s", scale=alt.Scale(zero=True))
    tips = [TIME, alt.Tooltip("rps:Q", title="requests/s", format=",.3~f")]
    layers: list[alt.Chart] = []
    data: dict[str, pd.DataFrame] = {}
    for name, band, opacity in (("known", known, 0.22), ("ahead", ahead, 0.38)):
        if band.empty:
            continue
        data[name] = band.rename(columns={"mid": "rps"})
        ends = {"y": alt.Y("low:Q", title="requests/s"), "y2": "high:Q"}
        area = rows(name).mark_area(color=ORANGE, opacity=opacity)
        layers.append(area.encode(x=time_axis(), **ends, tooltip=_band_tips()))
        middle = rows(name).transform_calculate(what=f"'{names[1]}'").mark_line(strokeWidth=1.5)
        layers.append(middle.encode(x=time_axis(), y=rate, color=what, strokeDash=dash))
    if len(minutes):
        data["minutes"] = minutes
        dots = rows("minutes").mark_circle(size=9, color=SKY, opacity=0.5)
        layers.append(dots.encode(x=time_axis(), y=rate, tooltip=tips))
    data["demand"] = with_gaps(demand, step)
    curve = rows("demand").transform_calculate(what=f"'{names[0]}'").mark_line(**line(strokeWidth=2.2))
    layers.append(curve.encode(x=time_axis(), y=rate, color=what, strokeDash=dash, tooltip=tips))
    return layered(layers, data, window)


def _band_tips() -> list[alt.Tooltip]:
    titles = {"high": "stays under", "rps": "median", "low": "stays over"}
    return [TIME, *(alt.Tooltip(f"{name}:Q", title=title, format=",.3~f") for name, title in titles.items())]


def band_of(forecast: pd.DataFrame, *, quantile: float) -> pd.DataFrame:
    """Return `ds, low, mid, high` of a frame `ds, q<level>...`: the lowest level, the one next to the median, and the
    least one that is `quantile` or above (the highest when there is none). Steps without all three have no row.
    """  # noqa: D205 - one sentence
    levels = quantile_levels(forecast, quantile=quantile)
    if levels is None:
        return pd.DataFrame({"ds": pd.Series(dtype="datetime64[us, UTC]"), "low": [], "mid": [], "high": []})
    low, mid, high = (forecast[f"q{level:g}"] for level in levels)
    return pd.DataFrame({"ds": forecast["ds"], "low": low, "mid": mid, "high": high}).dropna(ignore_index=True)


def quantile_levels(forecast: pd.DataFrame, *, quantile: float) -> tuple[float, float, float] | None:
    """Return the levels that `band_of` draws, None when the frame has none."""
    levels = sorted(float(str(name)[1:]) for name in forecast.columns if str(name).startswith("q"))
    if not levels or forecast.empty:
        return None
    enough = [level for level in levels if level >= quantile]
    return levels[0], min(levels, key=lambda level: abs(level - 0.5)), enough[0] if enough else levels[-1]


def per_step(band: pd.DataFrame, step: timedelta) -> pd.DataFrame:
    """Return a band averaged over steps that are wider than its own, as demand per step is."""
    if band.empty:
        return band
    return band.groupby(band["ds"].dt.floor(step)).mean(numeric_only=True).reset_index()


def replica_chart(states: pd.DataFrame, needed: pd.DataFrame, plan: pd.DataFrame, *, window: Window) -> Figure:
    """Return floor, ready and desired replicas as steps, what demand needed, and the floors planned from now on.

    states: `ts, floor, desired, ready` ascending; a row holds until the next, the last one until now. needed: as
    `needed_replicas` returns it. plan: `ds, replicas` (both may be empty).
    """
    names = ["ready", "desired", "floor", "planned floor", "demand / capacity"]
    what = colours(names, [GREEN, GREY, RED, PINK, BLUE], columns=3)
    dash = dashes(names, [[1, 0], [2, 2], [7, 3], [2, 3], [1, 0]], columns=3)
    count = alt.Y("replicas:Q", title="replicas", axis=alt.Axis(tickMinStep=1), scale=alt.Scale(zero=True), stack=None)
    tips = [TIME, alt.Tooltip("what:N", title="what"), alt.Tooltip("replicas:Q", format=".3~g")]
    encode = {"x": time_axis(), "y": count, "color": what, "strokeDash": dash, "tooltip": tips}
    held = _held(states, window)
    data = {
        "ready": held[held["what"] == "ready"],
        "states": held,
        "needed": needed,
        "plan": plan.assign(what="planned floor"),
    }
    layers = [
        rows("ready")
        .mark_area(interpolate="step-after", color=GREEN, opacity=0.18, invalid="break-paths-show-path-domains")
        .encode(x=time_axis(), y=count),
        rows("states").mark_line(**_stair(2)).encode(**encode),
        rows("plan").mark_line(**_stair(2)).encode(**encode),
        rows("needed").mark_line(**line(strokeWidth=1.6)).encode(**encode),
    ]
    return layered(layers, data, window)


def _stair(width: float) -> dict[str, Any]:
    return {"interpolate": "step-after", "strokeWidth": width, "invalid": "break-paths-show-path-domains"}


def _held(states: pd.DataFrame, window: Window) -> pd.DataFrame:
    """Return `ds, what, replicas`: each state until the next one, but not across a time when nobody looked."""
    frame = states.rename(columns={"ts": "ds"})[["ds", "desired", "ready", "floor"]]
    if len(frame):
        since_last = window.now - frame["ds"].iloc[-1]
        if timedelta(0) < since_last <= NOBODY_LOOKED_AFTER:
            last = frame.iloc[[-1]].assign(ds=pd.Timestamp(window.now))
            frame = pd.concat([frame, last.astype({"ds": frame["ds"].dtype})], ignore_index=True)
        widest = max(NOBODY_LOOKED_AFTER, 3 * frame["ds"].diff().median()) if len(frame) > 1 else NOBODY_LOOKED_AFTER
        holes = frame.loc[frame["ds"].shift(-1) - frame["ds"] > widest, ["ds"]]
        frame = pd.concat([frame, holes.assign(ds=holes["ds"] + timedelta(minutes=1))]).sort_values("ds")
    return frame.melt("ds", ["desired", "ready", "floor"], var_name="what", value_name="replicas")


def needed_replicas(states: pd.DataFrame, demand: pd.DataFrame, *, step: timedelta) -> pd.DataFrame:
    """Return `ds, what, replicas`: demand over the capacity of one replica, where that was known at the time.

    Fractions are left: 2.5 says that three replicas were needed and that half of one was spare.
    """
    known = states[["ts", "capacity_rps"]].dropna().rename(columns={"ts": "ds"}).sort_values("ds")
    if known.empty or demand.empty:
        return pd.DataFrame({"ds": pd.Series(dtype="datetime64[us, UTC]"), "what": [], "replicas": []})
    rates = with_gaps(demand, step).assign(ds=lambda frame: frame["ds"].dt.as_unit("us"))
    known = known.assign(ds=known["ds"].dt.as_unit("us"))
    both = pd.merge_asof(rates, known, on="ds", direction="nearest", tolerance=max(step, pd.Timedelta(minutes=10)))
    replicas = both["rps"] / both["capacity_rps"]
    return pd.DataFrame({"ds": both["ds"], "what": "demand / capacity", "replicas": replicas})


def latency_chart(red: pd.DataFrame, *, step: timedelta, window: Window) -> Figure:
    """Return p50, p95 and p99 over time in milliseconds, on a logarithmic scale. red: as read by `read_red`."""
    names = ["p50", "p95", "p99"]
    frame = with_gaps(red, step).rename(columns={f"{name}_seconds": name for name in names})
    long = frame.melt("ds", names, var_name="what", value_name="seconds")
    long = long.assign(ms=long["seconds"] * 1000)[["ds", "what", "ms"]]
    dash = dashes(names, [[2, 2], [1, 0], [6, 3]])
    lines = rows("latency").mark_line(**line())
    encoded = lines.encode(
        x=time_axis(),
        y=_milliseconds(),
        color=colours(names, [GREEN, BLUE, RED]),
        strokeDash=dash,
        tooltip=[TIME, alt.Tooltip("what:N", title="quantile"), alt.Tooltip("ms:Q", title="ms", format=",.0f")],
    )
    return layered([encoded], {"latency": long}, window)


def _milliseconds() -> alt.Y:
    axis = alt.Axis(values=_LOG_TICKS, format=",")
    return alt.Y("ms:Q", title="ms (logarithmic)", scale=alt.Scale(type="log", nice=False), axis=axis)


def rate_chart(red: pd.DataFrame, *, by: str, step: timedelta, window: Window) -> Figure:
    """Return requests per second as stacked bars, one per step: a step without a row has no bar. red: of `read_red`."""
    order = leading(red, by)
    named = red.assign(what=red[by].where(red[by].isin(order), OTHER))
    bars = named.groupby(["ds", "what"], as_index=False).agg(rps=("rps", "sum"))
    rank = {name: place for place, name in enumerate([*order, OTHER])}
    bars = bars.assign(rank=bars["what"].map(rank)).sort_values(["ds", "rank"]).drop(columns="rank")
    top = bars.groupby("ds")["rps"].cumsum()
    bars = bars.assign(end=bars["ds"] + step * 0.94, top=top, bottom=top - bars["rps"])
    rate = alt.Y("bottom:Q", title="requests/s")
    tips = [TIME, alt.Tooltip("what:N", title=by), alt.Tooltip("rps:Q", title="requests/s", format=",.3~f")]
    what = _series(order, bars["what"], "square")
    marks = rows("rate").mark_bar().encode(x=time_axis(), x2="end:T", y=rate, y2="top:Q", color=what, tooltip=tips)
    return layered([marks], {"rate": bars}, window)


def p95_chart(red: pd.DataFrame, *, by: str, step: timedelta, window: Window) -> Figure:
    """Return the p95 of each leading value of a dimension, in milliseconds. red: as read by `read_red`."""
    order = leading(red, by)
    kept = red[red[by].isin(order) & red["p95_seconds"].notna()]
    frame = with_gaps(kept[["ds", by, "p95_seconds"]].reset_index(drop=True), step, by=by)
    frame = pd.DataFrame({"ds": frame["ds"], "what": frame[by], "ms": frame["p95_seconds"] * 1000})
    marks = rows("p95").mark_line(**line(strokeWidth=1.6))
    encoded = marks.encode(
        x=time_axis(),
        y=_milliseconds(),
        color=_series(order, frame["what"]),
        tooltip=[TIME, alt.Tooltip("what:N", title=by), alt.Tooltip("ms:Q", title="p95, ms", format=",.0f")],
    )
    return layered([encoded], {"p95": frame}, window)


def leading(red: pd.DataFrame, by: str) -> list[str]:
    """Return the values of a dimension that get a colour of their own: those with most requests, then by name."""
    totals = red.groupby(by)["requests"].sum().reset_index().sort_values(["requests", by], ascending=[False, True])
    names = [str(name) for name in totals[by]]
    return names if len(names) <= MOST_SERIES else names[: MOST_SERIES - 1]


def _series(order: list[str], drawn: pd.Series, symbol: str = "stroke") -> alt.Color:
    names = [*order, OTHER] if (drawn == OTHER).any() and OTHER not in order else order
    return colours(names, CATEGORIES[: len(names)], columns=3, symbol=symbol)


def sli_chart(series: pd.DataFrame, *, target: float, step: timedelta, window: Window) -> Figure:
    """Return the SLI of one objective per step in percent, with its target as a line; steps without requests are gaps.

    series: `ds, valid, good, sli`.
    """
    frame = with_gaps(series[["ds", "valid", "good", "sli"]], step)
    frame = frame.assign(percent=frame["sli"] * 100, bad=frame["valid"] - frame["good"])
    names = ["SLI per step", "target"]
    what, dash = colours(names, [BLUE, RED]), dashes(names, [[1, 0], [6, 3]])
    percent = alt.Y("percent:Q", title="good requests, %", scale=alt.Scale(zero=False))
    tips = [
        TIME,
        alt.Tooltip("percent:Q", title="SLI, %", format=".3f"),
        alt.Tooltip("bad:Q", title="bad requests", format=","),
        alt.Tooltip("valid:Q", title="of", format=","),
    ]
    curve = rows("sli").transform_calculate(what="'SLI per step'").mark_line(**line())
    rule = rows("target").transform_calculate(what="'target'").mark_rule(strokeWidth=1.8)
    layers = [
        rule.encode(y=percent, color=what, strokeDash=dash, tooltip=[alt.Tooltip("percent:Q", title="target, %")]),
        curve.encode(x=time_axis(), y=percent, color=what, strokeDash=dash, tooltip=tips),
    ]
    return layered(layers, {"sli": frame, "target": pd.DataFrame({"percent": [target * 100]})}, window)
