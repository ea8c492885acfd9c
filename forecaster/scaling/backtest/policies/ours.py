"""Ours: the live decision, called on the past. One lane per setting; each remembers what it did, as the loop does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any

import numpy as np
import numpy.typing as npt

from collector.catalog import Scaling
from forecaster.forecast.types import Forecast, NoForecast
from forecaster.scaling.backtest.field import Field
from forecaster.scaling.backtest.policies.lane_record import LaneRecord
from forecaster.scaling.backtest.rolling import ForecastFrom
from forecaster.scaling.plan import decide
from forecaster.scaling.present import PRESENT, overtaken
from forecaster.scaling.simulator.side_by_side import Lanes
from forecaster.scaling.simulator.simulate import Came, DemandSteps, demand_steps
from forecaster.scaling.types import Capacity, Decision, HpaState, Situation

Array = npt.NDArray[Any]
_NONE_YET = NoForecast("", datetime.fromtimestamp(0, UTC), "no forecast has been made yet")


@dataclass(slots=True)
class _Remembered:
    """What the loop of one lane knows of itself."""

    floor: int
    planned: int | None = None
    overload: float = 0.0
    raised_at: datetime | None = None
    lowered_at: datetime | None = None
    changed_on: date | None = None
    changes: int = 0  # on that day

    def changes_on(self, day: date) -> int:
        return self.changes if self.changed_on == day else 0

    def apply(self, decision: Decision, now: datetime, *, day: date) -> None:
        self.planned, self.overload = decision.planned_floor, decision.overload
        if not decision.apply:
            return
        if decision.floor_after > self.floor:
            self.raised_at = now
        elif decision.floor_after < self.floor:
            self.lowered_at = now
        self.floor = decision.floor_after
        self.changed_on, self.changes = day, self.changes_on(day) + 1


@dataclass(frozen=True, slots=True)
class _HpaStates:
    """Every lane's replicas as they are at an instant."""

    ready: Array
    current: Array
    desired: Array

    def of(self, lane: int, scaling: Scaling, *, floor: int) -> HpaState:
        return HpaState(
            operator_floor=scaling.min_replicas,
            floor=floor,
            ceiling=scaling.max_replicas,
            desired=int(self.desired[lane]),
            current=int(self.current[lane]),
            ready=int(self.ready[lane]),
        )


class LiveLanes:
    """The live loop of every lane: one decision per forecast, when a new step is known and a refresh is due.

    Between two it decides where what has just come needs more replicas than there are.
    """

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
        watched: bool = True,
        zone: tzinfo = UTC,
        told: Callable[[datetime], None] | None = None,
    ) -> None:
        """Begin at the operator's floor. first: the start of a step of the series; later ones follow on its grid.

        demand: what the replicas meet; a decision learns of it what has come, and whether it was too much for them.
        watched: requests are counted as they come; where demand is only imported, nobody knows the present. zone: whose
        days the change budget goes by.
        """
        self._service, self._scalings, self._capacity = service, tuple(scalings), capacity
        self._ceilings = tuple(scaling.max_replicas for scaling in scalings)
        self._forecast_from, self._first, self._step = forecast_from, first, step
        self._refresh, self._data_delay, self._zone, self._told = refresh, data_delay, zone, told
        self._came = Came(demand) if watched else None
        self._forecast: Forecast | NoForecast = _NONE_YET
        self._origin: datetime | None = None
        self._due = 0.0
        self._record = LaneRecord(demand, capacity_rps=capacity.low_rps, lanes=len(scalings))
        self._lanes = [_Remembered(scaling.min_replicas) for scaling in scalings]
        self.floors: Array = np.array([lane.floor for lane in self._lanes])
        self.decisions: list[list[Decision]] = [[] for _ in scalings]

    def floors_at(self, at: float, ready: Array, current: Array, desired: Array) -> Array:
        """Return the floors in force (lanes,), decided anew when that is due."""
        hpas = _HpaStates(ready, current, desired)
        if not self._decide_if_new(at, hpas):
            self._decide_if_overtaken(at, hpas)
        self._record.see(at, ready)
        return self.floors

    def _decide_if_new(self, at: float, hpas: _HpaStates) -> bool:
        if at < self._due:
            return False
        now = datetime.fromtimestamp(at, UTC)
        origin = self._first + (now - self._data_delay - self._first) // self._step * self._step
        if self._origin is not None and origin - self._origin < self._refresh:
            return False
        self._origin = origin
        self._due = (origin + self._refresh + self._data_delay).timestamp()
        self._forecast = self._forecast_from(origin)
        self._decide(at, hpas, range(len(self._scalings)), self._demand_now(at))
        if self._told is not None:
            self._told(now)
        return True

    def _decide_if_overtaken(self, at: float, hpas: _HpaStates) -> None:
        present, counts = self._demand_now(at), np.maximum(hpas.current, self.floors).tolist()
        if not overtaken(present, self._capacity, current=min(counts), ceiling=max(self._ceilings)):
            return  # not the worst placed lane, so none
        lanes = [
            lane
            for lane, (current, ceiling) in enumerate(zip(counts, self._ceilings, strict=True))
            if overtaken(present, self._capacity, current=current, ceiling=ceiling, overload=self._lanes[lane].overload)
        ]
        if lanes:
            self._decide(at, hpas, lanes, present)

    def _demand_now(self, at: float) -> float | None:
        if self._came is None:
            return None
        return self._came.latest_mean(at - self._data_delay.total_seconds(), PRESENT)

    def _decide(self, at: float, hpas: _HpaStates, lanes: Iterable[int], present: float | None) -> None:
        now = datetime.fromtimestamp(at, UTC)
        for lane in lanes:
            hpa = hpas.of(lane, self._scalings[lane], floor=self._lanes[lane].floor)
            decision = decide(self._situation(now, lane, hpa, present))
            self.decisions[lane].append(decision)
            self._lanes[lane].apply(decision, now, day=now.astimezone(self._zone).date())
            self._record.decided(lane, quantile=decision.quantile)
            if decision.apply:
                self._record.changed(lane, at, floor=decision.floor_after, ready=hpa.ready)
        self.floors = np.array([lane.floor for lane in self._lanes])

    def of(self, at: float, lanes: Lanes, chosen: slice) -> Array:
        """Return the floors in force for those of `lanes` that are ours."""
        return self.floors_at(at, lanes.ready[chosen], lanes.current[chosen], lanes.desired[chosen])

    def _situation(self, now: datetime, index: int, hpa: HpaState, present: float | None) -> Situation:
        lane, forecast = self._lanes[index], self._forecast
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
            changes_today=lane.changes_on(now.astimezone(self._zone).date()),
            day_plan=False,
            demand_now=present,
            planned_floor=lane.planned,
        )


def live_lanes(
    ground: Field,
    scalings: Sequence[Scaling],
    forecast_from: ForecastFrom,
    *,
    told: Callable[[datetime], None] | None = None,
) -> LiveLanes:
    """Return the lanes of a field, one for each of `scalings`. Raises BacktestError where its window has no demand."""
    return LiveLanes(
        service=ground.series.name,
        scalings=scalings,
        capacity=ground.capacity,
        forecast_from=forecast_from,
        first=ground.series.frame["ds"].iloc[0].to_pydatetime(),
        step=ground.series.step,
        refresh=ground.refresh,
        data_delay=ground.data_delay,
        demand=demand_steps(ground.met_inside),
        watched=ground.watched,
        zone=ground.series.zone or UTC,
        told=told,
    )
