"""Which target the autoscaler under a floor should have, from what it would have done alone before the window.

The less its owner wants to risk, the more headroom it keeps. How much that takes depends on the service: alone, the
autoscaler at 90 % of the capacity is short for a fifth of the time of bursts, and hardly ever of a smooth day.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from forecaster.scaling.backtest.field import Field, Net
from forecaster.scaling.capacity import replicas_for
from forecaster.scaling.present import PRESENT
from forecaster.scaling.simulator.course import Array, FloorsAt, run_course
from forecaster.scaling.simulator.side_by_side import Lanes
from forecaster.scaling.simulator.simulate import Came, DemandSteps, demand_steps
from forecaster.scaling.simulator.toll import short_shares

LEARNT = timedelta(days=14)
LEAST_LEARNT = timedelta(days=1)
LEAST = 0.85  # of a replica's capacity, and where nothing can be learnt
LEAST_FOLLOWED = 0.9
HOTTER = 0.05
CAREFUL = 0.01  # at this risk and less the autoscaler's own headroom is cheaper than what forecasts know of extremes
ALONE = (0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0, 1.05)
FOLLOWED = (*ALONE, 1.1, 1.2, 1.35, 1.5)  # a floor that follows carries what an autoscaler alone never could
_NEXT = 1e-6


def nets_of(ground: Field) -> tuple[Net, Net]:
    """Return the net under all other policies and the one under ours: the field's, else learnt."""
    if ground.net is not None:
        return ground.net, ground.own_net or ground.net
    return learnt_nets(ground)


def learnt_nets(ground: Field) -> tuple[Net, Net]:
    """Return for each risk HOTTER than the target at which the autoscaler alone was short so often in the last LEARNT.

    The floor sees to the rest. Never under LEAST: against bursts, headroom at all times costs more than it saves.
    Where CAREFUL it is that target itself. The second net, for ours, goes by an autoscaler that is not alone, but over
    a floor that follows what has just come; where CAREFUL by the one that is.
    """
    low, start = ground.capacity.low_rps, ground.window[0]
    met = ground.met[(ground.met["ds"] >= start - LEARNT) & (ground.met["ds"] < start)]
    if len(met) < 2 or start - met["ds"].iloc[0] < LEAST_LEARNT or not met["rps"].notna().any():
        return Net((0.0,), (LEAST * low,)), Net((0.0,), (LEAST_FOLLOWED * low,))
    demand = demand_steps(met)
    alone, followed = _played(ground, demand)
    return _net(low, alone, alone, LEAST), _net(low, alone, followed, LEAST_FOLLOWED)


@dataclass(frozen=True, slots=True)
class _Shares:
    """What share of the time was short at each target (of a replica's capacity, ascending)."""

    targets: Array
    shares: Array


def _played(ground: Field, demand: DemandSteps) -> tuple[_Shares, _Shares]:
    """Play the autoscaler alone, and side by side with it one over a floor that follows."""
    low, targets = ground.capacity.low_rps, np.array([*ALONE, *FOLLOWED])
    course = run_course(
        demand,
        spec=ground.spec,
        targets=low * targets,
        ceilings=np.full(len(targets), ground.scaling.max_replicas),
        start_delay=ground.start_delay,
        initial=np.full(len(targets), ground.first_replicas(demand.rps)),
        floors_at=_floors(ground, demand),
    )
    shares = short_shares(course, capacity_rps=low)
    lanes = (slice(len(ALONE)), slice(len(ALONE), None))
    alone, followed = (_Shares(targets[chosen], np.maximum.accumulate(shares[chosen])) for chosen in lanes)
    return alone, followed


def _net(low_rps: float, careful: _Shares, bold: _Shares, least: float) -> Net:
    few = np.array([*careful.shares[careful.shares < CAREFUL], CAREFUL])
    many = np.array([CAREFUL + _NEXT, *bold.shares[bold.shares > CAREFUL + _NEXT]])
    hotter = np.maximum(np.interp(many, bold.shares, bold.targets) + HOTTER, least)
    learnt = low_rps * np.concatenate([np.interp(few, careful.shares, careful.targets), hotter])
    return Net((*few.tolist(), *many.tolist()), tuple(learnt.tolist()))


def _floors(ground: Field, demand: DemandSteps) -> FloorsAt:
    came, delay, scaling = Came(demand), ground.data_delay.total_seconds(), ground.scaling
    floors = np.full(len(ALONE) + len(FOLLOWED), scaling.min_replicas)

    def floors_at(at: float, _lanes: Lanes) -> Array:
        mean = came.latest_mean(at - delay, PRESENT)
        needed = 0 if mean is None else replicas_for(mean, ground.capacity)
        floors[len(ALONE) :] = min(max(needed, scaling.min_replicas), scaling.max_replicas)
        return floors

    return floors_at
