"""The forecast as figures, pure: its fan against what came, its skill over time, what its quantiles cover."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import altair as alt
import pandas as pd

from dashboard.charts import figure
from dashboard.charts.figure import Figure, Window
from dashboard.words import HORIZONS
from forecaster.calendar.types import Event
from forecaster.forecast.types import Forecast
from forecaster.scores.score import Score, Summary

MOST_EVENTS = 40
_EVENT_OPACITY = 0.16


def fan_frame(forecast: Forecast, step: timedelta) -> pd.DataFrame:
    """Return `ds, level, low, high` of a forecast's nested bands, the widest first, averaged over wider steps.

    A band joins the levels that lie alike from both ends: of 0.1, 0.5, 0.9, 0.95 and 0.99 the lowest with the highest,
    and so on inwards, as far as there are two; `level` says which, like `0.1 to 0.99`.
    """
    levels = sorted(forecast.quantiles)
    frame = forecast.frame
    if step > forecast.step:
        frame = frame.groupby(frame["ds"].dt.floor(step)).mean(numeric_only=True).reset_index()
    below = [level for level in levels if level < 0.5]
    above = [level for level in levels if level > 0.5]
    bands = []
    for high in reversed(above):
        low = below[0] if below else min(levels)
        bands.append(
            pd.DataFrame(
                {
                    "ds": frame["ds"],
                    "level": f"{low:g} to {high:g}",
                    "low": frame[f"q{low:g}"],
                    "high": frame[f"q{high:g}"],
                }
            )
        )
    columns = ["ds", "level", "low", "high"]
    return pd.concat(bands, ignore_index=True) if bands else pd.DataFrame(columns=columns)


def event_frame(events: Sequence[Event]) -> pd.DataFrame:
    """Return `ds, end, kind, text` of events, the first MOST_EVENTS."""
    kept = list(events)[:MOST_EVENTS]
    return pd.DataFrame(
        {
            "ds": figure.instants([event.starts_at for event in kept]),
            "end": figure.instants([event.ends_at for event in kept]),
            "kind": [event.kind for event in kept],
            "text": [event.name or event.kind for event in kept],
        }
    )


def fan_chart(
    forecast: Forecast,
    demand: pd.DataFrame,
    *,
    step: timedelta,
    window: Window,
    events: Sequence[Event] = (),
) -> Figure:
    """Return the bands and the median of a forecast, demand before and after its origin, and the events around it."""
    names = ["known then", "what came", "median"]
    what, dash = (
        figure.colours(names, [figure.BLUE, figure.GREEN, figure.ORANGE]),
        figure.dashes(names, [[1, 0], [1, 0], [5, 3]]),
    )
    rate = alt.Y("rps:Q", title="requests/s", scale=alt.Scale(zero=True))
    tips = [figure.TIME, alt.Tooltip("what:N", title="what"), alt.Tooltip("rps:Q", title="requests/s", format=",.3~f")]
    bands = fan_frame(forecast, step)
    middle = min(forecast.quantiles, key=lambda level: abs(level - 0.5))
    median = forecast.frame.rename(columns={f"q{middle:g}": "rps"})[["ds", "rps"]]
    if step > forecast.step:
        median = median.groupby(median["ds"].dt.floor(step)).mean(numeric_only=True).reset_index()
    seen = demand["ds"] < forecast.origin
    curves = [
        figure.with_gaps(demand[seen].reset_index(drop=True), step).assign(what=names[0]),
        figure.with_gaps(demand[~seen].reset_index(drop=True), step).assign(what=names[1]),
        median.assign(what=names[2]),
    ]
    data = {
        "events": _within(event_frame(events), window.since, forecast.origin + len(forecast.frame) * forecast.step),
        "bands": bands,
        "curves": pd.concat([curve for curve in curves if len(curve)], ignore_index=True),
        "origin": pd.DataFrame({"ds": figure.instants([forecast.origin]), "text": ["origin"]}),
    }
    band_tips = [
        figure.TIME,
        alt.Tooltip("level:N", title="between quantiles"),
        alt.Tooltip("low:Q", format=",.3~f"),
        alt.Tooltip("high:Q", format=",.3~f"),
    ]
    event_tips = [figure.TIME, alt.Tooltip("kind:N", title="event"), alt.Tooltip("text:N", title="name")]
    layers = [
        figure.rows("events").mark_rect(color=figure.PINK, opacity=_EVENT_OPACITY).encode(
            x=figure.time_axis(), x2=alt.X2("end:T"), y=alt.value(0), y2=alt.value("height"), tooltip=event_tips
        ),
        figure.rows("bands").mark_area(color=figure.ORANGE, opacity=0.2).encode(
            x=figure.time_axis(), y=alt.Y("low:Q", title="requests/s", stack=None), y2=alt.Y2("high:Q"),
            detail=alt.Detail("level:N"), tooltip=band_tips,
        ),
        figure.rows("curves").mark_line(**figure.line(strokeWidth=2)).encode(
            x=figure.time_axis(), y=rate, color=what, strokeDash=dash, tooltip=tips
        ),
        figure.rows("origin").mark_rule(color=figure.GREY, strokeWidth=1.5).encode(
            x=figure.time_axis(), tooltip=[alt.Tooltip("time:N", title="origin")]
        ),
    ]  # fmt: skip
    return figure.layered(layers, data, window, height=320)


def _within(events: pd.DataFrame, since: datetime, until: datetime) -> pd.DataFrame:
    """Return the events cut to a span: an event that goes on does not widen the figure."""
    kept = events[(events["end"] > since) & (events["ds"] < until)]
    return kept.assign(
        ds=kept["ds"].where(kept["ds"] > since, since), end=kept["end"].where(kept["end"] < until, until)
    )


def skill_frame(scores: Sequence[Score], step: timedelta) -> pd.DataFrame:
    """Return `ds, what, value`: skill against seasonal-naive by bucket of horizons, of the origins of each step.

    1 - summed pinball loss / the naive one's: 0 is as good as naive, 1 perfect; absent where naive had no loss.
    """
    found = pd.DataFrame(
        [(one.origin, one.bucket, sum(one.pinball), sum(one.naive_pinball)) for one in scores if one.points],
        columns=["ds", "bucket", "own", "naive"],
    )
    if found.empty:
        return pd.DataFrame({"ds": pd.Series(dtype="datetime64[us, UTC]"), "what": [], "value": []})
    found["ds"] = pd.to_datetime(found["ds"], utc=True).dt.as_unit("us").dt.floor(step)
    sums = found.groupby(["ds", "bucket"], as_index=False)[["own", "naive"]].sum()
    sums = sums[sums["naive"] > 0]
    return pd.DataFrame(
        {"ds": sums["ds"], "what": sums["bucket"].map(HORIZONS), "value": 1 - sums["own"] / sums["naive"]}
    ).reset_index(drop=True)


def coverage_frame(summaries: Sequence[Summary]) -> pd.DataFrame:
    """Return `what, level, share`: how much of the truth lay at or below each quantile, by bucket of horizons."""
    return pd.DataFrame(
        [
            {"what": HORIZONS.get(summary.bucket, summary.bucket), "level": level, "share": share}
            for summary in summaries
            for level, share in sorted(summary.coverage.items())
        ],
        columns=["what", "level", "share"],
    )


def coverage_chart(summaries: Sequence[Summary]) -> Figure:
    """Return what quantiles covered against what they promise; on the diagonal they keep their word."""
    names = [HORIZONS.get(summary.bucket, summary.bucket) for summary in summaries]
    scale = alt.Scale(domain=[0, 1])
    asked = alt.X("level:Q", title="quantile asked for", scale=scale)
    share = alt.Y("share:Q", title="share of demand at or below it", scale=scale)
    tips = [
        alt.Tooltip("what:N", title="ahead"),
        alt.Tooltip("level:Q", title="quantile"),
        alt.Tooltip("share:Q", title="covered", format=".3f"),
    ]
    diagonal = pd.DataFrame({"level": [0.0, 1.0], "share": [0.0, 1.0]})
    chart = alt.layer(
        figure.rows("diagonal").mark_line(color=figure.GREY, strokeDash=[4, 3]).encode(x=asked, y=share),
        figure.rows("coverage").mark_line(point=alt.OverlayMarkDef(size=70, filled=True)).encode(
            x=asked, y=share, color=figure.colours(names, figure.CATEGORIES[: len(names)]), tooltip=tips
        ),
    ).properties(height=260)  # fmt: skip
    return figure.drawn(chart, {"diagonal": diagonal, "coverage": coverage_frame(summaries)})
