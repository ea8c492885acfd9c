"""Pieces that several pages draw: the header with its clock, the answer to "nothing there", a number with its unit."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import streamlit as st

from collector.clickhouse import StoreError
from dashboard import queries
from dashboard.context import View, choose, look, platform

REFRESH_SECONDS = 2.0
STALE_AFTER = timedelta(minutes=5)


def draw_page(title: str, draw: Callable[[View], None]) -> None:
    """Draw a page whose body refreshes alone; a broken source is said, never drawn as zero."""
    service, span = choose()
    st.title(title)

    @st.fragment(run_every=REFRESH_SECONDS)
    def body() -> None:
        try:
            view = look(service, span)
            draw_header(view)
            draw(view)
        except StoreError as error:
            st.warning(f"The record does not answer: {error}")

    body()


def draw_header(view: View) -> None:
    """Say what time it is, in UTC and here, how fast it goes, and how fresh the record is."""
    clock = platform().clock
    now = view.until
    speed = clock.speed_now()
    pace = f" · demo clock, {speed:g} times as fast" if speed > 1 else ""
    st.caption(f"{now:%Y-%m-%d %H:%M:%S} UTC · {now.astimezone():%H:%M:%S %Z}{pace}")
    newest = queries.watermark(view.service.name)
    if newest is None:
        st.info(
            f"No request of {view.service.name} has been recorded yet. Imported history is shown where there is any."
        )
    elif now - newest > STALE_AFTER:
        st.warning(f"The record is stale: its newest minute ended at {newest:%H:%M} UTC, {minutes(now - newest)} ago.")


def nothing(what: str) -> None:
    """Say that there is nothing to draw, instead of drawing zero."""
    st.info(f"No {what} in this time range.")


def minutes(span: timedelta) -> str:
    """Return a span in words, to the minute."""
    whole = int(span.total_seconds() // 60)
    return f"{whole // 60} h {whole % 60} min" if whole >= 60 else f"{whole} min"


def clock_time(moment: datetime | None) -> str:
    """Return a time of day in UTC, or a dash where there is none."""
    return "–" if moment is None else f"{moment:%m-%d %H:%M}"


def rps(value: float | None) -> str:
    """Return a rate, or a dash where there is none."""
    return "–" if value is None else f"{value:,.2f}" if value < 10 else f"{value:,.0f}"
