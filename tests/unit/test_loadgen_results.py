"""Histograms and tallies: what merges, what a quantile may be off by, and what a peak is."""

from __future__ import annotations

import json
import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from loadgen.results import Histogram, Second, Tally, Totals, buckets_of

durations = st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=200)


def histogram(microseconds: list[int]) -> Histogram:
    built = Histogram()
    built.add(np.array(microseconds, dtype=np.int64))
    return built


def test_a_bucket_holds_what_lies_above_its_lower_and_up_to_its_upper_edge() -> None:
    # ceil(log2(us) * 8): 0 and 1 us in bucket 0; 2 us is 2^(8/8), bucket 8; 3 us is 2^1.585, ceil(12.68) = 13.
    assert buckets_of(np.array([0, 1, 2, 3, 1024])).tolist() == [0, 0, 8, 13, 80]


@given(values=durations, quantile=st.floats(0.01, 1))
def test_a_quantile_is_never_below_the_true_one_and_less_than_a_tenth_above_it(
    values: list[int], quantile: float
) -> None:
    true = max(1, sorted(values)[max(1, math.ceil(quantile * len(values))) - 1])
    told = histogram(values).quantile_us(quantile)
    assert told is not None
    assert true * (1 - 1e-12) <= told < true * 2 ** (1 / 8) * (1 + 1e-12)


@given(first=durations, second=durations)
def test_merging_is_the_same_as_counting_together(first: list[int], second: list[int]) -> None:
    merged = histogram(first)
    merged.merge(histogram(second))
    assert merged.counts == histogram(first + second).counts
    assert Histogram.from_json(json.loads(json.dumps(merged.to_json()))) == merged


def test_without_data_there_is_no_quantile() -> None:
    assert Histogram().quantile_us(0.5) is None
    assert Histogram().quantiles_ms() == {"p50": None, "p95": None, "p99": None}


def a_second(clock_second: int, intended: int, clock_seconds: float = 1.0) -> Second:
    tally = Tally(intended=intended, done=intended, response=Histogram({80: intended}))
    return Second(clock_second, clock_second, clock_seconds, tally, {"search": Tally(intended=intended, done=intended)})


def test_a_second_is_read_back_as_it_was_written() -> None:
    second = a_second(1_795_305_600, 3)
    second.overall.failed, second.overall.reasons = 1, {"http_503": 1}
    assert Second.from_json(json.loads(json.dumps(second.to_json()))) == second


def test_the_peak_minute_is_the_busiest_whole_one() -> None:
    # Minutes of 60 s with 2, 5 and 3 arrivals a second, then ten seconds of a burst that make no minute.
    totals = Totals()
    for at, rate in [(s, (2, 5, 3)[s // 60]) for s in range(180)] + [(s, 50) for s in range(180, 190)]:
        totals.add(a_second(at, rate))
    assert totals.peak_minute() == (60, 5.0)
    assert totals.overall.intended == 60 * (2 + 5 + 3) + 500


def test_under_a_fast_clock_one_real_second_is_a_minute() -> None:
    totals = Totals()
    for real, intended in enumerate([60, 180, 120]):
        totals.add(Second(real, real * 60, 60.0, Tally(intended=intended, done=intended)))
    assert totals.peak_minute() == (60, 3.0)
