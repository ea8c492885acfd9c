"""What came since the last plan, for a service that asks to be paced: how much of the time its replicas were too few.

It goes by the newest decision that was stored, so a forecaster that was killed goes on where it stopped. The formula is
`scaling.pacing`'s.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import pandas as pd

from collector.catalog import Scaling
from collector.clickhouse import Client
from collector.record import store as record
from forecaster import store
from forecaster.scaling.pacing import Pace
from forecaster.scaling.types import Capacity

_SEEN_AT_LEAST_EVERY = timedelta(minutes=3)  # of replica states: a longer silence means that nobody looked
_UNIT = "datetime64[ms, UTC]"
_ROUNDING = 1e-9


def read_pace(
    client: Client,
    scaling: Scaling,
    last: store.StoredDecision | None,
    capacity: Capacity | None,
    *,
    known: record.DemandExtent | None,
    now: datetime,
) -> Pace | None:
    """Return what the last stored decision took and what came since; None without a plan before. Raises StoreError.

    known: how far the service's demand reaches, None when there is none.
    """
    if not scaling.paced or capacity is None or last is None or last.decision.quantile is None:
        return None
    service, since = last.decision.service, last.decision.at
    short, span = 0.0, timedelta(0)
    if known is not None and now - since >= known.step:
        demand = record.read_demand(client, service, since=since, until=now, step=known.step)
        states = store.read_replica_states(client, service, since=since - _SEEN_AT_LEAST_EVERY, until=now)
        short, span = short_of(demand, states, capacity_rps=capacity.low_rps, step=known.step)
    return Pace(1 - last.decision.quantile, short, span)


def short_of(
    demand: pd.DataFrame, states: pd.DataFrame, *, capacity_rps: float, step: timedelta
) -> tuple[float, timedelta]:
    """Return the share of the time in which demand passed what was ready, and the time of which both are known.

    demand: `ds`, `rps` of steps, states: `ts`, `ready`; both ascending. A step is judged by the state at its start.
    """
    known = demand.dropna(subset=["rps"])
    if known.empty or states.empty:
        return 0.0, timedelta(0)
    known, seen = known.astype({"ds": _UNIT}), states[["ts", "ready"]].astype({"ts": _UNIT})
    met = pd.merge_asof(known, seen, left_on="ds", right_on="ts", tolerance=pd.Timedelta(_SEEN_AT_LEAST_EVERY))
    met = met.dropna(subset=["ready"])
    if met.empty:
        return 0.0, timedelta(0)
    short = met["rps"] > met["ready"] * capacity_rps * (1 + _ROUNDING)
    return float(short.mean()), len(met) * step
