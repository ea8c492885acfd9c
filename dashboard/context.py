"""What every page stands on: the record, the catalog, the clock, and what the viewer chose.

The choice lives in the URL, so that a view can be shared. Pages read through `dashboard.queries` and draw with
`dashboard.charts`; nothing here decides anything.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import streamlit as st

from collector.catalog import Catalog, Service, read_catalog
from collector.clickhouse import Client, connect, settings_from_environment
from tidegauge.clock import Clock, clock_from_environment

SPANS: dict[str, timedelta] = {
    "1 h": timedelta(hours=1),
    "3 h": timedelta(hours=3),
    "9 h": timedelta(hours=9),
    "24 h": timedelta(hours=24),
    "7 d": timedelta(days=7),
    "30 d": timedelta(days=30),
}
DEFAULT_SPAN = "9 h"
MOST_POINTS = 500
STEPS = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 15, 60, 120, 360, 1440))
SETTLE_REAL_SECONDS = 3.0  # how long a request may take into the record: a step is drawn when it ended so long ago


@dataclass(frozen=True, slots=True)
class View:
    """What the viewer looks at: one service over [since, until) of the clock in use, `step` wide per point.

    now: the present. minute: the end of the newest minute that is whole in the record. until: the same of a step.
    """

    service: Service
    now: datetime
    minute: datetime
    since: datetime
    until: datetime
    step: timedelta


@st.cache_resource
def catalog() -> Catalog:
    """Return tidegauge.yaml, read once per process. Raises CatalogError."""
    return read_catalog(Path(os.environ.get("TIDEGAUGE_CONFIG") or "tidegauge.yaml"))


@st.cache_resource
def clock() -> Clock:
    """Return the clock in use."""
    return clock_from_environment(os.environ)


@st.cache_resource
def client() -> Client:
    """Return the connections to the record, shared by all viewers and threads. Raises StoreError while it is away."""
    return connect(settings_from_environment(os.environ))


def choose() -> None:
    """Draw the choices that every page obeys, in the sidebar; keep them in the URL and for `look`."""
    service = _offered("service", "Service", sorted(catalog().services), None)
    span = _offered("span", "Time range", list(SPANS), DEFAULT_SPAN)
    # Not under a widget's key: Streamlit forgets those when their widget is not drawn, as in a fragment's own run.
    st.session_state["chosen"] = (service, span)


def _offered(name: str, label: str, options: list[str], default: str | None) -> str:
    key = f"choice-{name}"
    if st.session_state.get(key) not in options:  # first run, or the URL named something that is not there
        asked = st.query_params.get(name)
        st.session_state[key] = asked if asked in options else default or options[0]
    chosen = str(st.sidebar.selectbox(label, options, key=key))
    st.query_params[name] = chosen
    return chosen


def look() -> View:
    """Return the view that the viewer chose, as of now."""
    service, span = st.session_state["chosen"]
    return view_at(catalog().service(service), SPANS[span], now=clock().now(), speed=clock().speed_now())


def view_at(service: Service, span: timedelta, *, now: datetime, speed: float) -> View:
    """Return the view over the newest `span` that ends with a whole step; speed: clock seconds per real second."""
    step = step_for(span)
    settled = now - timedelta(seconds=SETTLE_REAL_SECONDS * speed)
    until = _floored(settled, step)
    return View(service, now, _floored(settled, timedelta(minutes=1)), until - span, until, step)


def _floored(moment: datetime, step: timedelta) -> datetime:
    epoch = datetime.fromtimestamp(0, UTC)
    return epoch + (moment - epoch) // step * step


def step_for(span: timedelta) -> timedelta:
    """Return the narrowest of the usual steps that keeps a span under MOST_POINTS points."""
    return next((step for step in STEPS if span / step <= MOST_POINTS), STEPS[-1])
