"""Log-bucket histograms of durations: bucket b holds (2^((b-1)/8), 2^(b/8)] microseconds. Pure.

The buckets are exactly additive, so minutes, routes and regions may be summed in any order with the same result; a
quantile read from them is the upper edge of its bucket: never too low, and at most 9.1 % (2^(1/8) - 1) too high.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import timedelta

BUCKETS_PER_DOUBLING = 8


def bucket_of(duration_us: float) -> int:
    """Return the bucket of a duration in microseconds; 0 holds everything up to one microsecond."""
    return math.ceil(math.log2(max(1.0, duration_us)) * BUCKETS_PER_DOUBLING)


def upper_edge(bucket: int) -> timedelta:
    """Return the longest duration that a bucket holds."""
    return timedelta(microseconds=2.0 ** (bucket / BUCKETS_PER_DOUBLING))


def quantile_from_histogram(histogram: Mapping[int, int], quantile: float) -> timedelta | None:
    """Return the upper edge of the bucket that holds the quantile; None for an empty histogram.

    The quantile q is the smallest duration that at least a share q (0 < q <= 1) of the requests did not exceed.
    """
    if not 0 < quantile <= 1:
        raise ValueError(f"expected a quantile above 0 and at most 1, got {quantile!r}")
    total = sum(histogram.values())
    if total == 0:
        return None
    wanted, seen, last = quantile * total, 0, 0
    for bucket in sorted(histogram):
        seen, last = seen + histogram[bucket], bucket
        if seen >= wanted - 1e-9:  # 0.95 * 100 must not ask for a 96th
            break
    return upper_edge(last)
