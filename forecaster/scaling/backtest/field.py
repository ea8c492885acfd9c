"""Where policies are played: a service's demand and replicas in a window, and what each policy is told of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from collector.catalog import Scaling
from forecaster.forecast.types import DemandSeries
from forecaster.scaling.backtest.policies.interface import Game
from forecaster.scaling.backtest.rolling import origins_of
from forecaster.scaling.capacity import replicas_for
from forecaster.scaling.hpa import HpaSpec
from forecaster.scaling.simulator.simulate import demand_steps
from forecaster.scaling.types import Capacity

Array = npt.NDArray[Any]


class BacktestError(ValueError):
    """The history, the window or the policies leave nothing to play: says what was expected and what came."""


@dataclass(frozen=True, slots=True)
class Net:
    """The target of the autoscaler that stays in charge under every floor, requests/s per replica, by risk.

    risks: ascending; targets_rps: the target of each, lines between. One target for all risks: one of each.
    """

    risks: tuple[float, ...]
    targets_rps: tuple[float, ...]

    def at(self, risk: float) -> float:
        """Return the target for a risk."""
        return float(np.interp(risk, self.risks, self.targets_rps))


@dataclass(frozen=True, slots=True)
class Field:
    """Where a contest is held. series: what forecasts see (requests/s); met: what the replicas meet, `ds` and `rps`.

    scaling: ours at its own setting; capacity: of one replica, and the low end is what the replicas carry; spec: the
    autoscaler. net: its target under a floor; None: learnt from the demand before the window. own_net: the same under
    ours, which also follows what has just come; None: the net. watched: of `LiveLanes`.
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
    net: Net | None = None
    own_net: Net | None = None
    watched: bool = True

    @property
    def met_inside(self) -> pd.DataFrame:
        """Return what the replicas meet in the window. Raises BacktestError where that is nothing."""
        met = self.met[(self.met["ds"] >= self.window[0]) & (self.met["ds"] < self.window[1])]
        if len(met) < 2 or not met["rps"].notna().any():
            text = " to ".join(at.isoformat() for at in self.window)
            raise BacktestError(f"series {self.series.name!r}: expected demand in {text}, got {len(met)} steps")
        return met

    def first_replicas(self, rps: Array) -> int:
        """Return the replicas that a play begins with: what the autoscaler would have at the first demand known."""
        target = self.spec.target_per_replica
        needed = replicas_for(float(rps[np.isfinite(rps)][0]), Capacity(target, target, "target"))
        return min(max(needed, self.scaling.min_replicas), self.scaling.max_replicas)


def last_third(series: DemandSeries) -> tuple[datetime, datetime]:
    """Return the last third of a series. Raises BacktestError for less than two steps."""
    if len(series.frame) < 2:
        raise BacktestError(f"series {series.name!r}: expected a history to replay, got {len(series.frame)} steps")
    start, end = series.frame["ds"].iloc[0].to_pydatetime(), series.frame["ds"].iloc[-1].to_pydatetime() + series.step
    return end - max(series.step, (end - start) / 3 // series.step * series.step), end


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


def _highest(ground: Field, start: int, step: int) -> Array:
    fine = demand_steps(ground.met)
    index = np.floor((fine.starts - start) / step).astype(np.int64)
    values = ground.series.frame["y"].to_numpy(dtype=np.float64).copy()
    inside = (index >= 0) & (index < len(values)) & np.isfinite(fine.rps)
    np.fmax.at(values, index[inside], fine.rps[inside])
    return values
