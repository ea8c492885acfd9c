"""Native histograms as Prometheus' HTTP API tells them, to counters that `counters` can place into minutes. Pure.

The API names buckets by their edges; the scale is in their ratio. What each bucket gained from sample to sample is
spread over our log buckets there, so that a restart or a coarser scale in between takes nothing away and adds nothing.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from collector.record.exponential import Exponential, increase_between, log_buckets_of
from collector.sources.counters import Key, Series, Target

_FINEST_SCALE = 8


@dataclass(frozen=True, slots=True)
class NativeSeries:
    """One native histogram of durations, as counters: of requests, of seconds, and of each log bucket."""

    count: Series
    seconds: Series
    buckets: tuple[Series, ...]


def exponential_of(told: Mapping[str, Any]) -> Exponential:
    """Return a histogram of the API. Raises KeyError, ValueError for what is none."""
    positive, negative = dict[int, float](), dict[int, float]()
    zero_threshold = zero_count = 0.0
    scale = _FINEST_SCALE
    parts = [(float(low), float(high), float(count)) for _, low, high, count in told.get("buckets") or ()]
    for low, high, _ in parts:
        if low * high > 0:
            scale = round(-math.log2(abs(math.log2(high / low))))
            break
    for low, high, count in parts:
        if low * high <= 0:
            zero_threshold, zero_count = max(abs(low), abs(high)), count
        else:
            side = positive if low > 0 else negative
            side[round(math.log2(max(abs(low), abs(high))) * 2.0**scale)] = count
    return Exponential(float(told["count"]), float(told["sum"]), scale, zero_threshold, zero_count, positive, negative)


def native_series(points: Sequence[tuple[float, Exponential]], target: Target, key: Key) -> NativeSeries:
    """Return at least one sample of a histogram (epoch seconds, ascending) as counters that never fall."""
    times = np.array([at for at, _ in points])
    rows: list[dict[int, int]] = []
    counts, seconds = [0.0], [0.0]
    before: Exponential | None = None
    for _, point in points:
        gained = point if before is None else increase_between(before, point)
        row = defaultdict(int, rows[-1] if rows else {})
        for bucket, more in log_buckets_of(gained).items():
            row[bucket] += more
        rows.append(row)
        counts.append(counts[-1] + gained.count)
        seconds.append(seconds[-1] + gained.sum)
        before = point
    buckets = tuple(
        Series(target, key, times, np.array([float(row.get(bucket, 0)) for row in rows]), bucket=bucket)
        for bucket in sorted(rows[-1])
    )
    count = Series(target, key, times, np.array(counts[1:]))
    return NativeSeries(count, Series(target, key, times, np.array(seconds[1:])), buckets)
