"""What every page stands on: the record, the catalog, the clock, and what the viewer chose.

The choice lives in the URL, so that a view can be shared. Pages read through `dashboard.queries` and draw with
`dashboard.charts`; nothing here decides anything.
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import streamlit as st

from collector.catalog import Catalog, Service, read_catalog
from collector.clickhouse import Client, StoreError, connect, settings_from_environment
from collector.record.red import read_regions
from dashboard.timerange import (
    ABSOLUTE,
    DEFAULT_SPAN,
    SPANS,
    TimeRange,
    TimeRangeError,
    absolute,
    bounds_of,
    range_of,
)
from tidegauge.clock import Clock, clock_from_environment

ALL_REGIONS = "All regions"
_REGIONS_KEPT_SECONDS = 60.0
_REGIONS_OF = timedelta(days=7)
_MOST_LOOKS = 100


@dataclass(frozen=True, slots=True)
class View:
    """What the viewer looks at: one service over [since, until) of the clock in use, `step` wide per point.

    now: the instant that is looked from, the present unless the range ends before it. minute: the end of the newest
    minute that is whole in the record then. until: the same of a step. region: None for all of them. live: `now` moves.
    """

    service: Service
    now: datetime
    minute: datetime
    since: datetime
    until: datetime
    step: timedelta
    region: str | None = None
    live: bool = True


@dataclass(frozen=True, slots=True)
class Look:
    """A viewer's choice."""

    service: str
    region: str | None
    asked: TimeRange


class Looks:
    """Who looked at what, and when last."""

    def __init__(self) -> None:
        self._seen: dict[Look, float] = {}
        self._lock = threading.Lock()

    def note(self, look: Look, *, at: float) -> None:
        """Remember that it is looked at; at: seconds that only grow. The oldest of many are forgotten."""
        with self._lock:
            self._seen.pop(look, None)
            self._seen[look] = at
            while len(self._seen) > _MOST_LOOKS:
                self._seen.pop(next(iter(self._seen)))

    def since(self, moment: float) -> list[Look]:
        """Return what was looked at from a moment on, the newest first."""
        with self._lock:
            return [look for look, at in reversed(self._seen.items()) if at >= moment]


@st.cache_resource
def looks() -> Looks:
    """Return what all viewers look at."""
    return Looks()


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


def record_address() -> str:
    """Return where the record is asked for. Raises StoreSettingsError."""
    return settings_from_environment(os.environ).url


@st.cache_data(ttl=_REGIONS_KEPT_SECONDS, max_entries=64, show_spinner=False)
def regions(service: str, hour: datetime) -> list[str]:
    """Return the regions that sent anything from the days before an hour on."""
    return read_regions(client(), service, since=hour - _REGIONS_OF)


def zone() -> str | None:
    """Return the viewer's time zone; None where the browser does not tell it."""
    return st.context.timezone


def choose() -> None:
    """Draw the choices that every page obeys, in the sidebar; keep them in the URL and for `look`."""
    service = _offered("service", "Service", list(catalog().services), None)
    region = _choose_region(service)
    asked = _choose_range()
    kept = {"service": service, **({"region": region} if region else {}), **asked.query()}
    for name in {"service", "region", "span", "from", "to"} - kept.keys():
        if name in st.query_params:
            del st.query_params[name]
    st.query_params.update(kept)
    # Not under a widget's key: Streamlit forgets those when their widget is not drawn, as in a fragment's own run.
    st.session_state["chosen"] = (service, region, asked)


def _choose_region(service: str) -> str | None:
    try:
        known = regions(service, clock().now().replace(minute=0, second=0, microsecond=0))
    except StoreError:
        known = []  # the page says that the record is away
    asked = st.session_state.get("choice-region") or st.query_params.get("region")
    if asked and asked != ALL_REGIONS and asked not in known:
        known = sorted([*known, asked])  # a shared view of a region that is silent now: its pages say so
    chosen = _offered("region", "Region", [ALL_REGIONS, *known], ALL_REGIONS)
    return None if chosen == ALL_REGIONS else chosen


def _choose_range() -> TimeRange:
    try:
        asked = range_of(st.query_params.to_dict())
    except TimeRangeError as error:
        st.sidebar.warning(str(error))
        asked = TimeRange(DEFAULT_SPAN)
    chosen = _offered("span", "Time range", [*SPANS, ABSOLUTE], asked.preset, named=False)
    if chosen != ABSOLUTE:
        return TimeRange(chosen)
    for name, moment in (("since", asked.since), ("until", asked.until)):
        if f"choice-{name}" not in st.session_state:
            ends = clock().now().replace(second=0, microsecond=0)
            default = moment or (ends if name == "until" else ends - SPANS[DEFAULT_SPAN])
            st.session_state[f"choice-{name}"] = default.replace(tzinfo=None)
    ends_of = {
        name: st.sidebar.datetime_input(f"{label}, UTC", key=f"choice-{name}", step=timedelta(minutes=5), required=True)
        for name, label in (("since", "From"), ("until", "To"))
    }
    try:
        found = absolute(ends_of["since"].replace(tzinfo=UTC), ends_of["until"].replace(tzinfo=UTC))
    except TimeRangeError as error:
        st.sidebar.warning(str(error))
        return TimeRange(DEFAULT_SPAN)
    if (own := zone()) is not None and found.since is not None and found.until is not None:
        here = [each.astimezone(ZoneInfo(own)) for each in (found.since, found.until)]
        st.sidebar.caption(f"{here[0]:%d %b %H:%M} to {here[1]:%d %b %H:%M} your time")
    return found


def _offered(name: str, label: str, options: list[str], default: str | None, *, named: bool = True) -> str:
    key = f"choice-{name}"
    if st.session_state.get(key) not in options:  # first run, or the URL named something that is not there
        asked = st.query_params.get(name) if named else None
        st.session_state[key] = asked if asked in options else default or options[0]
    return str(st.sidebar.selectbox(label, options, key=key))


def look() -> View:
    """Return the view that the viewer chose, as of now."""
    chosen = Look(*st.session_state["chosen"])
    looks().note(chosen, at=time.monotonic())
    return view_of(chosen)


def view_of(chosen: Look) -> View:
    """Return the view of a choice, as of now."""
    now, speed = clock().now(), clock().speed_now()
    return view_at(catalog().service(chosen.service), chosen.asked, now=now, speed=speed, region=chosen.region)


def view_at(
    service: Service, asked: TimeRange, *, now: datetime, speed: float, region: str | None = None
) -> View:  # fmt: skip
    """Return the view of a range at an instant; speed: clock seconds per real second."""
    found = bounds_of(asked, now=now, speed=speed)
    return View(service, found.now, found.minute, found.since, found.until, found.step, region, found.live)
