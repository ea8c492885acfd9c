"""What a service promised and how it stands: SLI, error budget, burn rates, the classic rule. Pure.

Request-weighted: every number comes from counts of requests, so a quiet night never weighs as much as a busy day.
No valid requests: no SLI, hence None; never 1, never 0. Windows and factors: Google SRE Workbook, chapter 5.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from collector.catalog import ClassicRule, Slo
from collector.record.histogram import BUCKETS_PER_DOUBLING, upper_edge


@dataclass(frozen=True, slots=True)
class BurnPair:
    """Alert when the burn rate exceeds `factor` over both: the long says it matters, the short that it goes on."""

    long: timedelta
    short: timedelta
    factor: float


BURN_PAIRS = (
    BurnPair(timedelta(hours=1), timedelta(minutes=5), 14.4),
    BurnPair(timedelta(hours=6), timedelta(minutes=30), 6.0),
    BurnPair(timedelta(days=1), timedelta(hours=2), 3.0),
    BurnPair(timedelta(days=3), timedelta(hours=6), 1.0),
)
BURN_WINDOWS = tuple(sorted({window for pair in BURN_PAIRS for window in (pair.long, pair.short)}))


@dataclass(frozen=True, slots=True)
class Counts:
    """Requests that count for an SLO, and those of them that were good."""

    valid: int
    good: int

    def __post_init__(self) -> None:
        if not 0 <= self.good <= self.valid:
            raise ValueError(f"expected 0 <= good <= valid, got {self.good} good of {self.valid} valid")


@dataclass(frozen=True, slots=True)
class SloStatus:
    """How one SLO stands. None: no valid requests.

    budget_left: share of the window's error budget not yet spent; negative when overspent. burn_rates: by window.
    effective_threshold: the bucket edge a latency SLO is really measured against (None for availability).
    """

    slo: Slo
    counts: Counts
    sli: float | None
    budget_left: float | None
    burn_rates: Mapping[timedelta, float | None]
    effective_threshold: timedelta | None


@dataclass(frozen=True, slots=True)
class RouteTotals:
    """Requests, failures and summed durations of one route over the classic rule's window."""

    route: str
    requests: int
    errors: int
    duration_sum: timedelta


@dataclass(frozen=True, slots=True)
class ClassicStatus:
    """One route under the classic rule; exceeded says which of `mean_response` and `error_ratio` are breached."""

    route: str
    requests: int
    mean_response: timedelta
    error_ratio: float
    exceeded: tuple[str, ...]


def sli(counts: Counts) -> float | None:
    """Return good / valid, or None without valid requests."""
    return counts.good / counts.valid if counts.valid else None


def burn_rate(counts: Counts, target: float) -> float | None:
    """Return the observed error ratio over the error budget (1: spends exactly the budget in the window), or None."""
    return (counts.valid - counts.good) / counts.valid / (1 - target) if counts.valid else None


def budget_left(counts: Counts, target: float) -> float | None:
    """Return the share of the error budget left: 1 untouched, 0 spent, negative overspent; None without requests."""
    burned = burn_rate(counts, target)
    return None if burned is None else 1 - burned


def threshold_bucket(threshold: timedelta) -> int:
    """Return the last bucket that lies wholly within a threshold.

    Buckets cannot be cut, so a threshold inside one snaps down to its lower edge: at most 8.3 % stricter than promised,
    never more lenient.
    """
    microseconds = max(1.0, threshold / timedelta(microseconds=1))
    return math.floor(math.log2(microseconds) * BUCKETS_PER_DOUBLING + 1e-9)


def effective_threshold(slo: Slo) -> timedelta | None:
    """Return the bucket edge that a latency SLO is measured against; None for availability."""
    return None if slo.threshold is None else upper_edge(threshold_bucket(slo.threshold))


def good_in_histogram(histogram: Mapping[int, int], threshold: timedelta) -> int:
    """Return how many requests a histogram holds that surely stayed within a threshold."""
    last = threshold_bucket(threshold)
    return sum(count for bucket, count in histogram.items() if bucket <= last)


def status_of(slo: Slo, counts_by_window: Mapping[timedelta, Counts]) -> SloStatus:
    """Return how an SLO stands, from counts over its own window and over BURN_WINDOWS."""
    counts = counts_by_window[slo.window]
    return SloStatus(
        slo=slo,
        counts=counts,
        sli=sli(counts),
        budget_left=budget_left(counts, slo.target),
        burn_rates={window: burn_rate(counts_by_window[window], slo.target) for window in BURN_WINDOWS},
        effective_threshold=effective_threshold(slo),
    )


def burning_pairs(status: SloStatus) -> tuple[BurnPair, ...]:
    """Return the pairs whose factor the burn rate exceeds over both windows; a window without requests exceeds none."""
    rates = status.burn_rates
    return tuple(
        pair
        for pair in BURN_PAIRS
        if all(rate is not None and rate > pair.factor for rate in (rates[pair.long], rates[pair.short]))
    )


def classic_status(rule: ClassicRule, totals: RouteTotals) -> ClassicStatus | None:
    """Judge one route by the classic rule; None when it had no requests."""
    if not totals.requests:
        return None
    mean = totals.duration_sum / totals.requests
    ratio = totals.errors / totals.requests
    checks = {"mean_response": mean > rule.mean_response, "error_ratio": ratio > rule.error_ratio}
    exceeded = tuple(name for name, breached in checks.items() if breached)
    return ClassicStatus(totals.route, totals.requests, mean, ratio, exceeded)
