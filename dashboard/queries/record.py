"""What the pages show of the record, read through the stores that own the tables; what costs more is kept a moment.

Every function returns what is bounded by the view's step or by a limit. Streamlit keeps answers by their arguments,
which change only when a step has passed, so viewers of the same page share them. The connection is shared as well.
What the forecaster stored is asked in `dashboard.queries.forecaster`, what samplers told in `dashboard.queries.tiers`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pandas as pd
import streamlit as st

from collector.alerts.backtest import Backtest, Minutes, backtest
from collector.alerts.history import FiredAlert, read_fired
from collector.alerts.report import alert_documents
from collector.alerts.settings import AlertPolicy
from collector.alerts.state import Silence
from collector.alerts.store import read_acknowledged, read_alerts, read_silences
from collector.catalog import ClassicRule, Service, Slo
from collector.record.load_steps import read_load_steps
from collector.record.store import (
    LoadRun,
    Marker,
    RedDimension,
    read_demand,
    read_load_run,
    read_load_runs,
    read_markers,
    read_red,
    read_red_totals,
    read_watermark,
)
from collector.record.traffic import Traffic, read_traffic
from collector.slo.history import BudgetPoint, read_budget_history
from collector.slo.minutes import read_recorded_starts, read_slo_minutes
from collector.slo.objectives import ClassicStatus, SloStatus
from collector.slo.store import read_classic, read_exclusions, read_sli_series, read_slo_statuses
from dashboard.charts.marks import marks_of
from dashboard.context import View, client, clock
from dashboard.timerange import SETTLE_REAL_SECONDS
from forecaster.store import read_decisions

FRESH_SECONDS = 2.0
STALE_AFTER = timedelta(minutes=5)
MINUTE_SECONDS = 60.0  # an answer for a minute that is over, good until the next: late requests may still change it
PAST_SECONDS = 300.0  # what needs the longest reads
MOST_MARKERS, MOST_RUNS = 100, 50
MOST_ALERTS = 200


@st.cache_data(ttl=MINUTE_SECONDS, max_entries=64, show_spinner=False)
def demand(service: str, since: datetime, until: datetime, step: timedelta) -> pd.DataFrame:
    """Return `ds, rps`."""
    return read_demand(client(), service, since=since, until=until, step=step)


@st.cache_data(ttl=MINUTE_SECONDS, max_entries=64, show_spinner=False)
def red(
    service: str,
    since: datetime,
    until: datetime,
    step: timedelta,
    by: RedDimension | None = None,
    region: str | None = None,
) -> pd.DataFrame:
    """Return rate, errors and durations per step, optionally by route, region, version or cache_level."""
    return read_red(client(), service, since=since, until=until, step=step, by=by, region=region)


@st.cache_data(ttl=MINUTE_SECONDS, max_entries=64, show_spinner=False)
def red_totals(
    service: str, since: datetime, until: datetime, by: RedDimension | None = None, region: str | None = None
) -> pd.DataFrame:
    """Return the same over the whole of [since, until)."""
    return read_red_totals(client(), service, since=since, until=until, by=by, region=region)


@st.cache_data(ttl=MINUTE_SECONDS, max_entries=16, show_spinner=False)
def traffic(
    service: str, since: datetime, until: datetime, step: timedelta, band_step: timedelta, by: RedDimension,
    region: str | None,
) -> Traffic:  # fmt: skip
    """Return what a page on the service's traffic shows: by a dimension, of all, over the range, as a heat-map."""
    return read_traffic(
        client(), service, since=since, until=until, step=step, band_step=band_step, by=by, region=region
    )  # fmt: skip


@st.cache_data(ttl=MINUTE_SECONDS, max_entries=32, show_spinner=False)
def slo_statuses(service: Service, minute: datetime) -> list[SloStatus]:
    """Return how every SLO stands at the end of a minute."""
    return read_slo_statuses(client(), service, now=minute - timedelta(seconds=1))


@st.cache_data(ttl=MINUTE_SECONDS, max_entries=32, show_spinner=False)
def classic(service: str, rule: ClassicRule, minute: datetime) -> list[ClassicStatus]:
    """Return how every route stands under the classic rule at the end of a minute."""
    return read_classic(client(), service, rule, now=minute - timedelta(seconds=1))


@st.cache_data(ttl=MINUTE_SECONDS, max_entries=64, show_spinner=False)
def sli_series(service: str, slo: Slo, since: datetime, until: datetime, step: timedelta) -> pd.DataFrame:
    """Return `ds, valid, good, sli`."""
    return read_sli_series(client(), service, slo, since=since, until=until, step=step)


