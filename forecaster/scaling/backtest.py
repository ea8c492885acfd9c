"""The live decision, played on the past: would this policy have served the service better than the autoscaler alone?

`replay` steps through a window and calls the same forecast and the same `decide` as the live loop, each time with the
history before that instant only. `backtest_policy` is the gate before mode `act`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pandas as pd

from collector.catalog import Scaling
from forecaster.forecast.models import LearntHours, forecast_demand
from forecaster.forecast.types import DemandSeries, Forecast
from forecaster.scaling.capacity import replicas_for
from forecaster.scaling.hpa import HpaSpec
from forecaster.scaling.plan import decide, looked_at
from forecaster.scaling.simulate import SimulatedCluster, SimulationResult, demand_steps, play, simulate
from forecaster.scaling.types import Capacity, Decision, HpaState, Situation

WEEK = timedelta(days=7)
REFRESH = timedelta(minutes=5)
START_DELAY = timedelta(minutes=2)
DATA_DELAY = timedelta(seconds=0)


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
    progress: Callable[[float], None] | None = None,
) -> Replay:
    """Play `window` of `series` (requests/s) with and without the policy; both start with the same replicas.

    data_delay: how long after its end a step of demand is known. demand: `ds`, `rps` inside the window, what the
    replicas meet where it is known more finely than the series that the forecasts see; the series when not given.

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
    policy = _Policy(
        series=series,
        scaling=scaling,
        capacity=capacity,
        refresh=refresh,
        data_delay=data_delay,
        window=window,
        progress=progress,
    )
    cluster = SimulatedCluster(spec=spec, start_delay=start_delay, ready=initial)
    predictive = play(
        demand_steps(demand), cluster, sync=spec.sync, capacity_rps=capacity.low_rps, floor_at=policy.floor_at
    )
    reactive_only = simulate(
        demand,
        capacity_rps=capacity.low_rps,
        spec=spec,
        start_delay=start_delay,
        floors=lambda _at: scaling.min_replicas,
        initial=initial,
    )
    return Replay(predictive, reactive_only, tuple(policy.decisions))


def backtest_policy(
    series: DemandSeries,
    *,
    scaling: Scaling,
    capacity: Capacity,
    spec: HpaSpec,
    window: tuple[datetime, datetime] | None = None,
    start_delay: timedelta = START_DELAY,
    refresh: timedelta = REFRESH,
    allowed_extra_cost: float = 0.25,
    progress: Callable[[float], None] | None = None,
) -> PolicyBacktest:
    """Replay the policy over `window` (the last week; the last third of a shorter history) and judge it.

    Passed: less under-provisioned time than the autoscaler alone (or none, where that had none either), for at most
    1 + allowed_extra_cost times its replica-seconds. Raises BacktestError when there is nothing to replay.
    """
    window = window or _last_week(series)
    outcome = replay(
        series,
        window=window,
        scaling=scaling,
        capacity=capacity,
        spec=spec,
        start_delay=start_delay,
        refresh=refresh,
        progress=progress,
    )
    predictive, reactive_only = _toll(outcome.predictive), _toll(outcome.reactive_only)
    passed, reason = _judged(predictive, reactive_only, allowed_extra_cost)
    return PolicyBacktest(passed, reason, window, predictive, reactive_only)


class _Policy:
    """The live loop's job during a replay: forecast and decide at every refresh, remember the floor."""

    def __init__(
        self,
        *,
        series: DemandSeries,
        scaling: Scaling,
        capacity: Capacity,
        refresh: timedelta,
        data_delay: timedelta,
        window: tuple[datetime, datetime],
        progress: Callable[[float], None] | None,
    ) -> None:
        self._series, self._scaling, self._capacity, self._refresh = series, scaling, capacity, refresh
        self._data_delay, self._window, self._progress = data_delay, window, progress
        self._learnt = LearntHours()
        self._floor = scaling.min_replicas
        self._origin: datetime | None = None
        self._changed_at: dict[str, datetime] = {}
        self.decisions: list[Decision] = []

    def floor_at(self, at: float, cluster: SimulatedCluster) -> int:
        """Return the floor in force, decided anew when a new step of demand is known and a refresh is due."""
        now = datetime.fromtimestamp(at, UTC)
        origin = self._newest_end(now - self._data_delay)
        if self._origin is not None and origin - self._origin < self._refresh:
            return self._floor
        self._origin = origin
        decision = decide(self._situation(now, origin, cluster))
        self.decisions.append(decision)
        if decision.apply:
            self._floor = decision.floor_after
            self._changed_at[decision.outcome] = now
        if self._progress is not None:
            self._progress((now - self._window[0]) / (self._window[1] - self._window[0]))
        return self._floor

    def _newest_end(self, known_until: datetime) -> datetime:
        """Return the end of the newest step that is whole by then, on the series' own grid."""
        first: datetime = self._series.frame["ds"].iloc[0].to_pydatetime()
        return first + (known_until - first) // self._series.step * self._series.step

    def _situation(self, now: datetime, origin: datetime, cluster: SimulatedCluster) -> Situation:
        scaling = self._scaling
        forecast = forecast_demand(
            self._series,
            origin=origin,
            horizon=looked_at(scaling, self._refresh) + self._series.step + (now - origin),
            quantiles=(scaling.quantile,),
            learnt=self._learnt,
        )
        hpa = HpaState(
            operator_floor=scaling.min_replicas,
            floor=self._floor,
            ceiling=scaling.max_replicas,
            desired=cluster.desired,
            current=cluster.current,
            ready=cluster.ready,
        )
        return Situation(
            now=now,
            service=self._series.name,
            scaling=scaling,
            mode="act",
            forecast=forecast,
            capacity=self._capacity,
            hpa=hpa,
            metric_at=forecast.watermark if isinstance(forecast, Forecast) else None,
            last_lowered_at=self._changed_at.get("lower"),
            last_raised_at=self._changed_at.get("raise"),
            backtest_passed=True,  # this is the backtest
            refresh=self._refresh,
        )


def _last_week(series: DemandSeries) -> tuple[datetime, datetime]:
    if len(series.frame) < 2:
        raise BacktestError(f"series {series.name!r}: expected a history to replay, got {len(series.frame)} steps")
    start = series.frame["ds"].iloc[0].to_pydatetime()
    end = series.frame["ds"].iloc[-1].to_pydatetime() + series.step
    return max(end - WEEK, end - (end - start) / 3), end


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
