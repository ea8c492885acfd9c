"""What the pages show of the forecaster: forecasts, their scores, decisions, capacities, outlooks, events ahead."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import httpx
import pandas as pd
import streamlit as st

from collector.catalog import Scaling, Service
from collector.record.cpu import CpuUse, read_cpu_use
from collector.record.increase import LONGEST_GAP_SECONDS
from collector.record.store import Capacity as Measured
from collector.record.store import read_capacities, read_demand, read_markers
from dashboard.context import client, clock
from dashboard.queries.record import FRESH_SECONDS, MINUTE_SECONDS, PAST_SECONDS
from forecaster.calendar.reader import FeedTexts, calendar_of, fetch_calendar
from forecaster.calendar.types import Calendar
from forecaster.forecast.types import Forecast
from forecaster.outlook.asked import OutlookQuestion, outlook_from_record
from forecaster.outlook.outlook import NoOutlook, Outlook
from forecaster.scaling.capacity import capacity_in_use, reactive_spec
from forecaster.scaling.simulator.simulate import SimulationResult, simulate
from forecaster.scaling.types import Capacity
from forecaster.scores.score import Score
from forecaster.scores.score_store import read_scores
from forecaster.settings import Settings, settings_from_environment
from forecaster.store import (
    StoredBacktest,
    StoredDecision,
    read_decisions,
    read_forecast_as_known,
    read_latest_backtest,
    read_latest_forecast,
    read_replica_states,
)

MOST_DECISIONS = 200
MOST_SCORED = timedelta(days=7)  # scores are one row per forecast and bucket
OUTLOOK_SECONDS = 900.0
OUTLOOK_QUANTILES = (0.1, 0.5, 0.9, 0.95)
_LONGEST_REAL_GAP_SECONDS = 60.0  # between two samples of CPU, as GET /v1/cpu has it
_FEED_TIMEOUT_SECONDS = 3.0


@st.cache_data(ttl=MINUTE_SECONDS, max_entries=32, show_spinner=False)
def forecast_as_known(service: str, since: datetime, until: datetime, lead: timedelta) -> pd.DataFrame:
    """Return what was forecast for each step `lead` before it."""
    return read_forecast_as_known(client(), service, since=since, until=until, lead=lead)


@st.cache_data(ttl=FRESH_SECONDS, max_entries=64, show_spinner=False)
def latest_forecast(service: str, at: datetime) -> Forecast | None:
    """Return the newest forecast as of `at`."""
    return read_latest_forecast(client(), service, at=at)


@st.cache_data(ttl=MINUTE_SECONDS, max_entries=16, show_spinner=False)
def scores(service: str, since: datetime, until: datetime) -> list[Score]:
    """Return the scores of the forecasts with an origin in [since, until), of the newest MOST_SCORED of it at most."""
    return read_scores(client(), service, since=max(since, until - MOST_SCORED), until=until)


@st.cache_data(ttl=FRESH_SECONDS, max_entries=32, show_spinner=False)
def replica_states(service: str, since: datetime, until: datetime, step: timedelta) -> pd.DataFrame:
    """Return what was seen of the autoscaler, the last of each step."""
    return read_replica_states(client(), service, since=since, until=until, step=step)


@st.cache_data(ttl=FRESH_SECONDS, max_entries=32, show_spinner=False)
def decisions(
    service: str, since: datetime, until: datetime, *, changes_only: bool = False, limit: int = MOST_DECISIONS
) -> Sequence[StoredDecision]:
    """Return decisions, newest first."""
    return read_decisions(client(), service, since=since, until=until, limit=limit, changes_only=changes_only)


def latest_backtest(service: str) -> StoredBacktest | None:
    """Return the newest verdict on the service's policy."""
    return read_latest_backtest(client(), service)


@dataclass(frozen=True, slots=True)
class CapacityKnown:
    """What one replica carries: the capacity that plans use, all measurements, and which build serves now."""

    in_use: Capacity | None
    measured: list[Measured]
    running: str | None
    cpu: CpuUse


@st.cache_data(ttl=MINUTE_SECONDS, max_entries=16, show_spinner=False)
def capacity(service: Service, minute: datetime) -> CapacityKnown:
    """Return what is known of a replica's capacity at a minute; CPU is that of the hour before it."""
    found = [one for one in read_capacities(client(), service.name) if one.measured_at <= minute]
    speed = clock().speed_now()
    cpu = read_cpu_use(
        client(), service.name, since=minute - timedelta(hours=1), until=minute,
        longest_gap_seconds=max(LONGEST_GAP_SECONDS, _LONGEST_REAL_GAP_SECONDS * speed),
    )  # fmt: skip
    in_use = None
    if service.scaling is not None:
        in_use = capacity_in_use(service.scaling, found, running=cpu.version or None, speed=speed, now=minute)
    return CapacityKnown(in_use, found, cpu.version or None, cpu)


@st.cache_resource
def _settings() -> Settings:
    return settings_from_environment(os.environ)


@st.cache_data(ttl=OUTLOOK_SECONDS, max_entries=16, show_spinner="Looking ahead over the whole history…")
def outlook(
    service: Service,
    days: int,
    capacity_rps: float | None,
    hour: datetime,  # noqa: ARG001 - an answer is kept under it, and is good until the next
) -> Outlook | NoOutlook:
    """Return the days ahead of the present, against a capacity in requests/s."""
    question = OutlookQuestion(timedelta(days=days), OUTLOOK_QUANTILES, capacity_rps, None)
    return outlook_from_record(client(), service, question, clock=clock(), settings=_settings())


@st.cache_resource
def _feeds() -> FeedTexts:
    def fetch(address: str) -> str:
        with httpx.Client(timeout=_FEED_TIMEOUT_SECONDS) as http:
            return fetch_calendar(address, http)

    return FeedTexts(fetch, time.monotonic)


@st.cache_data(ttl=PAST_SECONDS, max_entries=16, show_spinner=False)
def events(service: Service, since: datetime, until: datetime) -> tuple[Calendar, tuple[str, ...]]:
    """Return what the calendar knows of [since, until), and which of its sources could not be read."""
    told = read_markers(client(), service.name, since=since, until=until)
    return calendar_of(
        service.calendar, timezone=service.timezone, since=since, until=until, feeds=_feeds(), markers=told
    )


@st.cache_data(ttl=PAST_SECONDS, max_entries=16, show_spinner=False)
def without_us(
    service: str, scaling: Scaling, capacity_rps: float, since: datetime, until: datetime, step: timedelta
) -> SimulationResult | None:
    """Return the replicas that the autoscaler alone would have had for the demand of [since, until).

    It is the simulation of the policy backtest with the operator's floor. None with too little demand to say.
    """
    demand = read_demand(client(), service, since=since, until=until, step=step)
    if len(demand) < 2:
        return None
    regular = pd.date_range(demand["ds"].iloc[0], demand["ds"].iloc[-1], freq=step)
    steps = demand.set_index("ds").reindex(regular)["rps"].rename_axis("ds").reset_index()
    return simulate(
        steps,
        capacity_rps=capacity_rps,
        spec=reactive_spec(scaling, speed=clock().speed_now()),
        start_delay=scaling.lead,
        floors=lambda _: scaling.min_replicas,
        initial=scaling.min_replicas,
    )
