"""The live decision, played on the past beside the autoscaler alone, each time with what was known at that instant.

What came of it is judged in `gate`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from forecaster.forecast.models import LearntHours, forecast_demand
from forecaster.forecast.types import Forecast, NoForecast
from forecaster.scaling.backtest.field import Field
from forecaster.scaling.backtest.policies.ours import live_lanes
from forecaster.scaling.backtest.rolling import ForecastFrom, RollingForecasts, horizons_for, levels_for
from forecaster.scaling.simulator.simulate import SimulatedCluster, SimulationResult, demand_steps, play, simulate
from forecaster.scaling.types import Decision


@dataclass(frozen=True, slots=True)
class Replay:
    """One window, twice: with the floor moved by the decisions, and with the autoscaler on its own."""

    predictive: SimulationResult
    reactive_only: SimulationResult
    decisions: tuple[Decision, ...]


def replay(
    ground: Field,
    *,
    forecasts: RollingForecasts | None = None,
    progress: Callable[[float], None] | None = None,
) -> Replay:
    """Play the window of a field with and without the policy; both start with the same replicas.

    The autoscaler's own floor is not used, the operator's is scaling.min_replicas. forecasts: from every decision of
    the window; made on the way when not given. progress is told the share played, 0..1. Raises BacktestError when the
    window holds no demand.
    """
    met, start, span = ground.met_inside, ground.window[0], ground.window[1] - ground.window[0]
    demand, spec, capacity_rps = demand_steps(met), ground.spec, ground.capacity.low_rps
    initial = ground.first_replicas(demand.rps)
    live = live_lanes(
        ground,
        [ground.scaling],
        _made_on_the_way(ground) if forecasts is None else forecasts.by_origin(),
        told=None if progress is None else lambda now: progress((now - start) / span),
    )

    def floor_at(at: float, cluster: SimulatedCluster) -> int:
        counts = (np.array([count]) for count in (cluster.ready, cluster.current, cluster.desired))
        return int(live.floors_at(at, *counts)[0])

    cluster = SimulatedCluster(spec=spec, start_delay=ground.start_delay, ready=initial)
    predictive = play(demand, cluster, sync=spec.sync, capacity_rps=capacity_rps, floor_at=floor_at)
    reactive_only = simulate(
        met,
        capacity_rps=capacity_rps,
        spec=spec,
        start_delay=ground.start_delay,
        floors=lambda _at: ground.scaling.min_replicas,
        initial=initial,
    )
    return Replay(predictive, reactive_only, tuple(live.decisions[0]))


def _made_on_the_way(ground: Field) -> ForecastFrom:
    series, levels, learnt = ground.series, levels_for(ground.scaling), LearntHours()
    horizon = horizons_for(series, ground.scaling, ground.refresh, ground.data_delay) * series.step

    def forecast_from(origin: datetime) -> Forecast | NoForecast:
        return forecast_demand(series, origin=origin, horizon=horizon, quantiles=levels, learnt=learnt)

    return forecast_from
