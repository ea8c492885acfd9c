"""What is known of requests, fine enough for a threshold: additive counts and histograms with an error of 1.1 %.

A fine bucket f holds (2^((f-1)/64), 2^(f/64)] microseconds; eight of them are one bucket of the record
(`loadgen.results`), exactly, because ceil(ceil(64 x) / 8) = ceil(8 x). Sum, least and longest are exact.
Which metric a threshold means is `thresholds`' business.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from loadgen.results import BUCKETS_PER_OCTAVE, Histogram, Tally

FINE_PER_OCTAVE = 64
FINE_PER_BUCKET = FINE_PER_OCTAVE // BUCKETS_PER_OCTAVE


@dataclass(slots=True)
class Trend:
    """Durations, counted. The microseconds are of whole durations; an empty trend has no figures, never zeros."""

    counts: dict[int, int] = field(default_factory=dict)
    total: int = 0
    sum_us: int = 0
    least_us: int | None = None
    longest_us: int | None = None

    def add(self, microseconds: NDArray[np.int64]) -> None:
        """Count these durations."""
        if not microseconds.size:
            return
        fine = np.ceil(np.log2(np.maximum(microseconds, 1)) * FINE_PER_OCTAVE).astype(np.int64)
        for bucket, count in zip(*np.unique(fine, return_counts=True), strict=True):
            self.counts[int(bucket)] = self.counts.get(int(bucket), 0) + int(count)
        self._note(int(microseconds.size), int(microseconds.sum()), int(microseconds.min()), int(microseconds.max()))

    def merge(self, other: Trend) -> None:
        """Add the other's counts to these."""
        if other.least_us is None or other.longest_us is None:
            return
        for bucket, count in other.counts.items():
            self.counts[bucket] = self.counts.get(bucket, 0) + count
        self._note(other.total, other.sum_us, other.least_us, other.longest_us)

    def _note(self, count: int, sum_us: int, least_us: int, longest_us: int) -> None:
        self.total += count
        self.sum_us += sum_us
        self.least_us = least_us if self.least_us is None else min(self.least_us, least_us)
        self.longest_us = longest_us if self.longest_us is None else max(self.longest_us, longest_us)

    def quantile_us(self, quantile: float) -> float | None:
        """Return the ceil(quantile * n)-th smallest (us), up to 1.1 % too high and never too low; None when empty."""
        if self.longest_us is None:
            return None
        rank, seen = max(1, math.ceil(quantile * self.total)), 0
        for bucket in sorted(self.counts):
            seen += self.counts[bucket]
            if seen >= rank:
                return float(min(2.0 ** (bucket / FINE_PER_OCTAVE), self.longest_us))
        raise AssertionError("unreachable: the counts sum to the total")

    def mean_us(self) -> float | None:
        """Return the exact mean in microseconds; None when empty."""
        return self.sum_us / self.total if self.total else None

    def count_above(self, microseconds: float) -> int:
        """Return how many took longer; those that share a fine bucket with the limit count as longer."""
        edge = math.floor(math.log2(max(1.0, microseconds)) * FINE_PER_OCTAVE + 1e-9)
        return sum(count for bucket, count in self.counts.items() if bucket > edge)

    def coarse(self) -> Histogram:
        """Return the record's histogram of the same durations."""
        merged = Histogram()
        for bucket, count in self.counts.items():
            wide = -(-bucket // FINE_PER_BUCKET)
            merged.counts[wide] = merged.counts.get(wide, 0) + count
        return merged


@dataclass(slots=True)
class Measured:
    """Requests by what came of them. response from the intended start, service from sent; lag is the pool's included.

    late: how late the generator itself was, without waiting for a user. checks: [passed, failed] in all.
    """

    intended: int = 0
    done: int = 0
    failed: int = 0
    unsent: int = 0
    response: Trend = field(default_factory=Trend)
    service: Trend = field(default_factory=Trend)
    first_byte: Trend = field(default_factory=Trend)
    lag: Trend = field(default_factory=Trend)
    late: Trend = field(default_factory=Trend)
    checks_passed: int = 0
    checks_failed: int = 0
    reasons: dict[str, int] = field(default_factory=dict)

    @property
    def sent(self) -> int:
        """Return how many were sent."""
        return self.done + self.failed

    def count_reason(self, reason: str, count: int = 1) -> None:
        """Note why `count` failed or were not sent."""
        self.reasons[reason] = self.reasons.get(reason, 0) + count

    def merge(self, other: Measured) -> None:
        """Add the other's counts to these."""
        for name in ("intended", "done", "failed", "unsent", "checks_passed", "checks_failed"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("response", "service", "first_byte", "lag", "late"):
            getattr(self, name).merge(getattr(other, name))
        for reason, count in other.reasons.items():
            self.count_reason(reason, count)

    def tally(self) -> Tally:
        """Return the record's tally of the same requests."""
        return Tally(
            self.intended, self.done, self.failed, self.unsent, self.lag.longest_us or 0,
            self.response.coarse(), self.service.coarse(), self.lag.coarse(), self.first_byte.coarse(),
            dict(self.reasons),
        )  # fmt: skip


def merged(parts: Iterable[Measured]) -> Measured:
    """Return the sum of the parts."""
    total = Measured()
    for part in parts:
        total.merge(part)
    return total
