"""What every page stands on: one connection to the record, the catalog, the clock, and what the viewer chose.

The choice lives in the URL, so that a view can be shared. Pages read through `dashboard.queries` and draw with
`dashboard.charts`; nothing here decides anything.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime, timedelta
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


@dataclass(frozen=True, slots=True)
class Platform:
    """Shared by all viewers; the client is safe to use from several threads."""

    client: Client
    catalog: Catalog
    clock: Clock


@dataclass(frozen=True, slots=True)
class View:
    """What the viewer looks at: one service over [since, until) of the clock in use, `step` wide per point."""

    service: Service
    since: datetime
    until: datetime
    step: timedelta


@st.cache_resource
def platform() -> Platform:
    """Return the connections, built once per process from the environment."""
    return Platform(
        client=connect(settings_from_environment(os.environ)),
        catalog=read_catalog(Path(os.environ.get("TIDEGAUGE_CONFIG") or "tidegauge.yaml")),
        clock=clock_from_environment(os.environ),
    )


def choose() -> tuple[str, str]:
    """Draw the sidebar's choices and return (service name, span label), kept in the URL."""
    names = sorted(platform().catalog.services)
    service = st.query_params.get("service", names[0])
    span = st.query_params.get("span", DEFAULT_SPAN)
    with st.sidebar:
        service = st.selectbox("Service", names, index=names.index(service) if service in names else 0)
        labels = list(SPANS)
        span = st.selectbox("Time range", labels, index=labels.index(span if span in labels else DEFAULT_SPAN))
    st.query_params.update({"service": service, "span": span})
    return service, span


def look(service: str, span: str) -> View:
    """Return the view of a choice as of now, with a step that keeps every curve under MOST_POINTS points."""
    here = platform()
    until = here.clock.now()
    return View(here.catalog.service(service), until - SPANS[span], until, step_for(SPANS[span]))


def step_for(span: timedelta) -> timedelta:
    """Return the narrowest of the usual steps that keeps a span under MOST_POINTS points."""
    steps = [timedelta(minutes=minutes) for minutes in (1, 5, 15, 60, 360, 1440)]
    return next((step for step in steps if span / step <= MOST_POINTS), steps[-1])
