"""What came of the arrivals: mergeable histograms and tallies per real second, per route and in total.

Every count is additive, so seconds merge into totals, workers into runs and minutes into days, exactly. A quantile is
of a histogram of log buckets: bucket b holds durations in (2^((b-1)/8), 2^(b/8)] microseconds, and the quantile is
told as its bucket's upper edge: never below the true one, and less than 2^(1/8) - 1 = 9.1 % above it.

done + failed + unsent = intended, always: `done` was answered as expected, `failed` was sent but got a server error, an
unexpected client error, no connection or no answer in time, `unsent` was scheduled but is not known to have been sent.
The histograms hold every request that was sent, failed ones with the time they took to fail.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

BUCKETS_PER_OCTAVE = 8
Quantiles = dict[str, float | None]


def buckets_of(microseconds: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return each duration's bucket, ceil(log2(max(1, us)) * 8); vectorised."""
    buckets: NDArray[np.int64] = np.ceil(np.log2(np.maximum(microseconds, 1)) * BUCKETS_PER_OCTAVE).astype(np.int64)
    return buckets


def upper_edge_us(bucket: int) -> float:
    """Return the longest duration that the bucket holds, in microseconds."""
    return float(2.0 ** (bucket / BUCKETS_PER_OCTAVE))


@dataclass(slots=True)
class Histogram:
    """Counts by bucket."""

    counts: dict[int, int] = field(default_factory=dict)

    def add(self, microseconds: NDArray[np.int64]) -> None:
        """Count these durations."""
        for bucket, count in zip(*np.unique(buckets_of(microseconds), return_counts=True), strict=True):
            self.counts[int(bucket)] = self.counts.get(int(bucket), 0) + int(count)

    def merge(self, other: Histogram) -> None:
        """Add the other's counts to these."""
        for bucket, count in other.counts.items():
            self.counts[bucket] = self.counts.get(bucket, 0) + count

    def total(self) -> int:
        """Return how many durations were counted."""
        return sum(self.counts.values())

    def quantile_us(self, quantile: float) -> float | None:
        """Return the upper edge (us) of the bucket of the ceil(quantile * n)-th smallest; None when empty."""
        total = self.total()
        if total == 0:
            return None
        rank, seen = max(1, math.ceil(quantile * total)), 0
        for bucket in sorted(self.counts):
            seen += self.counts[bucket]
            if seen >= rank:
                return upper_edge_us(bucket)
        raise AssertionError("unreachable: the counts sum to the total")

    def quantiles_ms(self, quantiles: tuple[float, ...] = (0.5, 0.95, 0.99)) -> Quantiles:
        """Return {"p50": ms, ...}; None where there is no data."""
        found = {f"p{100 * quantile:g}": self.quantile_us(quantile) for quantile in quantiles}
        return {name: None if us is None else round(us / 1000, 3) for name, us in found.items()}

    def to_json(self) -> dict[str, int]:
        """Return {bucket: count} with the keys as JSON wants them."""
        return {str(bucket): self.counts[bucket] for bucket in sorted(self.counts)}

    @classmethod
    def from_json(cls, counts: Mapping[str, int]) -> Histogram:
        """Return what `to_json` wrote."""
        return cls({int(bucket): int(count) for bucket, count in counts.items()})


