"""Which target the autoscaler under a floor should have, from what it would have done alone before the window.

The less its owner wants to risk, the more headroom it keeps. How much that takes depends on the service: alone, the
autoscaler at 90 % of the capacity is short for a fifth of the time of bursts, and hardly ever of a smooth day.
"""

from __future__ import annotations

from datetime import timedelta

import numpy as np

from forecaster.scaling.course import run_course, steady
from forecaster.scaling.field import Field, Net
from forecaster.scaling.simulate import demand_steps
from forecaster.scaling.toll import short_shares

LEARNT = timedelta(days=14)
LEAST_LEARNT = timedelta(days=1)
LEAST = 0.85  # of a replica's capacity, and where nothing can be learnt
HOTTER = 0.05
CAREFUL = 0.01  # at this risk and less the autoscaler's own headroom is cheaper than what forecasts know of extremes
ALONE = (0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0, 1.05)
_NEXT = 1e-6


def learnt_net(ground: Field) -> Net:
    """Return for each risk HOTTER than the target at which the autoscaler alone was short so often in the last LEARNT.

    The floor sees to the rest. Never under LEAST: against bursts, headroom at all times costs more than it saves.
    Where CAREFUL it is that target itself.
    """
    low, start = ground.capacity.low_rps, ground.window[0]
    met = ground.met[(ground.met["ds"] >= start - LEARNT) & (ground.met["ds"] < start)]
    if len(met) < 2 or start - met["ds"].iloc[0] < LEAST_LEARNT or not met["rps"].notna().any():
        return Net((0.0,), (LEAST * low,))
    alone = np.array(ALONE)
    targets = low * alone
    demand = demand_steps(met)
    course = run_course(
        demand,
        spec=ground.spec,
        targets=targets,
        ceilings=np.full(len(targets), ground.scaling.max_replicas),
        start_delay=ground.start_delay,
        initial=np.full(len(targets), ground.first_replicas(met)),
        floors_at=steady(np.full(len(targets), ground.scaling.min_replicas)),
    )
    shares = np.maximum.accumulate(short_shares(course, capacity_rps=low))
    careful = np.array([*shares[shares < CAREFUL], CAREFUL])
    bold = np.array([CAREFUL + _NEXT, *shares[shares > CAREFUL + _NEXT]])
    hotter = np.maximum(np.interp(bold, shares, alone) + HOTTER, LEAST)
    learnt = low * np.concatenate([np.interp(careful, shares, alone), hotter])
    return Net((*careful.tolist(), *bold.tolist()), tuple(learnt.tolist()))
