"""Inputs of a report that a person can follow: flat demand of 60 requests/s, five replicas, one promise just kept."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from collector.catalog import Cost, Slo
from collector.slo.objectives import BURN_WINDOWS, Counts, Measured, SloStatus, status_of
from collector.slo.windows import WindowSpan
from forecaster.forecast.types import DemandSeries
from forecaster.outlook.outlook import NoOutlook, outlook_of
from forecaster.report.gather import CapacityInputs
from forecaster.scaling.types import Capacity
from tests.unit.forecaster_fakes import SERVICE

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NOW = datetime(2026, 11, 16, tzinfo=UTC)  # a Monday
AVAILABILITY = Slo(name="availability", kind="availability", target=0.99, window=30 * DAY)
SHOP = replace(SERVICE, slos=(AVAILABILITY,), cost=Cost(0.1, "EUR", 400.0))  # min 2, max 20, 12 to 14 requests/s each
CAPACITY = Capacity(12.0, 14.0, "declared")


def flat_demand(*, days: int = 160, rps: float = 60.0) -> DemandSeries:
    ds = pd.date_range(NOW - days * DAY, NOW, freq="1h", inclusive="left")
    return DemandSeries("shop", HOUR, pd.DataFrame({"ds": ds, "y": np.full(len(ds), rps)}))


def replica_states(count: int = 5, *, days: int = 30) -> pd.DataFrame:
    ts = pd.date_range(NOW - days * DAY, NOW, freq="5min", inclusive="left")
    return pd.DataFrame({"ts": ts, "current": np.full(len(ts), count)})


def a_status(valid: int, good: int) -> SloStatus:
    counts = Counts(valid, good)
    end = int(NOW.timestamp())
    span = WindowSpan(end - 30 * 86400, end, end)
    measured = Measured(span, recorded=21_600, expected=43_200, excluded=timedelta(0), exact_since=None)
    return status_of(AVAILABILITY, {AVAILABILITY.window: counts, **dict.fromkeys(BURN_WINDOWS, counts)}, measured)


def inputs(**changes: Any) -> CapacityInputs:
    """A flat outlook needs no luck: every error course is zero, so all quantiles are 60 requests/s."""
    demand = changes.get("demand", flat_demand())
    horizon = changes.get("horizon", 30 * DAY)
    outlook: Any = NoOutlook("shop", "no demand has been recorded or imported yet")
    if demand is not None:
        from zoneinfo import ZoneInfo

        outlook = outlook_of(
            demand, zone=ZoneInfo("UTC"), origin=NOW, horizon=horizon, quantiles=(0.1, 0.5, 0.9, 0.95, 0.99),
            capacity=240.0,
        )  # fmt: skip
    whole = CapacityInputs(
        service=SHOP,
        as_of=NOW,
        horizon=horizon,
        speed=1.0,
        demand=demand,
        outlook=outlook,
        capacity=CAPACITY,
        events=(),
        amiss=(),
        statuses=(a_status(1000, 995),),
        states=replica_states(),
        decided=True,
        decisions=(),
        days=(),
        backtest=None,
        scores=(),
        markers=(),
    )
    return replace(whole, **changes)


def nothing() -> CapacityInputs:
    """A service of which nothing was ever recorded."""
    return inputs(
        demand=None, decided=False, states=pd.DataFrame({"ts": [], "current": []}), statuses=(a_status(0, 0),)
    )
