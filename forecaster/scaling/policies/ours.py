"""Ours: the live decision, called on the past. One lane per setting; each remembers what it did, as the loop does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from collector.catalog import Scaling
from forecaster.forecast.types import Forecast, NoForecast
from forecaster.scaling.plan import decide
from forecaster.scaling.policies.lane_record import LaneRecord
from forecaster.scaling.side_by_side import Lanes
from forecaster.scaling.simulate import DemandSteps
from forecaster.scaling.types import Capacity, Decision, HpaState, Situation

Array = npt.NDArray[Any]
ForecastFrom = Callable[[datetime], Forecast | NoForecast]
_DAY = timedelta(days=1)


@dataclass(slots=True)
class _Remembered:
    """What the loop of one lane knows of itself."""

    floor: int
    raised_at: datetime | None = None
    lowered_at: datetime | None = None
    changes: list[datetime] = field(default_factory=list)

    def apply(self, decision: Decision, now: datetime) -> None:
        if not decision.apply:
            return
        if decision.floor_after > self.floor:
            self.raised_at = now
        elif decision.floor_after < self.floor:
            self.lowered_at = now
        self.floor = decision.floor_after
        self.changes = [*(at for at in self.changes if now - at < _DAY), now]


class LiveLanes:
    """The live loop of every lane. One decision per forecast: when a new step is known and a refresh is due."""

    def __init__(
        self,
        *,
        service: str,
        scalings: Sequence[Scaling],
        capacity: Capacity,
        forecast_from: ForecastFrom,
        first: datetime,
        step: timedelta,
        refresh: timedelta,
        data_delay: timedelta,
        demand: DemandSteps,
        told: Callable[[datetime], None] | None = None,
    ) -> None:
        """Begin at the operator's floor. first: the start of a step of the series; later ones follow on its grid.

        demand: what the replicas meet; a decision learns of it only whether it was too much for them, and afterwards.
        """
        self._service, self._scalings, self._capacity = service, tuple(scalings), capacity
        self._forecast_from, self._first, self._step = forecast_from, first, step
        self._refresh, self._data_delay, self._told = refresh, data_delay, told
        self._origin: datetime | None = None
        self._due = 0.0
        self._record = LaneRecord(demand, capacity_rps=capacity.low_rps, lanes=len(scalings))
        self._lanes = [_Remembered(scaling.min_replicas) for scaling in scalings]
        self.floors: Array = np.array([lane.floor for lane in self._lanes])
        self.decisions: list[list[Decision]] = [[] for _ in scalings]

    def floors_at(self, at: float, ready: Array, current: Array, desired: Array) -> Array:
        """Return the floors in force (lanes,), decided anew when that is due."""
        if at >= self._due:
            self._decide_if_new(at, ready, current, desired)
        self._record.see(at, ready)
        return self.floors

    def _decide_if_new(self, at: float, ready: Array, current: Array, desired: Array) -> None:
        now = datetime.fromtimestamp(at, UTC)
        origin = self._first + (now - self._data_delay - self._first) // self._step * self._step
        if self._origin is not None and origin - self._origin < self._refresh:
            return
        self._origin = origin
        self._due = (origin + self._refresh + self._data_delay).timestamp()
        forecast = self._forecast_from(origin)
        for index, scaling in enumerate(self._scalings):
            hpa = HpaState(
                operator_floor=scaling.min_replicas,
                floor=self._lanes[index].floor,
                ceiling=scaling.max_replicas,
                desired=int(desired[index]),
                current=int(current[index]),
                ready=int(ready[index]),
            )
            decision = decide(self._situation(now, index, hpa, forecast))
            self.decisions[index].append(decision)
            self._lanes[index].apply(decision, now)
            self._record.decided(index, quantile=decision.quantile)
            if decision.apply:
                self._record.changed(index, at, floor=decision.floor_after, ready=hpa.ready)
        self._record.begin()
        self.floors = np.array([lane.floor for lane in self._lanes])
        if self._told is not None:
            self._told(now)

    def of(self, at: float, lanes: Lanes, chosen: slice) -> Array:
        """Return the floors in force for those of `lanes` that are ours."""
        return self.floors_at(at, lanes.ready[chosen], lanes.current[chosen], lanes.desired[chosen])

    def _situation(self, now: datetime, index: int, hpa: HpaState, forecast: Forecast | NoForecast) -> Situation:
        lane = self._lanes[index]
        return Situation(
            now=now,
            service=self._service,
            scaling=self._scalings[index],
            mode="act",
            forecast=forecast,
            capacity=self._capacity,
            hpa=hpa,
            metric_at=forecast.watermark if isinstance(forecast, Forecast) else None,
            last_lowered_at=lane.lowered_at,
            last_raised_at=lane.raised_at,
            backtest_passed=True,  # this is the backtest
            refresh=self._refresh,
            lead=self._record.lead(index),
            pace=self._record.pace(index),
            changes_today=len(lane.changes),
            day_plan=False,
        )
