"""What plans said of their floors, beside what came: how likely demand was to pass them, and how often it did.

How much of the time is short in the end depends on more than the plan: floors are whole replicas and never under the
operator's own, the pace moves the risk, the present and the autoscaler add replicas. Whether the plans' probabilities
were true is seen here alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from forecaster.scaling.backtest.rolling import Array, RollingForecasts
from forecaster.scaling.demand_ahead import chances_above
from forecaster.scaling.replicas import HIGHEST_RISK
from forecaster.scaling.simulator.simulate import DemandSteps
from forecaster.scaling.types import Decision

_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Stated:
    """What one lane's plans said of their floors, where they were plans: passed with a chance of HIGHEST_RISK at most.

    chance: the mean probability, as forecast, that demand passes what they carry; passed: the share of that time in
    which it did; of_time: that time, as a share of all with a forecast and demand known. All 0..1.
    """

    chance: float
    passed: float
    of_time: float


class PlansSaid:
    """Forecasts and the demand that came, to be asked for the decisions of one lane after the other."""

    def __init__(
        self, forecasts: RollingForecasts, demand: DemandSteps, *, capacity_rps: float, data_delay: timedelta
    ) -> None:
        """capacity_rps: of one replica. data_delay: how long after its origin a forecast can be decided on."""
        self._demand, self._capacity_rps, self._delay = demand, capacity_rps, data_delay.total_seconds()
        self._origins, self._step = forecasts.origins, int(forecasts.step.total_seconds())
        lowest = np.zeros((*forecasts.values.shape[:2], 1))
        self._rps: Array = np.maximum.accumulate(np.concatenate([lowest, forecasts.values], axis=2), axis=2)
        self._depths: Array = -np.log1p(-np.array([0.0, *forecasts.levels]))

    def of(self, decisions: Sequence[Decision]) -> Stated | None:
        """Return what became of a lane's plans (decisions ascending in time); None where there was none."""
        if not decisions:
            return None
        decided = np.array([one.at.timestamp() for one in decisions])
        floors = np.array([np.nan if one.planned_floor is None else one.planned_floor for one in decisions])
        edges = np.unique(np.concatenate([decided, self._demand.starts, [self._demand.end]]))
        at, spans = edges[:-1], np.diff(edges)
        newest = np.searchsorted(decided, at, side="right") - 1  # -1: before the first decision
        came, carried = self._demand.at(at), floors[newest] * self._capacity_rps
        chances = self._chances(at, decided[newest], carried)
        known = np.isfinite(came) & np.isfinite(chances) & (newest >= 0)
        counted = known & (chances <= HIGHEST_RISK)
        seconds = float(spans[counted].sum())
        if seconds <= 0:
            return None
        passed = came[counted] > carried[counted] * (1 + _ROUNDING)
        return Stated(
            chance=float(spans[counted] @ chances[counted]) / seconds,
            passed=float(spans[counted] @ passed) / seconds,
            of_time=seconds / float(spans[known].sum()),
        )

    def _chances(self, at: Array, decided: Array, rates: Array) -> Array:
        """Return the probability that demand at each time is above each rate, by the forecast that was decided on."""
        origin = np.searchsorted(self._origins, decided - self._delay, side="right") - 1
        ahead = ((at - self._origins[origin]) // self._step).astype(np.int64)
        forecast = (origin >= 0) & (ahead >= 0) & (ahead < self._rps.shape[1])
        rows = self._rps[origin[forecast], ahead[forecast]]
        found = np.full(len(at), np.nan)
        found[forecast] = chances_above(self._depths, rows, rates[forecast])
        return found
