"""Demand with its forecast, replicas with their floor: figures from frames, pure, tested on values.

Told apart by dash and shape as well as by colour. Other pages' figures stand in `traffic`, `slo`, `forecast`,
`capacity` and `load`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import altair as alt
import pandas as pd

from dashboard.charts import figure
from dashboard.charts.figure import Figure, Window

NOBODY_LOOKED_AFTER = timedelta(minutes=10)


def demand_chart(
    demand: pd.DataFrame,
    *,
    minutes: pd.DataFrame,
    known: pd.DataFrame,
    ahead: pd.DataFrame,
    step: timedelta,
    window: Window,
    marks: pd.DataFrame | None = None,
) -> Figure:
    """Return demand, the forecast as it was known ahead of time, and the newest forecast from now on.

    demand: `ds, rps` per `step`. minutes: the same per minute, drawn as dots (may be empty). known, ahead: `ds, low,
    mid, high` as `band_of` returns them (may be empty).
    """
    names = ["demand", "forecast: median and band"]
    what = figure.colours(names, [figure.BLUE, figure.ORANGE])
    dash = figure.dashes(names, [[1, 0], [5, 3]])
    rate = alt.Y("rps:Q", title="requests/s", scale=alt.Scale(zero=True))
    tips = [figure.TIME, alt.Tooltip("rps:Q", title="requests/s", format=",.3~f")]
    layers: list[alt.Chart] = []
    data: dict[str, pd.DataFrame] = {}
    for name, band, opacity in (("known", known, 0.22), ("ahead", ahead, 0.38)):
        if band.empty:
            continue
        data[name] = band.rename(columns={"mid": "rps"})
        ends = {"y": alt.Y("low:Q", title="requests/s"), "y2": alt.Y2("high:Q")}
        area = figure.rows(name).mark_area(color=figure.ORANGE, opacity=opacity)
        layers.append(area.encode(x=figure.time_axis(), **ends, tooltip=_band_tips()))
        middle = figure.rows(name).transform_calculate(what=f"'{names[1]}'").mark_line(strokeWidth=1.5)
        layers.append(middle.encode(x=figure.time_axis(), y=rate, color=what, strokeDash=dash))
    if len(minutes):
        data["minutes"] = minutes
        dots = figure.rows("minutes").mark_circle(size=9, color=figure.SKY, opacity=0.5)
        layers.append(dots.encode(x=figure.time_axis(), y=rate, tooltip=tips))
    data["demand"] = figure.with_gaps(demand, step)
    curve = figure.rows("demand").transform_calculate(what=f"'{names[0]}'").mark_line(**figure.line(strokeWidth=2.2))
    layers.append(curve.encode(x=figure.time_axis(), y=rate, color=what, strokeDash=dash, tooltip=tips))
    return figure.layered(layers, data, window, marks=marks)


def _band_tips() -> list[alt.Tooltip]:
    titles = {"high": "stays under", "rps": "median", "low": "stays over"}
    return [figure.TIME, *(alt.Tooltip(f"{name}:Q", title=title, format=",.3~f") for name, title in titles.items())]


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


def replica_chart(
    states: pd.DataFrame,
    needed: pd.DataFrame,
    plan: pd.DataFrame,
    *,
    window: Window,
    marks: pd.DataFrame | None = None,
) -> Figure:
    """Return floor, ready and desired replicas as steps, what demand needed, and the floors planned from now on.

    states: `ts, floor, desired, ready` ascending; a row holds until the next, the last one until now. needed: as
    `needed_replicas` returns it. plan: `ds, replicas` (both may be empty).
    """
    names = ["ready", "desired", "floor", "planned floor", "demand / capacity"]
    what = figure.colours(names, [figure.GREEN, figure.GREY, figure.RED, figure.PINK, figure.BLUE])
    dash = figure.dashes(names, [[1, 0], [2, 2], [7, 3], [2, 3], [1, 0]])
    count = alt.Y("replicas:Q", title="replicas", axis=alt.Axis(tickMinStep=1), scale=alt.Scale(zero=True), stack=None)
    tips = [figure.TIME, alt.Tooltip("what:N", title="what"), alt.Tooltip("replicas:Q", format=".3~g")]
    encode = {"x": figure.time_axis(), "y": count, "color": what, "strokeDash": dash, "tooltip": tips}
    held = _held(states, window)
    data = {
        "ready": held[held["what"] == "ready"],
        "states": held,
        "needed": needed,
        "plan": plan.assign(what="planned floor"),
    }
    layers = [
        figure.rows("ready")
        .mark_area(interpolate="step-after", color=figure.GREEN, opacity=0.18, invalid="break-paths-show-path-domains")
        .encode(x=figure.time_axis(), y=count),
        figure.rows("states").mark_line(**_stair(2)).encode(**encode),
        figure.rows("plan").mark_line(**_stair(2)).encode(**encode),
        figure.rows("needed").mark_line(**figure.line(strokeWidth=1.6)).encode(**encode),
    ]
    return figure.layered(layers, data, window, marks=marks)


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
    rates = figure.with_gaps(demand, step).assign(ds=lambda frame: frame["ds"].dt.as_unit("us"))
    known = known.assign(ds=known["ds"].dt.as_unit("us"))
    both = pd.merge_asof(rates, known, on="ds", direction="nearest", tolerance=max(step, pd.Timedelta(minutes=10)))
    replicas = both["rps"] / both["capacity_rps"]
    return pd.DataFrame({"ds": both["ds"], "what": "demand / capacity", "replicas": replicas})
