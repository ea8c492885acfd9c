"""What a service promised and how it stands: SLI, error budget, burn rates, exhaustion, the classic rule. Pure.

Request-weighted: every number comes from counts of requests, so a quiet night never weighs as much as a busy day.
No valid requests: no SLI, hence None; never 1, never 0. Windows and factors: Google SRE Workbook, chapter 5.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from collector.catalog import ClassicRule, Slo
from collector.record.histogram import BUCKETS_PER_DOUBLING, upper_edge
from collector.slo.burn import BURN_PAIRS, BURN_WINDOWS, BurnPair
from collector.slo.windows import WindowSpan

__all__ = [
    "BURN_PAIRS",
    "BURN_WINDOWS",
    "BurnPair",
    "ClassicStatus",
    "Counts",
    "Exhaustion",
    "Measured",
    "RouteTotals",
    "SloStatus",
    "StatusTotals",
    "budget_left",
    "burn_rate",
    "burning_pairs",
    "classic_status",
    "effective_threshold",
    "exact_since",
    "exhaustion",
    "good_in_histogram",
    "sli",
    "status_of",
    "threshold_bucket",
]

PRESENT = timedelta(hours=1)  # the burn rate over this is the present one


@dataclass(frozen=True, slots=True)
class Counts:
    """Requests that count for an SLO, and those of them that were good."""

    valid: int
    good: int

    def __post_init__(self) -> None:
        if not 0 <= self.good <= self.valid:
            raise ValueError(f"expected 0 <= good <= valid, got {self.good} good of {self.valid} valid")


@dataclass(frozen=True, slots=True)
class Measured:
    """What an SLO's window could be measured on.

    recorded, expected: minutes with a record, and minutes of the span without the excluded ones. exact_since: from then
    on a latency threshold is exact, before it snaps to its bucket's edge (None: it lies on the edge, or there is none).
    """

    span: WindowSpan
    recorded: int
    expected: int
    excluded: timedelta
    exact_since: datetime | None

    @property
    def coverage(self) -> float | None:
        """The share of the window's minutes that are in the record; None when all of it is excluded."""
        return self.recorded / self.expected if self.expected > 0 else None


@dataclass(frozen=True, slots=True)
class Exhaustion:
    """When the budget is spent if the present burn goes on. after: for `burning`.

    spent: it is already. lasts: not within the window's length (a calendar window: before it ends). unknown: no
    requests. Budget that a rolling window gets back when old errors leave it is not counted.
    """

    state: Literal["spent", "burning", "lasts", "unknown"]
    after: timedelta | None = None


@dataclass(frozen=True, slots=True)
class SloStatus:
    """How one SLO stands. None: no valid requests.

    budget_left: share of the window's error budget not yet spent; negative when overspent. The budget of a calendar
    window is that of the whole period, taking its rest to be as busy as what has passed. burn_rates: by window.
    effective_threshold: the bucket edge a latency SLO is measured against beyond the raw events (None for
    availability).
    """

    slo: Slo
    counts: Counts
    sli: float | None
    budget_left: float | None
    burn_rates: Mapping[timedelta, float | None]
    effective_threshold: timedelta | None
    exhaustion: Exhaustion
    measured: Measured | None = None


@dataclass(frozen=True, slots=True)
class StatusTotals:
    """Requests of one route that were answered with one status, and the sum of their durations."""

    status: int
    requests: int
    duration_sum: timedelta

    @property
    def mean_response(self) -> timedelta:
        """The mean of the durations."""
        return self.duration_sum / self.requests


@dataclass(frozen=True, slots=True)
class RouteTotals:
    """Requests, failures and summed durations of one route over the classic rule's window; requests by status."""

    route: str
    requests: int
    errors: int
    duration_sum: timedelta
    statuses: tuple[StatusTotals, ...] = ()


@dataclass(frozen=True, slots=True)
class ClassicStatus:
    """One route under the classic rule; exceeded says which of `mean_response` and `error_ratio` are breached.

    The mean is breached when that of all answers is, or that of any status: slow errors are slow, too.
    """

    route: str
    requests: int
    mean_response: timedelta
    error_ratio: float
    exceeded: tuple[str, ...]
    statuses: tuple[StatusTotals, ...] = ()


def sli(counts: Counts) -> float | None:
    """Return good / valid, or None without valid requests."""
    return counts.good / counts.valid if counts.valid else None


def burn_rate(counts: Counts, target: float) -> float | None:
    """Return the observed error ratio over the error budget (1: spends exactly the budget in the window), or None."""
    return (counts.valid - counts.good) / counts.valid / (1 - target) if counts.valid else None


def budget_left(counts: Counts, target: float, *, elapsed_share: float = 1.0) -> float | None:
    """Return the share of the error budget left: 1 untouched, 0 spent, negative overspent; None without requests.

    elapsed_share: how much of the window has passed (below 1 in a calendar window).
    """
    burned = burn_rate(counts, target)
    return None if burned is None else 1 - burned * elapsed_share


def exhaustion(
    left: float | None, present_burn: float | None, *, length: timedelta, horizon: timedelta
) -> Exhaustion:  # fmt: skip
    """Return when the budget is spent at the present burn: a burn rate of 1 spends all of it in one window's length.

    length: of the whole window; horizon: how far it matters (a calendar window's rest).
    """
    if left is not None and left <= 0:
        return Exhaustion("spent")
    if left is None or present_burn is None:
        return Exhaustion("unknown")
    seconds = left * length.total_seconds() / present_burn if present_burn > 0 else math.inf
    if seconds > horizon.total_seconds():
        return Exhaustion("lasts")
    return Exhaustion("burning", timedelta(seconds=seconds))


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


def status_of(slo: Slo, counts_by_window: Mapping[timedelta, Counts], measured: Measured | None = None) -> SloStatus:
    """Return how an SLO stands, from counts over its own window and over BURN_WINDOWS."""
    counts = counts_by_window[slo.window]
    rates = {window: burn_rate(counts_by_window[window], slo.target) for window in BURN_WINDOWS}
    share, length, horizon = 1.0, slo.window, slo.window
    if measured is not None and slo.calendar is not None:
        span = measured.span
        share = span.elapsed_share
        length, horizon = timedelta(seconds=span.whole_end - span.start), timedelta(seconds=span.whole_end - span.end)
    left = budget_left(counts, slo.target, elapsed_share=share)
    return SloStatus(
        slo=slo,
        counts=counts,
        sli=sli(counts),
        budget_left=left,
        burn_rates=rates,
        effective_threshold=effective_threshold(slo),
        exhaustion=exhaustion(left, rates[PRESENT], length=length, horizon=horizon),
        measured=measured,
    )


def exact_since(slo: Slo, span: WindowSpan, *, raw_since: int) -> datetime | None:
    """Return from when on the threshold is exact: None when it lies on a bucket's edge, or there is none."""
    edge = effective_threshold(slo)
    if edge is None or slo.threshold is None or slo.threshold - edge < timedelta(microseconds=1):
        return None
    return datetime.fromtimestamp(max(span.start, raw_since), UTC)


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
    slowest = max([mean, *(status.mean_response for status in totals.statuses)])
    checks = {"mean_response": slowest > rule.mean_response, "error_ratio": ratio > rule.error_ratio}
    exceeded = tuple(name for name, breached in checks.items() if breached)
    return ClassicStatus(totals.route, totals.requests, mean, ratio, exceeded, totals.statuses)
