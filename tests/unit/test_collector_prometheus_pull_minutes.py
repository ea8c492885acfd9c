"""Counter samples to per-minute rows, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from collector.sources.counters import COLUMNS, Key, Minutes, Series, decide_minutes, log_buckets

KEY = Key("/r", "GET", "", "", 200)
ERRORS = Key("/r", "GET", "", "", 500)
START = 6_000_000  # on a minute's border


def series(points: dict[int, float], *, key: Key = KEY, target: str = "a", le: float | None = None) -> Series:
    times = np.array([START + at for at in points], dtype=float)
    return Series(("job", target), key, times, np.array(list(points.values()), dtype=float), le)


def decide(
    *requests: Series, minutes: int = 2, buckets: tuple[Series, ...] = (), sums: tuple[Series, ...] = ()
) -> Minutes:
    return decide_minutes(
        "svc", requests=requests, buckets=buckets, sums=sums, since=START, until=START + 60 * minutes, gap_seconds=45
    )


def requests_by_minute(found: Minutes) -> dict[int, int]:
    return {(minute - START) // 60: sum(columns["requests"]) for minute, columns in found.columns.items()}


def every(step: int, first: int, last: int, per_second: float, base: float = 0.0) -> dict[int, float]:
    return {at: base + per_second * (at - first) for at in range(first, last + 1, step)}


def test_an_increase_is_shared_between_minutes_by_time() -> None:
    # samples 10 s after each border: of the 60 gained from -50 to 10 minute 0 gets 10, of the 120 to 70 it gets 100;
    # minute 1 gets the other 20, and 50 of the 60 gained from 70 to 130
    found = decide_minutes(
        "svc",
        requests=[series({-50: 1000, 10: 1060, 70: 1180, 130: 1240})],
        since=START,
        until=START + 120,
        gap_seconds=180,
    )
    assert requests_by_minute(found) == {0: 110, 1: 70}


def test_totals_are_kept_whatever_the_pulls_were_cut_into() -> None:
    # 0.7 requests a second; the counter's line is 700.0 + 0.7 t: 700 at 0 s, 742 at 60, 784 at 120, 826 at 180
    points = every(15, -60, 240, 0.7, base=658.0)
    whole = requests_by_minute(decide(series(points), minutes=3))
    assert whole == {0: 42, 1: 42, 2: 42}
    odd = {at: value + 0.4 for at, value in points.items()}
    assert sum(requests_by_minute(decide(series(odd), minutes=3)).values()) == 826 - 700


def test_a_reset_counts_from_zero() -> None:
    # +10 up to 15 s, then the process restarts and has served 4 by 30 s, 6 by 45 s
    found = decide(series({-15: 90, 0: 90, 15: 100, 30: 4, 45: 6, 60: 6, 75: 6}), minutes=1)
    assert requests_by_minute(found) == {0: 10 + 4 + 2}


def test_a_series_born_on_a_known_target_began_at_zero() -> None:
    steady = series(every(15, -15, 75, 1.0))
    born = series({30: 3, 45: 3, 60: 3, 75: 3}, key=ERRORS)
    (columns,) = decide(steady, born, minutes=1).columns.values()
    assert dict(zip(columns["status"], columns["requests"], strict=True)) == {200: 60, 500: 3}


def test_the_first_scrape_of_a_new_target_is_its_base() -> None:
    old = series(every(15, -15, 75, 1.0))
    new = series({30: 5000, 45: 5010, 60: 5010, 75: 5010}, target="b")
    assert requests_by_minute(decide(old, new, minutes=1)) == {0: 60 + 10}


def test_minutes_that_were_not_scraped_are_gaps_and_their_requests_are_told() -> None:
    # nothing between 45 s and 195 s: the minutes 0, 1, 2 and 3 are not whole
    found = decide(series({**every(15, -15, 45, 1.0), **every(15, 195, 330, 1.0, base=500.0)}), minutes=5)
    assert requests_by_minute(found) == {4: 60}
    assert found.gaps == tuple(START + 60 * n for n in range(4))
    # 500 - 60 in the gap, 45 in minute 0 before it, 45 in minute 3 after it
    assert found.unplaced_requests == 440 + 45 + 45


def test_one_instance_that_was_not_scraped_spoils_the_minute() -> None:
    found = decide(series(every(15, -15, 135, 1.0)), series({-15: 0, 0: 1, 90: 9, 105: 9, 135: 9}, target="b"))
    assert found.gaps == (START, START + 60)


def test_an_instance_that_is_gone_does_not() -> None:
    found = decide(series(every(15, -15, 135, 1.0)), series({-15: 0, 0: 1, 15: 31}, target="b"))
    assert requests_by_minute(found) == {0: 60 + 30, 1: 60}


def test_no_samples_are_gaps_and_not_zeros() -> None:
    found = decide()
    assert (found.columns, found.gaps) == ({}, (START, START + 60))


def test_a_scraped_minute_without_requests_is_a_zero_and_not_a_gap() -> None:
    found = decide(series(every(15, -15, 135, 0.0, base=7.0)))
    assert requests_by_minute(found) == {0: 0, 1: 0}
    assert [len(columns["minute"]) for columns in found.columns.values()] == [1, 1]


def test_rows_have_the_columns_of_the_table() -> None:
    (columns, _) = decide(series(every(15, -15, 135, 1.0))).columns.values()
    assert tuple(columns) == COLUMNS
    assert (columns["minute"], columns["service"], columns["route"], columns["status"]) == (
        [START],
        ["svc"],
        ["/r"],
        [200],
    )


def test_a_histogram_gives_buckets_sum_and_longest() -> None:
    le_tenth = series(every(15, -15, 75, 1.0), le=0.1)
    le_one = series(every(15, -15, 75, 2.0), le=1.0)
    above = series(every(15, -15, 75, 2.0), le=math.inf)
    seconds = series(every(15, -15, 75, 0.5))
    (columns,) = decide(
        series(every(15, -15, 75, 2.0)), minutes=1, buckets=(le_tenth, le_one, above), sums=(seconds,)
    ).columns.values()
    histogram = columns["histogram"][0]
    assert sum(histogram.values()) == columns["requests"][0] == 120
    # 0.1 s = 100,000 us: ceil(log2(100000) * 8) = ceil(132.88) = 133; 1 s: ceil(log2(1e6) * 8) = ceil(159.45) = 160
    assert sum(n for bucket, n in histogram.items() if bucket <= 133) == 60
    assert max(histogram) == 160
    assert columns["duration_us_sum"] == [30_000_000]
    assert columns["duration_us_max"] == [2 ** (160 // 8)]  # the bucket's upper edge: 2^20 us


def test_counts_at_every_le_stay_exact_and_nothing_is_lost() -> None:
    cumulative = {0.005: 3, 0.01: 10, 0.25: 10, 1.0: 57, math.inf: 60}
    spread = log_buckets(cumulative)
    for le, count in cumulative.items():
        edge = 10**6 if math.isinf(le) else math.ceil(math.log2(le * 1e6) * 8)
        assert sum(n for bucket, n in spread.items() if bucket <= edge) == count
    # above the last finite edge of 1 s (bucket 160) stands what is slower, in the next bucket
    assert spread[161] == 3


@pytest.mark.parametrize("cumulative", [{}, {math.inf: 0}, {0.1: 0, math.inf: 0}])
def test_no_durations_make_no_buckets(cumulative: dict[float, int]) -> None:
    assert log_buckets(cumulative) == {}
