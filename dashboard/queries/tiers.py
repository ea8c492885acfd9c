"""What samplers told of databases, caches and queues: gauges and counters by step, from a service's samples."""

from __future__ import annotations

from datetime import datetime, timedelta

import pandas as pd
import streamlit as st

from collector.record.sample_steps import increase_by_step, read_sample_steps
from collector.record.samples import SeriesInfo, read_series
from dashboard.context import client
from dashboard.queries.record import MINUTE_SECONDS

MOST_SERIES = 400  # per name: replicas come and go, and every one is a set of series


@st.cache_data(ttl=MINUTE_SECONDS, max_entries=16, show_spinner=False)
def known_series(service: str) -> list[SeriesInfo]:
    """Return every series that a sampler or a sender told of the service."""
    return read_series(client(), service=service)


@st.cache_data(ttl=MINUTE_SECONDS, max_entries=64, show_spinner=False)
def gauges(service: str, names: tuple[str, ...], since: datetime, until: datetime, step: timedelta) -> pd.DataFrame:
    """Return `ds, name, value, most, <label>...` of gauges, the last and the most of each step."""
    found = [one for one in known_series(service) if one.name in names][:MOST_SERIES]
    steps = read_sample_steps(
        client(), [one.series_id for one in found], since=since, until=until, step=step
    )  # fmt: skip
    return labelled(steps.rename(columns={"last": "value"}), found)


@st.cache_data(ttl=MINUTE_SECONDS, max_entries=64, show_spinner=False)
def increases(service: str, names: tuple[str, ...], since: datetime, until: datetime, step: timedelta) -> pd.DataFrame:
    """Return `ds, name, gained, <label>...` of counters, what they gained in each step."""
    found = [one for one in known_series(service) if one.name in names][:MOST_SERIES]
    steps = read_sample_steps(
        client(), [one.series_id for one in found], since=since - step, until=until, step=step
    )  # fmt: skip
    return labelled(increase_by_step(steps), found)


def labelled(steps: pd.DataFrame, series: list[SeriesInfo]) -> pd.DataFrame:
    """Return rows by series with the series' name and labels as columns (missing where a series has not the label)."""
    about = pd.DataFrame([{"series_id": one.series_id, "name": one.name, **one.labels} for one in series])
    if steps.empty or about.empty:
        return pd.DataFrame({"ds": pd.Series(dtype="datetime64[us, UTC]"), "name": [], "value": [], "gained": []})
    return steps.merge(about.astype({"series_id": "uint64"}), on="series_id").drop(columns="series_id")
