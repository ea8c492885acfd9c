"""What counters and exponential histograms gain: over restarts, gaps, coarser scales. All expected by hand."""

from __future__ import annotations

import pytest

from collector.record.exponential import Exponential, added, increase_between, log_buckets_of
from collector.record.increase import counter_increase, delta_increase, histogram_increase
from collector.sources.counters import Key
from collector.sources.native import exponential_of, native_series


def histogram(positive: dict[int, float], *, scale: int = 0, **more: float) -> Exponential:
    count = sum(positive.values()) + more.get("zero_count", 0.0)
    return Exponential(
        count, float(count), scale, more.get("zero_threshold", 0.0), more.get("zero_count", 0.0), positive
    )


def test_a_counter_gains_between_its_samples_and_a_restart_counts_from_zero() -> None:
    # 10 -> 25: 15; 25 -> 4: 4; 4 -> 4: 0
    assert counter_increase([0, 15, 30, 45], [10, 25, 4, 4], since=0, until=45) == 19


def test_a_gain_counts_with_its_share_of_the_span() -> None:
    # From 0 to 60 s it gains 60; 20..50 is half of that. 300 s later is a gap across the border: nobody knows.
    assert counter_increase([0, 60], [0, 60], since=20, until=50) == 30
    assert counter_increase([0, 400], [0, 400], since=100, until=500) is None
    assert counter_increase([0, 400], [0, 400], since=0, until=400) == 400  # a gap inside the span is in the span
    assert counter_increase([0, 400], [0, 400], since=100, until=500, longest_gap=400) == 300


def test_nothing_known_is_not_zero() -> None:
    assert counter_increase([10], [5], since=0, until=60) is None
    assert counter_increase([0, 15], [5, 5], since=0, until=15) == 0
    assert delta_increase([100], [5], since=0, until=60) is None


def test_deltas_are_summed_where_they_were_told() -> None:
    assert delta_increase([0, 10, 20, 30], [1, 2, 4, 8], since=0, until=20) == 6


def test_histograms_lose_the_older_one_bucket_by_bucket() -> None:
    gained = increase_between(histogram({0: 4, 1: 1}), histogram({0: 5, 1: 1, 3: 2}))
    assert (gained.count, gained.sum, gained.positive) == (3, 3, {0: 1, 3: 2})


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (histogram({0: 4, 1: 1}), histogram({0: 9})),  # more in all, but bucket 1 fell
        (histogram({0: 4}), histogram({0: 3})),
        (histogram({0: 1}, scale=0), histogram({0: 4}, scale=1)),  # finer than before
        (histogram({0: 1}, zero_threshold=0.1), histogram({0: 4}, zero_threshold=0.01)),
    ],
)
def test_what_cannot_follow_from_the_older_one_began_anew(before: Exponential, after: Exponential) -> None:
    assert increase_between(before, after) == after


def test_a_coarser_scale_joins_buckets_pairwise_and_is_no_restart() -> None:
    # Scale 1 to 0: bucket i goes to ceil(i / 2), so -1 and 0 to 0, 1 and 2 to 1, 3 to 2.
    before = histogram({-1: 1, 0: 2, 1: 3, 2: 4, 3: 5}, scale=1)
    after = histogram({0: 4, 1: 7, 2: 9})
    assert increase_between(before, after).positive == {0: 1, 2: 4}


def test_a_wider_zero_bucket_swallows_what_lies_inside_it() -> None:
    # Bucket -1 of scale 0 holds (0.25, 0.5], bucket 0 (0.5, 1]: a zero bucket up to 0.5 swallows the first.
    gained = increase_between(histogram({-1: 3, 0: 2}), histogram({0: 4}, zero_threshold=0.5, zero_count=5))
    assert (gained.zero_count, gained.positive) == (2, {0: 2})


def test_histograms_of_different_scales_are_added_on_the_coarser() -> None:
    total = added([histogram({1: 1, 2: 1}, scale=1), histogram({1: 5})])
    assert (total.scale, total.positive, total.count) == (0, {1: 7}, 7)


def test_a_histogram_gains_over_a_restart_and_a_share_at_the_border() -> None:
    # 2 -> 6: 4, half of it before the span's start; then anew with 1.
    points = [histogram({0: 2}), histogram({0: 6}), histogram({0: 1})]
    gained = histogram_increase([0, 60, 120], points, since=30, until=120)
    assert gained is not None
    assert gained.positive == {0: 3}
    told = histogram_increase([0, 60, 120], points, since=0, until=120, delta=True)
    assert told is not None
    assert told.count == 7  # 6 and 1, each for itself


def test_seconds_become_log_buckets_of_microseconds_and_nothing_is_lost() -> None:
    # 1 s is 8 log2(10^6) = 159.45 in our buckets, so a bucket (0.5 s, 1 s] lies from 151.45 to 159.45: over 152 to 160.
    # Of 80, spread evenly over a width of 8: 152 has 0.548 * 10, each next 10, 160 the last 0.452 * 10.
    spread = log_buckets_of(histogram({0: 80}))
    assert sum(spread.values()) == 80
    assert (min(spread), max(spread), spread[155]) == (152, 160, 10)
    assert spread[152] + spread[160] == 10
    assert log_buckets_of(histogram({}, zero_count=3)) == {0: 3}


def test_the_servers_buckets_are_read_with_their_scale() -> None:
    told = {
        "count": "7",
        "sum": "5.5",
        # A zero bucket up to 0.001, then (0.5, 0.7071] and (1, 1.4142] of scale 1: indexes -1 + ... = -1 and 1.
        "buckets": [
            [3, "-0.001", "0.001", "1"],
            [0, "0.5", "0.7071067811865475", "2"],
            [0, "1", "1.414213562373095", "4"],
        ],
    }
    found = exponential_of(told)
    assert (found.scale, found.zero_threshold, found.zero_count) == (1, 0.001, 1)
    # index = log2(upper edge) * 2: 0.7071 -> -1, 1.4142 -> 1
    assert found.positive == {-1: 2, 1: 4}


def test_native_counters_never_fall() -> None:
    points = [(0.0, histogram({0: 8})), (15.0, histogram({0: 16})), (30.0, histogram({0: 8}))]  # a restart
    series = native_series(points, ("job", "a"), Key("/", "", "", "", 0))
    assert series.count.values.tolist() == [8, 16, 24]
    assert series.seconds.values.tolist() == [8, 16, 24]
    for bucket in series.buckets:
        assert bucket.values.tolist() == sorted(bucket.values.tolist())
    assert sum(bucket.values[-1] for bucket in series.buckets) == 24
