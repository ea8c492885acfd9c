"""Pieces that several pages draw: the frame of a page with its clock, figures, the answer to "nothing there"."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import streamlit as st

from collector.clickhouse import StoreError, StoreUnavailableError
from dashboard.charts.figure import Figure, Window
from dashboard.charts.marks import legend_of
from dashboard.confirm import say_outcome
from dashboard.context import View, clock, look, record_address, zone
from dashboard.queries import record as queries
from dashboard.words import NONE, cause_of, clock_time, minutes

REFRESH_SECONDS = 5.0
DRAW_FIRST_SECONDS = 0.25
REFRESH_SECONDS_IN_A_DEMO = 2.0
MOST_OF_AN_ERROR = 300
MOST_ROWS, ROWS_IN_SIGHT = 200, 25
_FIGURE = re.compile(r"[-+]?[\d,]+(\.\d+)?%?( (%|ms|s|[A-Z]{3}))?")


def draw_page(
    title: str,
    draw: Callable[[View], None],
    *,
    act: Callable[[View], None] | None = None,
    watches_record: bool = True,
) -> None:
    """Draw a page whose body refreshes alone while it looks at the present; a broken source is said, never a zero.

    act: draws what changes something or holds what is being typed, once, outside of what refreshes. watches_record: the
    page's figures are of requests, so that a record without new ones is to be told.
    """
    st.title(title, anchor=False)
    say_outcome()
    every = REFRESH_SECONDS_IN_A_DEMO if clock().speed_now() > 1 else REFRESH_SECONDS
    begun = look()

    @st.fragment(run_every=every if begun.live else None)
    def body() -> None:
        view = look()
        st.caption(_head(view))
        try:
            if watches_record:
                _say_freshness(view)
            draw(view)
        except StoreError as error:
            say_broken(error)

    st.session_state["fresh"] = True
    body()
    if act is not None:
        with _said_when_broken():
            act(begun)
    st.session_state["fresh"] = False


def beneath() -> None:
    """Let the browser draw what was sent, before what lies beneath the window's edge comes and is drawn along with it.

    Only when a page comes up: what refreshes alone is in its place already.
    """
    if st.session_state.get("fresh"):
        time.sleep(DRAW_FIRST_SECONDS)


@contextmanager
def _said_when_broken() -> Iterator[None]:
    try:
        yield
    except StoreUnavailableError:
        pass  # the body above has said so
    except StoreError as error:
        say_broken(error)


def say_broken(error: StoreError) -> None:
    """Say that the record did not answer, or refused."""
    if isinstance(error, StoreUnavailableError):
        st.warning("The record does not answer, so nothing can be shown. This page comes back when it does.")
        st.caption(f"`{record_address()}`: {cause_of(str(error))[:MOST_OF_AN_ERROR]}")
    else:
        st.error("The record refuses what this page asks.")
        st.caption(str(error)[:MOST_OF_AN_ERROR])


def _head(view: View) -> str:
    where = view.service.name if view.region is None else f"{view.service.name}, {view.region}"
    if view.live:
        return f"{where} · " + time_line(view.now, zone=zone(), speed=clock().speed_now())
    ends = f"{clock_time(view.since, zone())} to {clock_time(view.until, zone())}"
    return f"{where} · {ends} · as it was then; choose a range that reaches the present to see it live"


def time_line(now: datetime, *, zone: str | None, speed: float) -> str:
    """Return the time in UTC, at the viewer's, and how fast it goes."""
    parts = [f"{now:%d %b %Y, %H:%M:%S} UTC"]
    local = now.astimezone(ZoneInfo(zone)) if zone else now.astimezone(UTC)
    if local.utcoffset():
        parts.append(f"{local:%H:%M:%S} your time ({zone})")
    if speed > 1:
        parts.append(f"demo clock, {speed:g} times as fast as real time")
    return " · ".join(parts)


def _say_freshness(view: View) -> None:
    if view.service.source == "import" or not view.live:
        return
    if queries.watermark(view.service.name) is None:
        st.info(f"No request of {view.service.name} is recorded yet. Imported history is shown where there is any.")
    elif (newest := queries.silent_since(view.service, view.now)) is not None:
        ago = minutes(view.now - newest)
        st.warning(f"The record is stale: its newest request is of {clock_time(newest, zone())}, {ago} ago.")


def draw_figure(figure: Figure, *, key: str) -> None:
    """Draw a figure that keeps its place when the page refreshes."""
    st.vega_lite_chart(spec=figure.spec(zone()), width="stretch", key=key)


def draw_table(frame: pd.DataFrame, *, key: str, column_config: Mapping[str, Any] | None = None) -> None:
    """Draw rows for reading, at most MOST_ROWS of them, and say when there are more."""
    right = {name: st.column_config.Column(alignment="right") for name in told_in_figures(frame)}
    with st.container(key=f"table-{key}"):
        st.dataframe(
            frame.head(MOST_ROWS), hide_index=True, width="stretch", key=key,
            column_config={**right, **(column_config or {})},
            height="content" if len(frame) <= ROWS_IN_SIGHT else "auto",
        )  # fmt: skip
    if len(frame) > MOST_ROWS:
        st.caption(f"The first {MOST_ROWS} of {len(frame):,}.")


def told_in_figures(frame: pd.DataFrame) -> list[str]:
    """Return the columns of text that hold nothing but figures with their units: these are read below each other."""
    return [
        str(name)
        for name in frame.columns
        if (texts := [one for one in frame[name] if one != NONE])
        and all(isinstance(one, str) and _FIGURE.fullmatch(one) for one in texts)
    ]


def say_marks(marks: pd.DataFrame) -> str:
    """Return the end of a caption: what the marks over a figure mean."""
    legend = legend_of(marks)
    return f" Marks: {legend}." if legend else ""


def heading(text: str) -> None:
    """Draw the head of a part of a page."""
    st.subheader(text, anchor=False)


def window_of(view: View) -> Window:
    """Return the stretch of time that the view's figures share; a forecast or a plan may reach beyond it."""
    return Window(view.since, view.now)


def look_ahead(view: View) -> datetime:
    """Return up to when figures look ahead: a third of what they look back."""
    return view.now + (view.until - view.since) / 3


def nothing(what: str) -> None:
    """Say that there is nothing to draw, instead of drawing zero."""
    st.info(f"No {what} in this time range.")