@st.cache_data(ttl=PAST_SECONDS, max_entries=32, show_spinner=False)
def budget_history(service: str, slo: Slo, since: datetime, until: datetime, step: timedelta) -> list[BudgetPoint]:
    """Return what was left of an SLO's budget at the end of each step."""
    return read_budget_history(client(), service, slo, since=since, until=until, step=step)


@st.cache_data(ttl=PAST_SECONDS, max_entries=16, show_spinner="Replaying the alert policy over every minute…")
def alert_backtest(service: Service, slo: Slo, policy: AlertPolicy, since: datetime, until: datetime) -> Backtest:
    """Return what the alert policy would have told of an SLO in [since, until)."""
    before = since - max(policy.windows)
    exclusions = read_exclusions(client(), service.name, since=before, until=until)
    starts, valid, good = read_slo_minutes(
        client(), service.name, slo, since=before, until=until, exclusions=exclusions
    )  # fmt: skip
    recorded = read_recorded_starts(client(), service.name, since=before, until=until)
    return backtest(service, slo, Minutes(starts, valid, good, recorded), policy, since=since, until=until)


@st.cache_data(ttl=FRESH_SECONDS, max_entries=4, show_spinner=False)
def alerts(now: datetime) -> list[dict[str, Any]]:
    """Return the alerts of all services as documents, firing first."""
    found = read_alerts(client()).values()
    silenced = read_silences(client(), now=now)
    return alert_documents(found, silenced, read_acknowledged(client()), now=now)[:MOST_ALERTS]


def silences(now: datetime) -> list[Silence]:
    """Return the silences that have not ended."""
    return read_silences(client(), now=now)


@st.cache_data(ttl=MINUTE_SECONDS, max_entries=32, show_spinner=False)
def fired(service: str, since: datetime, until: datetime) -> list[FiredAlert]:
    """Return the alerts of a service that fired in [since, until), newest first."""
    return read_fired(client(), service, since=since, until=until, limit=MOST_ALERTS)


@st.cache_data(ttl=MINUTE_SECONDS, max_entries=32, show_spinner=False)
def markers(service: str, since: datetime, until: datetime) -> list[Marker]:
    """Return the newest markers that touch [since, until)."""
    return read_markers(client(), service, since=since, until=until)[-MOST_MARKERS:]


@st.cache_data(ttl=MINUTE_SECONDS, max_entries=32, show_spinner=False)
def load_runs(service: str) -> list[LoadRun]:
    """Return the newest load runs of a service."""
    return read_load_runs(client(), service, limit=MOST_RUNS)


@st.cache_data(ttl=MINUTE_SECONDS, max_entries=32, show_spinner=False)
def load_run(run_id: str) -> LoadRun | None:
    """Return one run, None when it is not stored."""
    return read_load_run(client(), run_id)


@st.cache_data(ttl=MINUTE_SECONDS, max_entries=32, show_spinner=False)
def load_steps(run_id: str, step: timedelta) -> pd.DataFrame:
    """Return a run's counts and percentiles by step."""
    return read_load_steps(client(), run_id, step=step)


def marks(view: View) -> pd.DataFrame:
    """Return what happened in the view's range, as marks over its figures."""
    return _marks(view.service.name, view.since, view.until + view.step)


@st.cache_data(ttl=MINUTE_SECONDS, max_entries=32, show_spinner=False)
def _marks(service: str, since: datetime, until: datetime) -> pd.DataFrame:
    changes = read_decisions(client(), service, since=since, until=until, limit=MOST_MARKERS, changes_only=True)
    runs: Sequence[LoadRun] = load_runs(service)
    return marks_of(
        markers=markers(service, since, until),
        decisions=changes,
        runs=runs,
        alerts=fired(service, since, until),
        since=since,
        until=until,
    )


@st.cache_data(ttl=FRESH_SECONDS, max_entries=64, show_spinner=False)
def watermark(service: str) -> datetime | None:
    """Return the end of the newest recorded minute."""
    return read_watermark(client(), service)


def silent_since(service: Service, now: datetime) -> datetime | None:
    """Return the end of the newest recorded minute, when that is longer ago than requests may take; else None.

    None too where nothing was recorded yet, and of imported history, which is of the past.
    """
    newest = None if service.source == "import" else watermark(service.name)
    allowed = max(STALE_AFTER, timedelta(seconds=5 * SETTLE_REAL_SECONDS * clock().speed_now()))
    return newest if newest is not None and now - newest > allowed else None
