"""Every policy on one field: the same demand, the same replicas, the same instants to decide at.

Each policy has a lane per setting of its risk curve, and all lanes are played at once. Under every policy that moves
the floor the same reactive autoscaler stays in charge, at the target that the field's net has for the setting's risk.
Who owns the autoscaler sets that target; no policy changes it on the way. The policy `hpa` is that autoscaler alone, at
several targets. Playing on several cores is left to `hands`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from collector.catalog import Scaling
from forecaster.scaling.backtest.field import BacktestError, Field, Net, game_of
from forecaster.scaling.backtest.net import nets_of
from forecaster.scaling.backtest.policies.fourier import fft
from forecaster.scaling.backtest.policies.holt_winters import holt_winters
from forecaster.scaling.backtest.policies.interface import Game, Policy
from forecaster.scaling.backtest.policies.mean import mean
from forecaster.scaling.backtest.policies.ours import LiveLanes, live_lanes
from forecaster.scaling.backtest.policies.simple import fixed_max, hpa_cron, oracle, seasonal_naive
from forecaster.scaling.backtest.rolling import RollingForecasts
from forecaster.scaling.backtest.stated import PlansSaid, Stated
from forecaster.scaling.simulator.course import FloorsAt, from_table, run_course
from forecaster.scaling.simulator.side_by_side import Lanes
from forecaster.scaling.simulator.simulate import demand_steps
from forecaster.scaling.simulator.toll import Blocks, LaneToll, tolls

Array = npt.NDArray[Any]
OURS, REACTIVE = "tidegauge", "hpa"
RISKS = (0.2, 0.15, 0.1, 0.075, 0.05, 0.04, 0.03, 0.02, 0.015, 0.01, 0.005, 0.001)
QUANTILES = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.975, 0.99, 0.999)
TARGETS = (0.3, 0.4, 0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)
SETTINGS: Mapping[str, tuple[float, ...]] = {
    OURS: RISKS,
    REACTIVE: TARGETS,
    "hpa_cron": QUANTILES,
    "seasonal_naive": QUANTILES,
    "holt_winters": QUANTILES,
    "fft": QUANTILES,
    "mean": QUANTILES,
    "fixed_max": (0.5, 0.7, 0.8, 0.9, 0.95, 0.975, 0.99, 0.995, 0.999, 1.0),
    "oracle": (0.0, 0.005, 0.01, 0.025, 0.05, 0.1),
}
NO_REACTIVE = ("fixed_max", "oracle")  # theirs is the whole answer


@dataclass(frozen=True, slots=True)
class Entry:
    """One setting of one policy, and what it cost. stated: what our plans said of their floors; None of all others."""

    name: str
    setting: float
    toll: LaneToll
    under_minutes_by_day: Array = field(repr=False)
    replica_hours_by_day: Array = field(repr=False)
    stated: Stated | None = None


@dataclass(frozen=True, slots=True)
class Contest:
    """What came of it. minutes_by_day: with demand known; play_seconds: what playing took, without the forecasts."""

    series: str
    step: timedelta
    window: tuple[datetime, datetime]
    capacity_rps: float
    entries: tuple[Entry, ...]
    minutes_by_day: Array
    fit_seconds: float
    play_seconds: float = 0.0

    def of(self, name: str) -> tuple[Entry, ...]:
        """Return the entries of one policy, in the order of its settings."""
        return tuple(entry for entry in self.entries if entry.name == name)


def chosen(names: str | None) -> tuple[str, ...]:
    """Return the policies named (commas between), all without a name. Raises BacktestError on an unknown one."""
    if names is None:
        return tuple(SETTINGS)
    wanted = tuple(name.strip() for name in names.split(","))
    unknown = [name for name in wanted if name not in SETTINGS]
    if unknown:
        raise BacktestError(f"--policy: expected some of {', '.join(SETTINGS)}, got {', '.join(unknown)}")
    return tuple(name for name in SETTINGS if name in wanted)


def hold(
    ground: Field,
    forecasts: RollingForecasts,
    *,
    policies: Sequence[str] = tuple(SETTINGS),
    settings: Mapping[str, Sequence[float]] = SETTINGS,
    progress: Callable[[float], None] | None = None,
) -> Contest:
    """Play all policies side by side. forecasts: from every decision of the window. Raises BacktestError."""
    met, nets = ground.met_inside, nets_of(ground)
    demand, game = demand_steps(met), game_of(ground)
    lanes = [(name, setting) for name in policies for setting in settings[name]]
    ours = _ours(ground, forecasts, settings[OURS]) if OURS in policies else None
    course = run_course(
        demand,
        spec=ground.spec,
        targets=np.array([_target(ground, nets, name, setting) for name, setting in lanes]),
        ceilings=np.full(len(lanes), ground.scaling.max_replicas),
        start_delay=ground.start_delay,
        initial=np.full(len(lanes), ground.first_replicas(demand.rps)),
        floors_at=_floors(game, forecasts, ours, policies, settings),
        progress=progress,
    )
    found, blocks = tolls(course, demand, capacity_rps=ground.capacity.low_rps, floor=ground.scaling.min_replicas)
    said = _stated(ground, forecasts, ours, settings[OURS] if ours is not None else ())
    return Contest(
        series=ground.series.name,
        step=timedelta(seconds=demand.step_seconds),
        window=ground.window,
        capacity_rps=ground.capacity.low_rps,
        entries=tuple(
            _entry(lane, toll, blocks, index, said.get(lane))
            for index, (lane, toll) in enumerate(zip(lanes, found, strict=True))
        ),
        minutes_by_day=blocks.minutes,
        fit_seconds=forecasts.fit_seconds,
    )


def _target(ground: Field, nets: tuple[Net, Net], name: str, setting: float) -> float:
    if name in NO_REACTIVE:
        return math.inf
    if name == REACTIVE:
        return ground.capacity.low_rps * setting
    theirs, ours = nets
    return ours.at(setting) if name == OURS else theirs.at(1 - setting)


def _ours(ground: Field, forecasts: RollingForecasts, risks: Sequence[float]) -> LiveLanes:
    return live_lanes(ground, [at_risk(ground.scaling, risk) for risk in risks], forecasts.by_origin())


def _floors(
    game: Game,
    forecasts: RollingForecasts,
    ours: LiveLanes | None,
    policies: Sequence[str],
    settings: Mapping[str, Sequence[float]],
) -> FloorsAt:
    """Return the floors of all lanes: ours decided on the way, the others' from their tables."""
    tables: list[Array] = []
    place, width = slice(0, 0), 0
    for name in policies:
        count = len(settings[name])
        if name == OURS:
            place = slice(width, width + count)
            tables.append(np.zeros((len(game.seen), count), dtype=np.int64))
        else:
            tables.append(_table(name, game, settings[name], forecasts))
        width += count
    others = from_table(game.at, np.concatenate(tables, axis=1))

    def floors_at(at: float, lanes: Lanes) -> Array:
        floors = others(at, lanes)
        if ours is not None:
            floors = floors.copy()
            floors[place] = ours.of(at, lanes, place)
        return floors

    return floors_at


