"""Every policy on one window of one service: the same demand, the same replicas, the same instants to decide at.

Each policy has a lane per setting of its risk curve, and all lanes are played at once. Under every policy that moves
the floor the same reactive autoscaler stays in charge, at the target that NET recommends for the setting's risk: led by
a floor it may run hot where risks are taken, and keeps its headroom where none are. Who owns the autoscaler sets that
target; no policy changes it on the way. The policy `hpa` is that autoscaler alone, at several targets.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from multiprocessing import get_context
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from collector.catalog import Scaling
from forecaster.forecast.types import DemandSeries
from forecaster.scaling.course import FloorsAt, from_table, run_course
from forecaster.scaling.hpa import HpaSpec
from forecaster.scaling.policies.fourier import fft
from forecaster.scaling.policies.holt_winters import holt_winters
from forecaster.scaling.policies.interface import Game, Policy
from forecaster.scaling.policies.mean import mean
from forecaster.scaling.policies.ours import LiveLanes
from forecaster.scaling.policies.simple import fixed_max, hpa_cron, oracle, seasonal_naive
from forecaster.scaling.rolling import RollingForecasts, origins_of
from forecaster.scaling.side_by_side import Lanes
from forecaster.scaling.simulate import demand_steps
from forecaster.scaling.toll import Blocks, LaneToll, tolls
from forecaster.scaling.types import Capacity

Array = npt.NDArray[Any]
OURS, REACTIVE = "tidegauge", "hpa"
NET = ((0.01, 0.05, 0.1, 0.2), (0.75, 0.9, 0.95, 1.0))  # risk: target of the reactive autoscaler under a floor
RISKS = (0.5, 0.4, 0.3, 0.2, 0.15, 0.1, 0.05, 0.025, 0.01)
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


class ContestError(ValueError):
    """The window or the policies leave nothing to play: says what was expected and what came."""


@dataclass(frozen=True, slots=True)
class Field:
    """Where a contest is held. series: what forecasts see (requests/s); met: what the replicas meet, `ds` and `rps`.

    scaling: ours at its own setting; capacity: of one replica, and the low end is what the replicas carry; spec: the
    autoscaler. net_target_rps: its target under a floor, requests/s per replica; None: what NET recommends.
    """

    series: DemandSeries
    met: pd.DataFrame
    window: tuple[datetime, datetime]
    scaling: Scaling
    capacity: Capacity
    spec: HpaSpec
    start_delay: timedelta
    refresh: timedelta
    data_delay: timedelta = timedelta(0)
    net_target_rps: float | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One setting of one policy, and what it cost."""

    name: str
    setting: float
    toll: LaneToll
    under_minutes_by_day: Array = field(repr=False)
    replica_hours_by_day: Array = field(repr=False)


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
    """Return the policies named (commas between), all without a name. Raises ContestError on an unknown one."""
    if names is None:
        return tuple(SETTINGS)
    wanted = tuple(name.strip() for name in names.split(","))
    unknown = [name for name in wanted if name not in SETTINGS]
    if unknown:
        raise ContestError(f"--policy: expected some of {', '.join(SETTINGS)}, got {', '.join(unknown)}")
    return tuple(name for name in SETTINGS if name in wanted)


def hold(
    ground: Field,
    forecasts: RollingForecasts,
    *,
    policies: Sequence[str] = tuple(SETTINGS),
    settings: Mapping[str, Sequence[float]] = SETTINGS,
    progress: Callable[[float], None] | None = None,
) -> Contest:
    """Play all policies side by side. forecasts: from every decision of the window. Raises ContestError."""
    met = _inside(ground)
    demand = demand_steps(met)
    game = game_of(ground)
    lanes = [(name, setting) for name in policies for setting in settings[name]]
    ready = _first_replicas(ground, met)
    course = run_course(
        demand,
        spec=ground.spec,
        targets=np.array([_target(ground, name, setting) for name, setting in lanes]),
        ceilings=np.full(len(lanes), ground.scaling.max_replicas),
        start_delay=ground.start_delay,
        initial=np.full(len(lanes), ready),
        floors_at=_floors(ground, game, forecasts, policies, settings),
        progress=progress,
    )
    found, blocks = tolls(course, demand, capacity_rps=ground.capacity.low_rps, floor=ground.scaling.min_replicas)
    return Contest(
        series=ground.series.name,
        step=timedelta(seconds=demand.step_seconds),
        window=ground.window,
        capacity_rps=ground.capacity.low_rps,
        entries=tuple(
            _entry(lane, toll, blocks, index) for index, (lane, toll) in enumerate(zip(lanes, found, strict=True))
        ),
        minutes_by_day=blocks.minutes,
        fit_seconds=forecasts.fit_seconds,
    )


