"""What every figure is made of: the palette, one time axis in UTC, gaps that stay gaps, data apart from the drawing.

A figure's drawing never changes with its data, so a page that refreshes redraws no frame: only the rows are new.
What is drawn from what is in the modules beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import altair as alt
import pandas as pd

# Okabe and Ito's: told apart by eyes of all kinds, on white and on black, for which the blue is lighter than theirs.
BLUE, ORANGE, GREEN, RED, SKY, PINK, YELLOW = (
    "#1a80c0", "#e69f00", "#009e73", "#d55e00", "#56b4e9", "#cc79a7", "#b5a800",
)  # fmt: skip
GREY = "#8c8c8c"
CATEGORIES = [BLUE, ORANGE, GREEN, PINK, SKY, RED, YELLOW, GREY]
HEIGHT = 270
# UTC above, the viewer's own time below it where that is another one; Vega reads the browser's zone itself.
_WITH_SECONDS = "(utcseconds(datum.value) == 0 ? '%H:%M' : '%H:%M:%S')"
_UTC = (
    "(utchours(datum.value) == 0 && utcminutes(datum.value) == 0 && utcseconds(datum.value) == 0"
    f" ? utcFormat(datum.value, '%d %b') : utcFormat(datum.value, {_WITH_SECONDS}))"
)
_LOCAL = f"'(' + timeFormat(datum.value, {_WITH_SECONDS}) + ')'"
_DAY_OR_TIME = f"timezoneoffset(datum.value) == 0 ? {_UTC} : [{_UTC}, {_LOCAL}]"
_LEGEND_WIDTH, _SIGN_WIDTH, _LETTER_WIDTH, _LONGEST_LABEL = 440, 34, 6.5, 260  # pixels, of the narrower figures
_LOG_TICKS = [1, 3, 10, 30, 100, 300, 1000, 3000, 10_000, 30_000, 100_000]
TIME = alt.Tooltip("time:N", title="at")
NO_MARKS = pd.DataFrame({"ds": pd.Series(dtype="datetime64[us, UTC]"), "glyph": [], "kind": [], "text": []})


@dataclass(frozen=True, slots=True)
class Figure:
    """A drawing (a Vega-Lite document without rows) and the rows it is drawn from, by name. `ds`: times, aware UTC."""

    drawing: Mapping[str, Any]
    data: Mapping[str, pd.DataFrame]

    def spec(self, zone: str | None = None) -> dict[str, Any]:
        """Return the Vega-Lite document, with the rows as frames under `datasets`. zone: the viewer's, for tooltips."""
        found = {name: _with_time(frame, zone) for name, frame in self.data.items()}
        return {**self.drawing, "datasets": found}


@dataclass(frozen=True, slots=True)
class Window:
    """The stretch of time that a figure shows, and the present in it."""

    since: datetime
    now: datetime


def drawn(chart: alt.TopLevelMixin, data: Mapping[str, pd.DataFrame]) -> Figure:
    """Return the figure of a chart of Altair's; its parts are typed, so nothing is held against the schema again."""
    return Figure(chart.to_dict(validate=False), data)


def rows(name: str) -> alt.Chart:
    """Return an empty chart on the rows of a name."""
    return alt.Chart(alt.NamedData(name))


def time_axis() -> alt.X:
    """Return the x channel: UTC, days named at midnight, hours between; the viewer's own time beneath."""
    axis = alt.Axis(labelExpr=_DAY_OR_TIME, labelOverlap=True, tickCount=9, grid=False)
    return alt.X("ds:T", title=None, scale=alt.Scale(type="utc"), axis=axis)


def layered(
    layers: list[Any],
    data: dict[str, pd.DataFrame],
    window: Window,
    *,
    height: int = HEIGHT,
    marks: pd.DataFrame | None = None,
) -> Figure:
    """Return the figure of some layers over a window, with a line at the present, and what happened as marks on top.

    marks: `ds, glyph, kind, text` as `dashboard.charts.marks.marks_of` returns them; None for a figure without.
    """
    shown = {
        "window": pd.DataFrame({"ds": instants([window.since, window.now])}),
        "present": pd.DataFrame({"ds": instants([window.now])}),
    }
    above: tuple[dict[str, Any], ...] = ()
    if marks is not None:
        shown["marks"] = marks
        above = _marks()
    edges, present = _time()
    # Put together here: Altair's own layering copies and compares every part, which takes longer than all the rest.
    drawing = {"$schema": alt.SCHEMA_URL, "layer": [edges, *map(_layer, layers), present, *above], "height": height}
    return Figure(drawing, {**data, **shown})


def _layer(chart: alt.Chart) -> dict[str, Any]:
    found: dict[str, Any] = chart.to_dict(validate=False, context={"top_level": False})
    return found


@cache
def _time() -> tuple[dict[str, Any], dict[str, Any]]:
    edges = rows("window").mark_point(opacity=0).encode(x=time_axis())
    present = rows("present").mark_rule(color=GREY, strokeDash=[2, 3]).encode(x=time_axis())
    return _layer(edges), _layer(present)