_POLICIES: Mapping[str, Policy] = {
    "hpa_cron": hpa_cron,
    "seasonal_naive": seasonal_naive,
    "holt_winters": holt_winters,
    "fft": fft,
    "fixed_max": fixed_max,
    "oracle": oracle,
}


def _table(name: str, game: Game, settings: Sequence[float], forecasts: RollingForecasts) -> Array:
    if name == REACTIVE:
        return np.full((len(game.seen), len(settings)), game.floor)
    if name == "mean":
        return mean(game, settings, forecasts)
    return _POLICIES[name](game, settings)


def at_risk(scaling: Scaling, risk: float) -> Scaling:
    """Return the policy at another fixed risk: demand stays under the floor's capacity with probability 1 - risk."""
    return replace(scaling, quantile=round(1 - risk, 6), risk=None)


def _stated(
    ground: Field, forecasts: RollingForecasts, ours: LiveLanes | None, risks: Sequence[float]
) -> dict[tuple[str, float], Stated | None]:
    """Return by lane of ours what its plans said."""
    if ours is None:
        return {}
    said = PlansSaid(
        forecasts,
        demand_steps(ground.met_inside),
        capacity_rps=ground.capacity.low_rps,
        data_delay=ground.data_delay,
    )
    return {(OURS, risk): said.of(decisions) for risk, decisions in zip(risks, ours.decisions, strict=True)}


def _entry(lane: tuple[str, float], toll: LaneToll, blocks: Blocks, index: int, stated: Stated | None) -> Entry:
    return Entry(*lane, toll, blocks.under_minutes[:, index], blocks.replica_hours[:, index], stated)
