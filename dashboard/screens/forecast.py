"""What will come, and can it be believed: the fan against what came, skill, coverage, events and holidays."""

from __future__ import annotations

from datetime import timedelta

import streamlit as st

from dashboard.charts import forecast as charts_forecast
from dashboard.charts import traffic as charts_traffic
from dashboard.context import View, zone
from dashboard.parts import beneath, draw_figure, draw_page, draw_table, heading, nothing, window_of
from dashboard.queries import forecaster as forecast_queries
from dashboard.queries import record as queries
from dashboard.tables.forecast import event_table, score_table
from dashboard.timerange import floored, step_for
from dashboard.words import HORIZONS, clock_time, minutes, percent, rps, window
from forecaster.forecast.types import Forecast
from forecaster.scores.drift import drift_of
from forecaster.scores.score import summarise

SKILL_POINTS = 60
AHEAD = timedelta(days=7)


def draw(view: View) -> None:
    """Draw the newest forecast, how good forecasts were, and the events around."""
    newest = forecast_queries.latest_forecast(view.service.name, view.minute)
    if newest is None:
        nothing("forecast")
    else:
        _draw_numbers(view, newest)
        heading("The newest forecast")
        _draw_fan(view, newest, key="fan")
    _draw_skill(view)
    beneath()
    _draw_events(view)


def _draw_numbers(view: View, newest: Forecast) -> None:
    high = f"q{max(newest.quantiles):g}"
    middle = f"q{min(newest.quantiles, key=lambda level: abs(level - 0.5)):g}"
    ahead = newest.frame[newest.frame["ds"] >= view.now - newest.step]
    cells = st.columns(4)
    cells[0].metric("Model", newest.model)
    cells[1].metric("Made", f"{minutes(view.now - newest.origin)} ago", help=clock_time(newest.origin, zone()))
    if len(ahead):
        at = ahead["ds"][ahead[middle] == ahead[middle].max()].iloc[0]
        peak = rps(float(ahead[middle].max()))
        cells[2].metric("Peak, median, requests/s", peak, help=f"At {clock_time(at, zone())}.")
        cells[3].metric(
            f"Peak, quantile {max(newest.quantiles):g}, requests/s", rps(float(ahead[high].max())),
            help="At each instant demand stays under it with this probability.",
        )  # fmt: skip
    for note in newest.notes:
        st.caption(f"{note[:1].upper()}{note[1:]}.")


def _draw_fan(view: View, forecast: Forecast, *, key: str) -> None:
    step = max(view.step, forecast.step)
    ends = forecast.origin + len(forecast.frame) * forecast.step
    demand = queries.demand(view.service.name, view.since, view.until, step)
    calendar, _ = forecast_queries.events(view.service, view.since, max(view.until, ends))
    figure = charts_forecast.fan_chart(
        forecast, demand, step=step, window=window_of(view), events=calendar.events
    )  # fmt: skip
    draw_figure(figure, key=key)
    levels = ", ".join(f"{level:g}" for level in forecast.quantiles)
    st.caption(f"Demand per {window(step)}, the quantiles {levels} from {clock_time(forecast.origin, zone())} on.")


def past(view: View) -> None:
    """Draw a slider over past instants, and the forecast that was the newest then against what came."""
    heading("What it said then, and what came")
    since = max(view.since, view.until - timedelta(days=30))
    step = step_for(view.until - since, 200)
    first, last = floored(since, step) + step, floored(view.until, step)
    if first >= last:
        nothing("past forecast")
        return
    default = max(first, last - (last - first) / 3)
    # The slider's own labels have no zone: what it shows is UTC, and what was chosen is told in both below it.
    at = st.slider(
        "As it was known at (UTC)", first, last, floored(default, step), step=step, format="DD MMM HH:mm", key="origin"
    )  # fmt: skip
    forecast = forecast_queries.latest_forecast(view.service.name, at)
    if forecast is None or at - forecast.origin > timedelta(days=1):
        st.info(f"No forecast was known at {clock_time(at, zone())}.")
        return
    _draw_fan(view, forecast, key="past-fan")


def _draw_skill(view: View) -> None:
    heading("How good forecasts were")
    found = forecast_queries.scores(view.service.name, view.since, view.until)
    summaries = summarise([score for score in found if score.points])
    if not summaries:
        st.info("No forecast of this time range has been scored yet: a score is made when what it spoke of has come.")
        return
    drift = drift_of(found, now=view.now)
    for reason in drift.reasons:
        st.warning(f"Drifted, {reason}.")
    left, right = st.columns([3, 2], gap="large")
    with left:
        step = max(timedelta(hours=1), step_for(view.until - view.since, SKILL_POINTS))
        skill = charts_forecast.skill_frame(found, step)
        figure = charts_traffic.lines_chart(
            skill, title="skill against seasonal-naive", step=step, window=window_of(view), height=260,
            order=[name for name in HORIZONS.values() if name in set(skill["what"])],
        )  # fmt: skip
        draw_figure(figure, key="skill")
        st.caption("0: as good as repeating last week (or yesterday), 1: perfect, below 0: worse. By how far ahead.")
    with right:
        draw_figure(charts_forecast.coverage_chart(summaries), key="coverage")
        st.caption("On the line a quantile keeps its word; below it demand is above it too often.")
    draw_table(score_table(summaries), key="scores")
    days = min(view.until - view.since, forecast_queries.MOST_SCORED)
    worst = min((one.skill for one in summaries if one.skill is not None), default=None)
    st.caption(f"Over the origins of the last {window(days)}. Least skill: {percent(worst, 1)}.")


def _draw_events(view: View) -> None:
    heading("Events and holidays")
    calendar, amiss = forecast_queries.events(view.service, view.since, floored(view.now, timedelta(hours=1)) + AHEAD)
    for why in amiss:
        st.warning(f"A part of the calendar cannot be read: {why}")
    if not calendar.events:
        st.info(f"Nothing is known of this time range and the {AHEAD.days} days ahead of it.")
        return
    draw_table(event_table(calendar.events, now=view.now, zone=zone()), key="events")


draw_page("Forecast", draw, act=past)
