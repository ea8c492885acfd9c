"""The Universal Scalability Law, X(N) = gamma N / (1 + alpha (N-1) + beta N (N-1)), fitted with intervals. Pure.

N / X is linear in (1, N-1, N(N-1)) with coefficients (1, alpha, beta) / gamma: least squares on it, weighted so that
all points have the same relative error, with alpha and beta never below zero. Intervals: 95 % of a seeded bootstrap.
(Gunther, Guerrilla Capacity Planning, chapter 5.) N is users, or replicas; never the offered rate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
RESAMPLES = 200
Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Usl:
    """gamma: what one carries alone; alpha: contention; beta: coherency. Each with a 95 % interval."""

    gamma: float
    alpha: float
    beta: float
    gamma_interval: Interval
    alpha_interval: Interval
    beta_interval: Interval

    def at(self, n: float) -> float:
        """Return X(N)."""
        return self.gamma * n / (1 + self.alpha * (n - 1) + self.beta * n * (n - 1))

    def peak(self) -> float | None:
        """Return the N beyond which more gives less; None when there is none."""
        return math.sqrt(max(0.0, 1 - self.alpha) / self.beta) if self.beta > 0 else None


def fit_usl(n: Floats, x: Floats, *, seed: int = 0) -> Usl | None:
    """Return the law that fits throughputs x at concurrencies n; None with fewer than three different n above zero."""
    usable = x > 0
    n, x = n[usable], x[usable]
    if np.unique(n).size < 3:
        return None
    best = _fit(n, x)
    random = np.random.default_rng(seed)
    drawn = []
    for _ in range(RESAMPLES):
        chosen = random.integers(0, n.size, n.size)
        if np.unique(n[chosen]).size >= 3:
            drawn.append(_fit(n[chosen], x[chosen]))
    low, high = np.quantile(np.array(drawn), [0.025, 0.975], axis=0)
    intervals = [(float(min(a, value)), float(max(b, value))) for a, b, value in zip(low, high, best, strict=True)]
    return Usl(*best, *intervals)


def _fit(n: Floats, x: Floats) -> tuple[float, float, float]:
    columns = np.stack([np.ones_like(n), n - 1, n * (n - 1)], axis=1)
    weight = x / n  # makes the residual of N / X a relative one
    kept = [0, 1, 2]
    while True:
        found, *_ = np.linalg.lstsq(columns[:, kept] * weight[:, None], np.ones_like(n), rcond=None)
        worst = int(np.argmin(found[1:])) + 1 if len(kept) > 1 else 0
        if worst == 0 or found[worst] >= 0:
            break
        del kept[worst]
    full = np.zeros(3)
    full[kept] = found
    return float(1 / full[0]), float(full[1] / full[0]), float(full[2] / full[0])