@dataclass(slots=True)
class Tally:
    """Arrivals by what came of them, with their times. `reasons`: why the failed and unsent ones were."""

    intended: int = 0
    done: int = 0
    failed: int = 0
    unsent: int = 0
    send_lag_us_max: int = 0
    response: Histogram = field(default_factory=Histogram)
    service: Histogram = field(default_factory=Histogram)
    send_lag: Histogram = field(default_factory=Histogram)
    first_byte: Histogram = field(default_factory=Histogram)
    reasons: dict[str, int] = field(default_factory=dict)

    @property
    def sent(self) -> int:
        """Return how many a user took up: done + failed."""
        return self.done + self.failed

    @property
    def settled(self) -> bool:
        """Return whether the fate of every intended arrival is known."""
        return self.done + self.failed + self.unsent == self.intended

    def count_reason(self, reason: str, count: int = 1) -> None:
        """Note why `count` arrivals failed or were not sent."""
        self.reasons[reason] = self.reasons.get(reason, 0) + count

    def merge(self, other: Tally) -> None:
        """Add the other's counts to these."""
        self.intended += other.intended
        self.done += other.done
        self.failed += other.failed
        self.unsent += other.unsent
        self.send_lag_us_max = max(self.send_lag_us_max, other.send_lag_us_max)
        self.response.merge(other.response)
        self.service.merge(other.service)
        self.send_lag.merge(other.send_lag)
        self.first_byte.merge(other.first_byte)
        for reason, count in other.reasons.items():
            self.count_reason(reason, count)

    def to_json(self) -> dict[str, Any]:
        """Return the tally for one line of JSON."""
        return {
            "intended": self.intended, "sent": self.sent, "done": self.done,
            "failed": self.failed, "unsent": self.unsent, "send_lag_us_max": self.send_lag_us_max,
            "response_histogram": self.response.to_json(), "service_histogram": self.service.to_json(),
            "send_lag_histogram": self.send_lag.to_json(), "first_byte_histogram": self.first_byte.to_json(),
            "reasons": self.reasons,
        }  # fmt: skip

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Tally:
        """Return what `to_json` wrote."""
        return cls(
            **{name: int(value[name]) for name in ("intended", "done", "failed", "unsent", "send_lag_us_max")},
            response=Histogram.from_json(value["response_histogram"]),
            service=Histogram.from_json(value["service_histogram"]),
            send_lag=Histogram.from_json(value["send_lag_histogram"]),
            first_byte=Histogram.from_json(value["first_byte_histogram"]),
            reasons=dict(value["reasons"]),
        )

    def summary(self) -> dict[str, Any]:
        """Return counts and quantiles (milliseconds; None where there is no data) for people and reports."""
        return {
            "intended": self.intended, "sent": self.sent, "done": self.done,
            "failed": self.failed, "unsent": self.unsent,
            "response_ms": self.response.quantiles_ms(), "service_ms": self.service.quantiles_ms(),
            "first_byte_ms": self.first_byte.quantiles_ms(),
            "send_lag_ms": {**self.send_lag.quantiles_ms(), "max": self.send_lag_us_max / 1000 if self.sent else None},
            "reasons": dict(sorted(self.reasons.items())),
        }  # fmt: skip


@dataclass(slots=True)
class Second:
    """The arrivals intended in one real second.

    real_second: epoch second of the wall clock. clock_second: what the clock in use showed when it began (epoch s).
    clock_seconds: how much time of the clock in use passed in it. users: the most who were at work in it, None: nobody
    counted them.
    """

    real_second: int
    clock_second: int
    clock_seconds: float
    overall: Tally = field(default_factory=Tally)
    routes: dict[str, Tally] = field(default_factory=dict)
    users: int | None = None

    def route(self, name: str) -> Tally:
        """Return the route's tally, begun when it is not there."""
        return self.routes.setdefault(name, Tally())

    def to_json(self) -> dict[str, Any]:
        """Return the second for one line of JSON."""
        return {
            "second": self.clock_second, "real_second": self.real_second, "clock_seconds": self.clock_seconds,
            **self.overall.to_json(), "routes": {name: tally.to_json() for name, tally in self.routes.items()},
            "users": self.users,
        }  # fmt: skip

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Second:
        """Return what `to_json` wrote. Raises KeyError or ValueError when it is something else."""
        routes = {name: Tally.from_json(tally) for name, tally in value["routes"].items()}
        return cls(
            int(value["real_second"]), int(value["second"]), float(value["clock_seconds"]),
            Tally.from_json(value), routes, value.get("users"),
        )  # fmt: skip


@dataclass(slots=True)
class Totals:
    """All settled seconds of a run, merged, and its busiest minute of the clock in use."""

    seconds: int = 0
    overall: Tally = field(default_factory=Tally)
    routes: dict[str, Tally] = field(default_factory=dict)
    first_clock_second: int | None = None
    last_clock_second: int | None = None
    _minutes: dict[int, tuple[int, float]] = field(default_factory=dict, repr=False)
    _peak: tuple[float, int, int] | None = None

    def add(self, second: Second) -> None:
        """Merge one settled second; seconds may come in any order, each once."""
        self.seconds += 1
        self.overall.merge(second.overall)
        for name, tally in second.routes.items():
            self.routes.setdefault(name, Tally()).merge(tally)
        at = second.clock_second
        self.first_clock_second = at if self.first_clock_second is None else min(at, self.first_clock_second)
        self.last_clock_second = at if self.last_clock_second is None else max(at, self.last_clock_second)
        self._add_to_minute(second)

    def _add_to_minute(self, second: Second) -> None:
        minute = second.clock_second // 60
        requests, covered = self._minutes.get(minute, (0, 0.0))
        requests, covered = requests + second.overall.intended, covered + second.clock_seconds
        self._minutes[minute] = (requests, covered)
        # A minute seen for a few seconds only would make any burst a peak.
        if covered >= 50 and (self._peak is None or requests / covered > self._peak[0]):
            self._peak = (requests / covered, minute * 60, requests)
        if len(self._minutes) > 1000:
            del self._minutes[min(self._minutes)]

    def peak_minute(self) -> tuple[int, float] | None:
        """Return the busiest minute's (epoch second, intended rps), by the clock in use; None before one passed."""
        return None if self._peak is None else (self._peak[1], self._peak[0])
