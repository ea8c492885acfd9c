"""What the pages show, read through the stores of the packages that own the tables; what costs more is kept a moment.

Every function returns what is bounded by the view's step or by a limit. Streamlit keeps answers by their arguments,
which change only when a step has passed, so viewers of the same page share them. The connection is shared as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import pandas as pd
import streamlit as st

from collector.catalog import ClassicRule, Service, Slo
from collector.record.store import RedDimension, read_demand, read_red, read_red_totals, read_watermark
from collector.slo.objectives import ClassicStatus, SloStatus
from collector.slo.store import read_classic, read_sli_series, read_slo_statuses
from dashboard.context import client
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

FRESH_SECONDS = 2.0
PAST_SECONDS = 30.0  # what was forecast for steps that are over does not change
MOST_DECISIONS = 200


@st.cache_data(ttl=FRESH_SECONDS, max_entries=64, show_spinner=False)
def demand(service: str, since: datetime, until: datetime, step: timedelta) -> pd.DataFrame:
    """Return `ds, rps`."""
    return read_demand(client(), service, since=since, until=until, step=step)


@st.cache_data(ttl=FRESH_SECONDS, max_entries=64, show_spinner=False)
def red(
    service: str, since: datetime, until: datetime, step: timedelta, by: RedDimension | None = None
) -> pd.DataFrame:
    """Return rate, errors and durations per step, optionally by route, region, version or cache_level."""
    return read_red(client(), service, since=since, until=until, step=step, by=by)


@st.cache_data(ttl=FRESH_SECONDS, max_entries=64, show_spinner=False)
def red_totals(service: str, since: datetime, until: datetime, by: RedDimension | None = None) -> pd.DataFrame:
    """Return the same over the whole of [since, until)."""
    return read_red_totals(client(), service, since=since, until=until, by=by)


@st.cache_data(ttl=PAST_SECONDS, max_entries=32, show_spinner=False)
def forecast_as_known(service: str, since: datetime, until: datetime, lead: timedelta) -> pd.DataFrame:
    """Return what was forecast for each step `lead` before it."""
    return read_forecast_as_known(client(), service, since=since, until=until, lead=lead)


@st.cache_data(ttl=FRESH_SECONDS, max_entries=32, show_spinner=False)
def slo_statuses(service: Service, minute: datetime) -> list[SloStatus]:
    """Return how every SLO stands at the end of a minute."""
    return read_slo_statuses(client(), service, now=minute - timedelta(seconds=1))


@st.cache_data(ttl=FRESH_SECONDS, max_entries=32, show_spinner=False)
def classic(service: str, rule: ClassicRule, minute: datetime) -> list[ClassicStatus]:
    """Return how every route stands under the classic rule at the end of a minute."""
    return read_classic(client(), service, rule, now=minute - timedelta(seconds=1))


@st.cache_data(ttl=FRESH_SECONDS, max_entries=64, show_spinner=False)
def sli_series(service: str, slo: Slo, since: datetime, until: datetime, step: timedelta) -> pd.DataFrame:
    """Return `ds, valid, good, sli`."""
    return read_sli_series(client(), service, slo, since=since, until=until, step=step)


def replica_states(service: str, since: datetime, until: datetime, step: timedelta) -> pd.DataFrame:
    """Return what was seen of the autoscaler, the last of each step."""
    return read_replica_states(client(), service, since=since, until=until, step=step)


def latest_forecast(service: str, at: datetime) -> Forecast | None:
    """Return the newest forecast as of `at`."""
    return read_latest_forecast(client(), service, at=at)


def decisions(
    service: str, since: datetime, until: datetime, *, changes_only: bool = False, limit: int = MOST_DECISIONS
) -> Sequence[StoredDecision]:
    """Return decisions, newest first."""
    return read_decisions(client(), service, since=since, until=until, limit=limit, changes_only=changes_only)


def latest_backtest(service: str) -> StoredBacktest | None:
    """Return the newest verdict on the service's policy."""
    return read_latest_backtest(client(), service)


def watermark(service: str) -> datetime | None:
    """Return the end of the newest recorded minute."""
    return read_watermark(client(), service)
