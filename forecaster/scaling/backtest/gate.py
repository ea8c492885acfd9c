"""The live decision, played on the past: would this policy have served the service better than the autoscaler alone?

`replay` steps through a window with the live decision, each time with the forecast from the history before that instant
only. `backtest_policy` is the gate before mode `act`. Other policies beside ours are played in `contest`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from collector.catalog import Scaling
from forecaster.forecast.models import LearntHours, forecast_demand
from forecaster.forecast.types import DemandSeries, Forecast, NoForecast
from forecaster.scaling.backtest.policies.ours import LiveLanes
from forecaster.scaling.backtest.rolling import LEVELS, ForecastFrom, RollingForecasts, origins_of, roll
from forecaster.scaling.capacity import replicas_for
from forecaster.scaling.hpa import HpaSpec
from forecaster.scaling.plan import looked_at
from forecaster.scaling.simulator.simulate import SimulatedCluster, SimulationResult, demand_steps, play, simulate
from forecaster.scaling.types import Capacity, Decision

REFRESH = timedelta(minutes=5)
START_DELAY = timedelta(minutes=2)
DATA_DELAY = timedelta(seconds=0)
FORECASTS_SHARE = 0.9  # of the work, where they are not on disk


class BacktestError(ValueError):
    """The history or the window leaves nothing to replay: says what was expected and what came."""


@dataclass(frozen=True, slots=True)
class Replay:
    """One window, twice: with the floor moved by the decisions, and with the autoscaler on its own."""

    predictive: SimulationResult
    reactive_only: SimulationResult
    decisions: tuple[Decision, ...]


@dataclass(frozen=True, slots=True)
class Toll:
    """What a branch of a replay cost its users and its owner."""

    under_provisioned_seconds: float
    replica_seconds: float


@dataclass(frozen=True, slots=True)
class PolicyBacktest:
    """passed: the policy left users under-provisioned for less time than the autoscaler alone, at a bearable cost."""

    passed: bool
    reason: str
    window: tuple[datetime, datetime]
    predictive: Toll
    reactive_only: Toll


def replay(
    series: DemandSeries,
    *,
    window: tuple[datetime, datetime],
    scaling: Scaling,
    capacity: Capacity,
    spec: HpaSpec,
    start_delay: timedelta = START_DELAY,
    refresh: timedelta = REFRESH,
    data_delay: timedelta = DATA_DELAY,
    demand: pd.DataFrame | None = None,
    watched: bool = True,
    forecasts: RollingForecasts | None = None,
    progress: Callable[[float], None] | None = None,
) -> Replay:
    """Play `window` of `series` (requests/s) with and without the policy; both start with the same replicas.

    data_delay: how long after its end a step of demand is known. demand: `ds`, `rps` inside the window, what the
    replicas meet where it is known more finely than the series that the forecasts see; the series when not given.
    watched: of `LiveLanes`. forecasts: from every decision of the window; made on the way when not given.

    spec: the autoscaler, in the same rates as the series; its floor is not used, the operator's is
    scaling.min_replicas. progress is told the share played, 0..1. Raises BacktestError when the window holds no demand.
    """
    met = series.frame.rename(columns={"y": "rps"}) if demand is None else demand
    demand = met[(met["ds"] >= window[0]) & (met["ds"] < window[1])]
    if len(demand) < 2 or not demand["rps"].notna().any():
        raise BacktestError(f"series {series.name!r}: expected demand in {_text(window)}, got {len(demand)} steps")
    first_rps = float(demand["rps"].dropna().iloc[0])
    at_target = replicas_for(first_rps, Capacity(spec.target_per_replica, spec.target_per_replica, "target"))
    initial = min(max(at_target, scaling.min_replicas), scaling.max_replicas)
    span = window[1] - window[0]
    made = _made_on_the_way(series, scaling, refresh, data_delay) if forecasts is None else forecasts.by_origin()
    live = LiveLanes(
        service=series.name,
        scalings=[scaling],
        capacity=capacity,
        forecast_from=made,
        first=series.frame["ds"].iloc[0].to_pydatetime(),
        step=series.step,
        refresh=refresh,
        data_delay=data_delay,
        demand=demand_steps(demand),
        watched=watched,
        zone=series.zone or UTC,
        told=None if progress is None else lambda now: progress((now - window[0]) / span),
    )

    def floor_at(at: float, cluster: SimulatedCluster) -> int:
        counts = (np.array([count]) for count in (cluster.ready, cluster.current, cluster.desired))
        return int(live.floors_at(at, *counts)[0])

    cluster = SimulatedCluster(spec=spec, start_delay=start_delay, ready=initial)
    predictive = play(demand_steps(demand), cluster, sync=spec.sync, capacity_rps=capacity.low_rps, floor_at=floor_at)
    reactive_only = simulate(
        demand,
        capacity_rps=capacity.low_rps,
        spec=spec,
        start_delay=start_delay,
        floors=lambda _at: scaling.min_replicas,
        initial=initial,
    )
    return Replay(predictive, reactive_only, tuple(live.decisions[0]))


def backtest_policy(
    series: DemandSeries,
    *,
    scaling: Scaling,
    capacity: Capacity,
    spec: HpaSpec,
    window: tuple[datetime, datetime] | None = None,
    start_delay: timedelta = START_DELAY,
    refresh: timedelta = REFRESH,
    data_delay: timedelta = DATA_DELAY,
    demand: pd.DataFrame | None = None,
    watched: bool = True,
    allowed_extra_cost: float = 0.25,
    kept: Path | None = None,
    processes: int = 1,
    forecasts: RollingForecasts | None = None,
    progress: Callable[[float], None] | None = None,
) -> PolicyBacktest:
    """Replay the policy over `window` (the last third) and judge it. demand, watched: as of `replay`.

    Passed: less under-provisioned time than the autoscaler alone (or none, where that had none either), for at most
    1 + allowed_extra_cost times its replica-seconds. forecasts: from every decision of the window; kept, processes: how
    they are made where not given (`rolling.roll`). Raises BacktestError when there is nothing to replay.
    """
    window = window or last_third(series)

    def told(before: float, share: float) -> Callable[[float], None] | None:
        return None if progress is None else lambda done: progress(before + share * done)

    forecasts = forecasts or roll(
        series,
        origins=origins_of(series, window=window, refresh=refresh, data_delay=data_delay),
        horizons=horizons_for(series, scaling, refresh, data_delay),
        levels=levels_for(scaling),
        kept=kept,
        processes=processes,
        progress=told(0.0, FORECASTS_SHARE),
    )
    outcome = replay(
        series,
        window=window,
        scaling=scaling,
        capacity=capacity,
        spec=spec,
        start_delay=start_delay,
        refresh=refresh,
        data_delay=data_delay,
        demand=demand,
        watched=watched,
        forecasts=forecasts,
        progress=told(FORECASTS_SHARE, 1 - FORECASTS_SHARE),
    )
    predictive, reactive_only = _toll(outcome.predictive), _toll(outcome.reactive_only)
    passed, reason = _judged(predictive, reactive_only, allowed_extra_cost)
    return PolicyBacktest(passed, reason, window, predictive, reactive_only)


def levels_for(scaling: Scaling) -> tuple[float, ...]:
    """Return the quantiles that a backtest forecasts: those of the risk curve, and the service's own."""
    return tuple(sorted({*LEVELS, scaling.quantile}))


