"""Exponential histograms (OTLP's, Prometheus' native ones): what was added between two, and our log buckets. Pure.

Bucket i of scale s holds (2^((i-1)/2^s), 2^(i/2^s)]. Two histograms of different scales are compared on the coarser
one, where buckets join pairwise. Resets are told as Prometheus tells them: a count that went down, a finer scale or a
narrower zero bucket than before; and where the source says so itself.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from collector.record.histogram import BUCKETS_PER_DOUBLING

_LOG2_US_PER_SECOND = math.log2(1e6)
Buckets = Mapping[int, float]


@dataclass(frozen=True, slots=True)
class Exponential:
    """One exponential histogram; `positive` and `negative` hold counts by index, not cumulative.

    reset: the source says that it began anew at this point.
    """

    count: float
    sum: float
    scale: int
    zero_threshold: float
    zero_count: float
    positive: Buckets
    negative: Buckets = field(default_factory=dict)
    reset: bool = False


def increase_between(before: Exponential, after: Exponential) -> Exponential:
    """Return what was observed after `before`, up to `after`; all of `after` when it began anew in between."""
    if after.reset or after.scale > before.scale or after.zero_threshold < before.zero_threshold:
        return replace(after, reset=False)
    base = _with_zero_threshold(_at_scale(before, after.scale), after.zero_threshold)
    parts = (base.positive, after.positive), (base.negative, after.negative)
    fell = any(now.get(index, 0) < count for was, now in parts for index, count in was.items())
    if fell or after.count < base.count or after.zero_count < base.zero_count:
        return replace(after, reset=False)
    positive, negative = ({i: now[i] - was.get(i, 0) for i in now if now[i] != was.get(i, 0)} for was, now in parts)
    return replace(
        after,
        count=after.count - base.count,
        sum=after.sum - base.sum,
        zero_count=after.zero_count - base.zero_count,
        positive=positive,
        negative=negative,
    )


def added(parts: Sequence[Exponential]) -> Exponential:
    """Return the sum of at least one histogram, on the coarsest scale and the widest zero bucket among them."""
    scale, threshold = min(each.scale for each in parts), max(each.zero_threshold for each in parts)
    alike = [_with_zero_threshold(_at_scale(each, scale), threshold) for each in parts]
    return Exponential(
        count=sum(each.count for each in alike),
        sum=sum(each.sum for each in alike),
        scale=scale,
        zero_threshold=threshold,
        zero_count=sum(each.zero_count for each in alike),
        positive=_joined([each.positive for each in alike]),
        negative=_joined([each.negative for each in alike]),
    )


def share_of(histogram: Exponential, share: float) -> Exponential:
    """Return a histogram of a share (0..1) of the observations of each bucket."""
    return replace(
        histogram,
        count=histogram.count * share,
        sum=histogram.sum * share,
        zero_count=histogram.zero_count * share,
        positive={index: count * share for index, count in histogram.positive.items()},
        negative={index: count * share for index, count in histogram.negative.items()},
    )


def log_buckets_of(histogram: Exponential) -> dict[int, int]:
    """Return a histogram of durations in seconds as counts of our log buckets of microseconds (record.histogram).

    A bucket that lies across several of ours is shared between them as even on the log scale; the whole part of its
    count is kept. What is not above zero is in bucket 0.
    """
    spread: dict[int, int] = defaultdict(int)
    spread[0] = round(histogram.zero_count + sum(histogram.negative.values()))
    width = BUCKETS_PER_DOUBLING / 2.0**histogram.scale
    for index, count in histogram.positive.items():
        high = index * width + BUCKETS_PER_DOUBLING * _LOG2_US_PER_SECOND
        low, given = high - width, 0
        for bucket in range(math.floor(low) + 1, math.ceil(high) + 1):
            upto = math.floor(count * min(1.0, (bucket - low) / width) + 1e-6)
            spread[max(0, bucket)] += upto - given
            given = upto
    return {bucket: count for bucket, count in sorted(spread.items()) if count}


def _at_scale(histogram: Exponential, scale: int) -> Exponential:
    shift = histogram.scale - scale
    if not shift:
        return histogram
    positive, negative = (
        _joined([{-(-index // 2**shift): count} for index, count in buckets.items()])
        for buckets in (histogram.positive, histogram.negative)
    )
    return replace(histogram, scale=scale, positive=positive, negative=negative)


def _with_zero_threshold(histogram: Exponential, threshold: float) -> Exponential:
    """Return the histogram with all that lies within a wider zero bucket counted there."""
    if threshold <= histogram.zero_threshold:
        return histogram
    highest = math.floor(math.log2(threshold) * 2.0**histogram.scale + 1e-9)
    inside = [*histogram.positive.items(), *histogram.negative.items()]
    return replace(
        histogram,
        zero_threshold=threshold,
        zero_count=histogram.zero_count + sum(count for index, count in inside if index <= highest),
        positive={index: count for index, count in histogram.positive.items() if index > highest},
        negative={index: count for index, count in histogram.negative.items() if index > highest},
    )


def _joined(parts: Sequence[Buckets]) -> dict[int, float]:
    joined: dict[int, float] = defaultdict(float)
    for part in parts:
        for index, count in part.items():
            joined[index] += count
    return dict(joined)
