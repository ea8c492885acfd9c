"""How many users, or arrivals, a scenario has at each moment: k6's executors as curves. Pure.

Seconds are counted from the scenario's own start. Reading them from a file is `file`'s business, sending them
`run`'s.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from loadgen.arrivals import ArrivalKind, RateCurve

EDGE_SECONDS = 1e-6  # a jump is a slope this short


@dataclass(frozen=True, slots=True)
class Users:
    """Closed model: so many users at a time, each beginning anew when it is done. Points: (seconds, users)."""

    points: tuple[tuple[float, float], ...]

    @property
    def duration_seconds(self) -> float:
        """Return how long it lasts."""
        return self.points[-1][0]

    @property
    def most(self) -> int:
        """Return the highest number of users."""
        return max(round(users) for _, users in self.points)

    def at(self, seconds: float) -> int:
        """Return the users wanted; none before the start and after the end."""
        if not 0 <= seconds < self.duration_seconds:
            return 0
        times, users = zip(*self.points, strict=True)
        return round(float(np.interp(seconds, times, users)))


@dataclass(frozen=True, slots=True)
class Rate:
    """Open model: arrivals per second, whatever the server does. Points: (seconds, arrivals per second).

    most_users: how many may be served at once; what comes beyond waits, and its waiting counts.
    """

    points: tuple[tuple[float, float], ...]
    most_users: int
    kind: ArrivalKind = "poisson"

    @property
    def duration_seconds(self) -> float:
        """Return how long it lasts."""
        return self.points[-1][0]

    @property
    def highest_rps(self) -> float:
        """Return the highest rate."""
        return max(rate for _, rate in self.points)

    def curve(self, start: float) -> RateCurve:
        """Return the rate over epoch seconds, with the scenario's start at `start`."""
        times, rates = zip(*self.points, strict=True)
        return RateCurve(np.array(times, dtype=np.float64) + start, np.array(rates, dtype=np.float64))


Executor = Users | Rate


def ramp(first: float, stages: list[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """Return the points of a line from `first` through stages of (duration in seconds, target); 0 s is a jump."""
    points = [(0.0, first)]
    for duration, target in stages:
        points.append((points[-1][0] + max(duration, EDGE_SECONDS), target))
    return tuple(points)