def horizons_for(series: DemandSeries, scaling: Scaling, refresh: timedelta, data_delay: timedelta) -> int:
    """Return how many steps from its origin a decision looks at."""
    return -(-(looked_at(scaling, refresh) + series.step + data_delay) // series.step)


def last_third(series: DemandSeries) -> tuple[datetime, datetime]:
    """Return the last third of a series. Raises BacktestError for less than two steps."""
    if len(series.frame) < 2:
        raise BacktestError(f"series {series.name!r}: expected a history to replay, got {len(series.frame)} steps")
    start, end = series.frame["ds"].iloc[0].to_pydatetime(), series.frame["ds"].iloc[-1].to_pydatetime() + series.step
    return end - max(series.step, (end - start) / 3 // series.step * series.step), end


def _made_on_the_way(series: DemandSeries, scaling: Scaling, refresh: timedelta, data_delay: timedelta) -> ForecastFrom:
    learnt, horizons = LearntHours(), horizons_for(series, scaling, refresh, data_delay)

    def forecast_from(origin: datetime) -> Forecast | NoForecast:
        horizon = horizons * series.step
        return forecast_demand(series, origin=origin, horizon=horizon, quantiles=levels_for(scaling), learnt=learnt)

    return forecast_from


def _toll(result: SimulationResult) -> Toll:
    return Toll(result.under_provisioned_seconds, result.replica_seconds)


def _judged(predictive: Toll, reactive_only: Toll, allowed_extra_cost: float) -> tuple[bool, str]:
    ours, theirs = predictive.under_provisioned_seconds, reactive_only.under_provisioned_seconds
    extra = predictive.replica_seconds / reactive_only.replica_seconds - 1
    facts = (
        f"{ours:.0f} s under-provisioned against {theirs:.0f} s of the autoscaler alone, {extra:+.1%} replica-seconds"
    )
    if ours > theirs or (ours == theirs and theirs > 0):
        return False, f"not better: {facts}"
    if extra > allowed_extra_cost:
        return False, f"too dear (at most {allowed_extra_cost:+.0%} is allowed): {facts}"
    return True, f"better: {facts}" if ours < theirs else f"as good: {facts}"


def _text(window: tuple[datetime, datetime]) -> str:
    return f"{window[0].isoformat()} to {window[1].isoformat()}"
