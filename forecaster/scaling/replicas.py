"""How many replicas a risk asks for: the demand's distribution over what replicas carry, which is uncertain too.

The risk is given, or follows from costs: with c the price of a replica and v the cost of one that is missing, both for
an hour, one more replica costs c and saves v with the probability that it is needed; so it pays as long as that
probability is above c / v (the newsvendor's critical ratio).
"""

from __future__ import annotations

import numpy as np

from collector.catalog import Scaling
from forecaster.scaling.demand_ahead import Array, DemandCurve
from forecaster.scaling.types import Capacity

HIGHEST_RISK = 0.5  # a floor that is likelier too low than not is no plan
LEAST_FACTOR, MOST_FACTOR = 0.25, 2.0  # of the risk, by what is left of the error budget
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(5)
_SHARES: Array = (_NODES + 1) / 2
_CHANCES: Array = _WEIGHTS / 2
_TOGETHER = 8  # counts of replicas that are tried at once


def risk_in_use(scaling: Scaling, budget_left: float | None) -> tuple[float, str]:
    """Return the probability with which demand may pass the floor's capacity, and where it comes from.

    Paced: the risk is halved for each half of the error budget that is gone, from twice while all of it is left.
    """
    if scaling.risk is None:
        return 1 - scaling.quantile, "fixed"
    costs = f"{scaling.risk.replica_hour:g} / {scaling.risk.violation_cost:g}"
    risk = scaling.risk.replica_hour / scaling.risk.violation_cost
    if not scaling.risk.budget_pacing or budget_left is None:
        return min(risk, HIGHEST_RISK), costs
    factor = min(max(4.0**budget_left / 2, LEAST_FACTOR), MOST_FACTOR)
    return min(risk * factor, HIGHEST_RISK), f"{costs} x {factor:.2g} with {budget_left:.0%} of the error budget left"


def chance_of_too_few(curve: DemandCurve, capacity: Capacity, replicas: Array) -> Array:
    """Return, for each count of replicas, the probability that demand is above what they carry.

    The capacity of one is taken to lie anywhere between its low and its high end with equal probability, and to be the
    same for all of them.
    """
    each = capacity.low_rps + (capacity.high_rps - capacity.low_rps) * _SHARES
    found: Array = curve.above(replicas[:, None] * each) @ _CHANCES
    return found


def replicas_needed(curve: DemandCurve, capacity: Capacity, risk: float) -> int:
    """Return the fewest replicas that demand passes with a probability of at most `risk`."""
    rps = curve.at_risk(risk)
    most = int(np.ceil(rps / capacity.low_rps - 1e-9))
    if capacity.high_rps <= capacity.low_rps:
        return max(most, 0)
    first = max(0, int(rps / capacity.high_rps) - 1)  # with the best capacity fewer do not carry it
    while first < most:
        counts = np.arange(first, min(first + _TOGETHER, most + 1))
        enough = chance_of_too_few(curve, capacity, counts.astype(np.float64)) <= risk * (1 + 1e-9)
        if enough.any():
            return int(counts[np.argmax(enough)])
        first = int(counts[-1]) + 1
    return most
