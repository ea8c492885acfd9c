"""The present: what has just come may need more replicas than any forecast said, and it does not wait for the next one.

An autoscaler sees a burst in the mean of its metric's window, minutes after it began. What is counted as it comes is
seen at once, so between two forecasts the loop looks at it again and again, and decides anew where it asks for more
replicas than there are. Pure: who counts is left to the caller.
"""

from __future__ import annotations

import math
from datetime import timedelta

from forecaster.scaling.capacity import replicas_for
from forecaster.scaling.types import Capacity

# What is counted; less than between two looks, so that the second after a burst began sees nothing older.
PRESENT = timedelta(seconds=10)
LOOKED_EVERY = timedelta(seconds=15)  # as often as an autoscaler syncs: sooner it would not hear of it
_DEVIATIONS = 2.0


def needed_now(demand_now: float | None, capacity: Capacity, *, overload: float = 0.0) -> int:
    """Return what the newest demand (requests/s) needs already; 0 where nobody counts it so finely.

    overload: by what share of what they carry it may be above that (`pacing.overload_at`).
    """
    return 0 if demand_now is None else replicas_for(demand_now / (1 + overload), capacity)


def overtaken(
    demand_now: float | None, capacity: Capacity, *, current: int, ceiling: int, overload: float = 0.0
) -> bool:
    """Say whether what has just come needs more replicas than there are to be.

    current: those that exist, starting ones included, or the floor where that has just been raised above them.
    overload: of the newest decision.
    """
    return current < min(needed_now(demand_now, capacity, overload=overload), ceiling)


def surely_came(requests: int) -> float:
    """Return how many requests are surely meant where so many were counted: two deviations of a Poisson count fewer.

    A few that came together by chance are no burst. Of 1,000 it is 937, of 4 none.
    """
    return max(0.0, requests - _DEVIATIONS * math.sqrt(requests))