@cache
def _marks() -> tuple[dict[str, Any], ...]:
    tips = [TIME, alt.Tooltip("kind:N", title="what"), alt.Tooltip("text:N", title="told")]
    line = rows("marks").mark_rule(color=GREY, opacity=0.55).encode(x=time_axis(), tooltip=tips)
    sign = rows("marks").mark_text(baseline="bottom", dy=-2, fontSize=12, color=GREY)
    return _layer(line), _layer(sign.encode(x=time_axis(), y=alt.value(0), text=alt.Text("glyph:N"), tooltip=tips))


def milliseconds(column: str = "ms:Q", *, nice: bool = True) -> alt.Y:
    """Return the y channel of durations in ms, on a logarithmic scale. nice: its ends are whole ticks."""
    axis = alt.Axis(values=_LOG_TICKS, format=",")
    return alt.Y(column, title="ms (logarithmic)", scale=alt.Scale(type="log", nice=nice), axis=axis)


def colours(domain: list[str], palette: list[str], *, symbol: str = "stroke") -> alt.Color:
    """Return a colour channel on column `what`, with its legend above the figure."""
    return alt.Color("what:N", scale=alt.Scale(domain=domain, range=palette), legend=_legend(domain, symbol))


def dashes(domain: list[str], patterns: list[list[int]]) -> alt.StrokeDash:
    """Return a dash channel on column `what` that shares the legend of `colours`."""
    return alt.StrokeDash("what:N", scale=alt.Scale(domain=domain, range=patterns), legend=_legend(domain, "stroke"))


def shapes(domain: list[str]) -> alt.Shape:
    """Return a shape channel on column `what` that shares the legend of `colours` with the symbol `circle`."""
    return alt.Shape("what:N", scale=alt.Scale(domain=domain), legend=_legend(domain, "circle"))


def legend_columns(names: list[str]) -> int:
    """Return how many names fit beside each other above a figure of half the page: Vega cuts off what does not."""
    longest = min(_LONGEST_LABEL, max((len(name) for name in names), default=0) * _LETTER_WIDTH)
    return max(1, min(4, int(_LEGEND_WIDTH / (_SIGN_WIDTH + longest))))


def legend_height(names: list[str]) -> int:
    """Return the pixels that a legend's further lines take from its figure, which is to be higher by them."""
    return 18 * (-(-len(names) // legend_columns(names)) - 1) if names else 0


def _legend(names: list[str], symbol: str) -> alt.Legend:
    return alt.Legend(
        title=None,
        orient="top",
        direction="horizontal",
        columns=legend_columns(names),
        labelLimit=_LEGEND_WIDTH - _SIGN_WIDTH if legend_columns(names) == 1 else _LONGEST_LABEL,
        symbolType=symbol,
        symbolStrokeWidth=2.5 if symbol == "stroke" else 0,
        symbolSize=200 if symbol == "stroke" else 120,
        symbolOpacity=1,
    )


def line(**options: Any) -> dict[str, Any]:
    """Return the options of a line that breaks at gaps and shows a lone point."""
    width = options.get("strokeWidth", 1.8)
    points = alt.OverlayMarkDef(size=width * width, filled=True)
    return {"invalid": "break-paths-show-path-domains", "point": points, "strokeWidth": width, **options}


def with_gaps(frame: pd.DataFrame, step: timedelta, *, by: str | None = None) -> pd.DataFrame:
    """Return the rows with one empty row wherever a step is missing, so that no line crosses what nobody knows.

    frame: `ds, [by,] ...`, ascending by ds.
    """
    if frame.empty:
        return frame
    times = frame["ds"] if by is None else frame.groupby(by)["ds"]
    missing = times.shift(-1) - frame["ds"] > 1.5 * step
    keep = ["ds"] if by is None else ["ds", by]
    holes = frame.loc[missing, keep]
    holes = holes.assign(ds=holes["ds"] + step)
    return pd.concat([frame, holes], ignore_index=True).sort_values("ds", kind="stable", ignore_index=True)


def instants(moments: Sequence[datetime]) -> pd.Series:
    """Return a column of instants, aware UTC also where there are none."""
    return pd.Series(pd.to_datetime(pd.Series(list(moments), dtype="object"), utc=True)).dt.as_unit("us")


def _with_time(frame: pd.DataFrame, zone: str | None) -> pd.DataFrame:
    """Return the rows with a column `time` to be read in a tooltip, which knows no UTC of its own."""
    if "ds" not in frame or frame.empty:
        return frame
    ds = frame["ds"].dt.tz_convert("UTC").dt.as_unit("ms")
    here = zone if zone is not None and ds.iloc[-1].tz_convert(ZoneInfo(zone)).utcoffset() else None
    return frame.assign(ds=ds, time=[_told(moment, here) for moment in ds.astype("int64").tolist()])


@lru_cache(maxsize=20_000)
def _told(epoch_ms: int, zone: str | None) -> str:
    """Return an instant in words; the figures of a page share most of theirs, with each other and from run to run."""
    at = datetime.fromtimestamp(epoch_ms / 1000, UTC)
    return f"{at:%d %b %H:%M UTC}" + ("" if zone is None else f"{at.astimezone(ZoneInfo(zone)): · %H:%M %Z}")