def hold_shared(
    ground: Field,
    forecasts: RollingForecasts,
    *,
    policies: Sequence[str] = tuple(SETTINGS),
    settings: Mapping[str, Sequence[float]] = SETTINGS,
    processes: int = 1,
    progress: Callable[[float], None] | None = None,
) -> Contest:
    """Do what `hold` does on several cores: the lanes are dealt out, and every process plays its own."""
    began = time.perf_counter()
    hands = [hand for hand in dealt(policies, settings, processes) if hand]
    if len(hands) < 2:
        found = [hold(ground, forecasts, policies=policies, settings=settings, progress=progress)]
    else:
        with ProcessPoolExecutor(len(hands), mp_context=get_context("spawn")) as pool:
            others = [pool.submit(_play_hand, ground, forecasts, hand) for hand in hands[1:]]
            mine = hold(ground, forecasts, policies=tuple(hands[0]), settings=hands[0], progress=progress)
            found = [mine, *(other.result() for other in others)]
    order = {(name, setting): index for index, (name, setting) in enumerate(
        (name, setting) for name in policies for setting in settings[name]
    )}  # fmt: skip
    entries = sorted((entry for one in found for entry in one.entries), key=lambda one: order[one.name, one.setting])
    return replace(found[0], entries=tuple(entries), play_seconds=time.perf_counter() - began)


def dealt(
    policies: Sequence[str], settings: Mapping[str, Sequence[float]], hands: int
) -> list[dict[str, tuple[float, ...]]]:
    """Deal out the lanes: ours, which decides step by step, one by one, and each other policy whole."""
    found: list[dict[str, tuple[float, ...]]] = [{} for _ in range(max(1, hands))]
    others = [name for name in policies if name != OURS]
    for index, hand in enumerate(found):
        mine = tuple(settings[OURS][index :: len(found)]) if OURS in policies else ()
        hand.update({OURS: mine} if mine else {})
        hand.update({name: tuple(settings[name]) for name in others[index :: len(found)]})
    return found


def _play_hand(ground: Field, forecasts: RollingForecasts, hand: Mapping[str, Sequence[float]]) -> Contest:
    return hold(ground, forecasts, policies=tuple(hand), settings=hand)


def game_of(ground: Field) -> Game:
    """Return what a policy is told of a field."""
    frame, step = ground.series.frame, int(ground.series.step.total_seconds())
    start = int(frame["ds"].iloc[0].timestamp())
    origins = origins_of(ground.series, window=ground.window, refresh=ground.refresh, data_delay=ground.data_delay)
    ahead = math.ceil((ground.scaling.lead + ground.refresh) / ground.series.step)
    return Game(
        values=frame["y"].to_numpy(dtype=np.float64),
        highest=_highest(ground, start, step),
        start=start,
        step_seconds=step,
        seen=(origins - start) // step,
        at=origins + ground.data_delay.total_seconds(),
        ahead_steps=ahead,
        capacity_rps=ground.capacity.low_rps,
        floor=ground.scaling.min_replicas,
        ceiling=ground.scaling.max_replicas,
    )


def _inside(ground: Field) -> pd.DataFrame:
    met = ground.met[(ground.met["ds"] >= ground.window[0]) & (ground.met["ds"] < ground.window[1])]
    if len(met) < 2 or not met["rps"].notna().any():
        text = " to ".join(at.isoformat() for at in ground.window)
        raise ContestError(f"series {ground.series.name!r}: expected demand in {text}, got {len(met)} steps")
    return met


def _first_replicas(ground: Field, met: pd.DataFrame) -> int:
    needed = math.ceil(float(met["rps"].dropna().iloc[0]) / ground.spec.target_per_replica)
    return min(max(needed, ground.scaling.min_replicas), ground.scaling.max_replicas)


def _highest(ground: Field, start: int, step: int) -> Array:
    fine = demand_steps(ground.met)
    index = np.floor((fine.starts - start) / step).astype(np.int64)
    values = ground.series.frame["y"].to_numpy(dtype=np.float64).copy()
    inside = (index >= 0) & (index < len(values)) & np.isfinite(fine.rps)
    np.fmax.at(values, index[inside], fine.rps[inside])
    return values


def _target(ground: Field, name: str, setting: float) -> float:
    if name in NO_REACTIVE:
        return math.inf
    if name == REACTIVE:
        return ground.capacity.low_rps * setting
    if ground.net_target_rps is not None:
        return ground.net_target_rps
    risk = setting if name == OURS else 1 - setting
    return ground.capacity.low_rps * float(np.interp(risk, *NET))


def _floors(
    ground: Field,
    game: Game,
    forecasts: RollingForecasts,
    policies: Sequence[str],
    settings: Mapping[str, Sequence[float]],
) -> FloorsAt:
    """Return the floors of all lanes: ours decided on the way, the others' from their tables."""
    tables: list[Array] = []
    ours, place, width = None, slice(0, 0), 0
    for name in policies:
        count = len(settings[name])
        if name == OURS:
            ours, place = _live(ground, forecasts, settings[name]), slice(width, width + count)
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


def _live(ground: Field, forecasts: RollingForecasts, risks: Sequence[float]) -> LiveLanes:
    return LiveLanes(
        service=ground.series.name,
        scalings=[at_risk(ground.scaling, risk) for risk in risks],
        capacity=ground.capacity,
        forecast_from=forecasts.of,
        first=ground.series.frame["ds"].iloc[0].to_pydatetime(),
        step=ground.series.step,
        refresh=ground.refresh,
        data_delay=ground.data_delay,
    )


def at_risk(scaling: Scaling, risk: float) -> Scaling:
    """Return the policy at another fixed risk: demand stays under the floor's capacity with probability 1 - risk."""
    return replace(scaling, quantile=round(1 - risk, 6), risk=None)


def _entry(lane: tuple[str, float], toll: LaneToll, blocks: Blocks, index: int) -> Entry:
    return Entry(*lane, toll, blocks.under_minutes[:, index], blocks.replica_hours[:, index])
