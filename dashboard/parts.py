"""Pieces that several pages draw: the frame of a page with its clock, figures, the answer to "nothing there"."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import streamlit as st

from collector.clickhouse import StoreError, StoreUnavailableError
from dashboard import queries
from dashboard.context import SETTLE_REAL_SECONDS, View, clock, look
from dashboard.figure import Figure, Window
from dashboard.words import minutes

REFRESH_SECONDS = 5.0
REFRESH_SECONDS_IN_A_DEMO = 2.0
STALE_AFTER = timedelta(minutes=5)
MOST_OF_AN_ERROR = 300


def draw_page(title: str, draw: Callable[[View], None]) -> None:
    """Draw a page whose body refreshes alone; a broken source is said, never drawn as zero."""
    every = REFRESH_SECONDS_IN_A_DEMO if clock().speed_now() > 1 else REFRESH_SECONDS

    @st.fragment(run_every=every)
    def body() -> None:
        view = look()
        st.title(title, anchor=False)
        st.caption(f"{view.service.name} · " + time_line(view.now, zone=st.context.timezone, speed=clock().speed_now()))
        try:
            _say_freshness(view)
            draw(view)
        except StoreUnavailableError as error:
            st.warning("The record does not answer, so nothing can be shown. This page comes back when it does.")
            st.caption(str(error)[:MOST_OF_AN_ERROR])
        except StoreError as error:
            st.error("The record refuses what this page asks.")
            st.caption(str(error)[:MOST_OF_AN_ERROR])

    body()


def time_line(now: datetime, *, zone: str | None, speed: float) -> str:
    """Return the time in UTC, at the viewer's, and how fast it goes."""
    parts = [f"{now:%d %b %Y, %H:%M:%S} UTC"]
    local = now.astimezone(ZoneInfo(zone)) if zone else now.astimezone(UTC)
    if local.utcoffset():
        parts.append(f"{local:%H:%M:%S} your time ({zone})")
    if speed > 1:
        parts.append(f"demo clock, {speed:g} times as fast as real time")
    return " · ".join([*parts, "all times below in UTC"])


def _say_freshness(view: View) -> None:
    if view.service.source == "import":
        return
    newest = queries.watermark(view.service.name)
    allowed = max(STALE_AFTER, timedelta(seconds=5 * SETTLE_REAL_SECONDS * clock().speed_now()))
    if newest is None:
        st.info(f"No request of {view.service.name} is recorded yet. Imported history is shown where there is any.")
    elif view.now - newest > allowed:
        ago = minutes(view.now - newest)
        st.warning(f"The record is stale: its newest request is of {newest:%d %b %H:%M} UTC, {ago} ago.")


def draw_figure(figure: Figure, *, key: str) -> None:
    """Draw a figure that keeps its place when the page refreshes."""
    st.vega_lite_chart(spec=figure.spec(), width="stretch", key=key)


def window_of(view: View) -> Window:
    """Return the stretch of time that the view's figures share; a forecast or a plan may reach beyond it."""
    return Window(view.since, view.now)


def look_ahead(view: View) -> datetime:
    """Return up to when figures look ahead: a third of what they look back."""
    return view.now + (view.until - view.since) / 3


def nothing(what: str) -> None:
    """Say that there is nothing to draw, instead of drawing zero."""
    st.info(f"No {what} in this time range.")
