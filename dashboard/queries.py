"""What the pages show, read through the stores of the packages that own the tables; cached for a moment.

Every function returns frames bounded by the view's step. Streamlit caches by the arguments; the connection is shared.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import pandas as pd
import streamlit as st

from collector.record.store import RedDimension, read_demand, read_red, read_watermark
from dashboard.context import platform
from forecaster.forecast.types import Forecast
from forecaster.store import (
    StoredBacktest,
    StoredDecision,
    read_decisions,
    read_forecast_as_known,
    read_latest_backtest,
    read_latest_forecast,
    read_replica_states,
)

FRESH_SECONDS = 1.0
LEAST_STEP = timedelta(minutes=1)


@st.cache_data(ttl=FRESH_SECONDS, max_entries=64, show_spinner=False)
def demand(service: str, since: datetime, until: datetime, step: timedelta) -> pd.DataFrame:
    """Return `ds, rps`."""
    return read_demand(platform().client, service, since=since, until=until, step=step)


@st.cache_data(ttl=FRESH_SECONDS, max_entries=64, show_spinner=False)
def red(
    service: str, since: datetime, until: datetime, step: timedelta, by: RedDimension | None = None
) -> pd.DataFrame:
    """Return rate, errors and duration per step, optionally by route, region, version or cache_level."""
    return read_red(platform().client, service, since=since, until=until, step=step, by=by)


@st.cache_data(ttl=FRESH_SECONDS, max_entries=64, show_spinner=False)
def forecast_as_known(service: str, since: datetime, until: datetime, lead: timedelta) -> pd.DataFrame:
    """Return what was forecast for each step `lead` before it."""
    return read_forecast_as_known(platform().client, service, since=since, until=until, lead=lead)


@st.cache_data(ttl=FRESH_SECONDS, max_entries=64, show_spinner=False)
def replica_states(service: str, since: datetime, until: datetime) -> pd.DataFrame:
    """Return what was seen of the autoscaler."""
    return read_replica_states(platform().client, service, since=since, until=until)


def latest_forecast(service: str, at: datetime) -> Forecast | None:
    """Return the newest forecast as of `at`."""
    return read_latest_forecast(platform().client, service, at=at)


def decisions(service: str, since: datetime, until: datetime, limit: int = 200) -> list[StoredDecision]:
    """Return decisions, newest first."""
    return read_decisions(platform().client, service, since=since, until=until, limit=limit)


def latest_backtest(service: str) -> StoredBacktest | None:
    """Return the newest verdict on the service's policy."""
    return read_latest_backtest(platform().client, service)


def watermark(service: str) -> datetime | None:
    """Return the end of the newest recorded minute."""
    return read_watermark(platform().client, service)
