"""Thresholds in k6's syntax: what they read, what no data means, windows, and the verdict."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.metrics import Measured, Trend
from loadgen.results import Histogram
from loadgen.scenario.thresholds import (
    Threshold,
    ThresholdError,
    WindowWatch,
    judge,
    parse_slo,
    parse_threshold,
    value_of,
    verdict_of,
    with_unsent,
)


def trend(*milliseconds: float) -> Trend:
    made = Trend()
    made.add(np.array([int(ms * 1000) for ms in milliseconds], dtype=np.int64))
    return made


def measured(*milliseconds: float, failed: int = 0, unsent: int = 0) -> Measured:
    sent = len(milliseconds)
    times = trend(*milliseconds)
    return Measured(sent + unsent, sent - failed, failed, unsent, times, times)


def got(text: str, what: Measured, seconds: float = 10.0) -> float | None:
    return value_of(parse_slo(text), what, seconds=seconds)


def test_each_aggregate_is_what_k6_means_by_it() -> None:
    what = measured(10, 20, 30, 40, failed=1, unsent=2)
    assert got("http_req_duration: avg<1", what) == 25
    assert got("http_req_duration: min<1", what) == 10
    assert got("http_req_duration: max<1", what) == 40
    # The ceil(0.5 * 4) = 2nd smallest is 20 ms; its bucket's edge is at most 2^(1/64) - 1 = 1.09 % above.
    assert got("http_req_duration: med<1", what) == pytest.approx(20, rel=0.011)
    assert got("http_req_service: p(100)<1", what) == 40
    assert got("http_req_failed: rate<1", what) == 0.25
    assert got("http_reqs: count>1", what) == 4
    assert got("http_reqs: rate>1", what) == pytest.approx(0.4)
    assert got("dropped_iterations: count==0", what) == 2


def test_a_tag_chooses_a_route_and_an_object_carries_its_options() -> None:
    parsed = parse_threshold("http_req_duration{route:search}", " p(99.9) <= 250.5 ", abort_on_fail=True)
    assert (parsed.route, parsed.quantile, parsed.comparison, parsed.bound) == ("search", 0.999, "<=", 250.5)
    assert parsed.name == "http_req_duration{route:search}: p(99.9)<=250.5"
    assert parse_slo("http_req_duration{route:search}: p(95)<200").route == "search"


@pytest.mark.parametrize(
    ("metric", "expression", "message"),
    [
        ("http_duration", "p(95)<1", "expected one of http_req_duration"),
        ("http_req_duration{zone:a}", "p(95)<1", "expected no tag but route"),
        ("http_req_duration", "p95<1", "such as p"),
        ("http_req_duration", "rate<1", "expected one of avg, min, max, med"),
        ("http_req_failed", "p(95)<1", "expected one of rate"),
        ("http_req_duration", "p(101)<1", "up to 100"),
    ],
)
def test_what_is_no_threshold_is_refused_with_what_was_expected(metric: str, expression: str, message: str) -> None:
    with pytest.raises(ThresholdError, match=message):
        parse_threshold(metric, expression)


def test_no_data_fails_unless_it_is_allowed() -> None:
    for text in ("http_req_duration: p(95)<200", "http_req_failed: rate<0.01", "http_reqs: count<5", "checks: rate>0"):
        assert not judge(parse_slo(text), Measured(), seconds=10).held
    assert judge(parse_threshold("http_req_failed", "rate<1", allow_no_data=True), Measured(), seconds=10).held


def test_unsent_arrivals_fail_unless_a_threshold_allows_them() -> None:
    (implied,) = with_unsent([])
    assert not judge(implied, measured(1, unsent=1), seconds=1).held
    assert judge(implied, measured(1), seconds=1).held
    allowed = parse_slo("dropped_iterations: count<5")
    assert with_unsent([allowed]) == (allowed,)


def test_a_window_sees_ten_bad_seconds_that_the_whole_run_hides() -> None:
    watch = WindowWatch(parse_threshold("http_req_failed", "rate<0.5", window_seconds=2), [])
    for failed in (0, 0, 1, 0, 0, 0):
        watch.take({}, measured(1, failed=failed))
    # Of each two seconds with two requests one failed: 0.5 is not below 0.5. Of all six it is one in six.
    assert watch.crossed is not None
    assert watch.judged().value == 0.5


def test_a_run_shorter_than_the_window_has_no_data() -> None:
    watch = WindowWatch(parse_threshold("http_req_failed", "rate<0.5", window_seconds=3), [])
    watch.take({}, measured(1))
    assert watch.judged() == type(watch.judged())(watch.threshold, None, held=False)


def test_a_window_of_one_second_forgets_the_second_before() -> None:
    watch = WindowWatch(parse_threshold("http_reqs", "count==1", window_seconds=1), [])
    watch.take({}, measured(1))
    watch.take({}, measured(1))
    assert watch.crossed is None


def test_invalid_goes_before_fail_and_fail_before_pass() -> None:
    crossed = judge(Threshold("http_reqs", "count", ">", 5), measured(1), seconds=1)
    assert verdict_of([crossed], ["the generator was late"]).exit_code == 1
    assert verdict_of([crossed], []).exit_code == 99
    assert verdict_of([crossed], []).reasons == ("http_reqs: count>5 (got 1)",)
    assert verdict_of([], []).status == "pass"


@given(st.lists(st.integers(1, 10**8), min_size=1, max_size=200), st.floats(0.01, 1))
def test_a_quantile_is_never_too_low_and_at_most_1_1_percent_too_high(values: list[int], quantile: float) -> None:
    made = Trend()
    made.add(np.array(values, dtype=np.int64))
    truth = sorted(values)[max(1, int(np.ceil(quantile * len(values)))) - 1]
    estimate = made.quantile_us(quantile)
    assert estimate is not None
    assert truth <= estimate * (1 + 1e-9)
    assert estimate <= max(truth * 2 ** (1 / 64), 1) * (1 + 1e-9)


@given(st.lists(st.integers(0, 10**8), min_size=1, max_size=200))
def test_the_fine_histogram_is_the_records_own_when_it_is_merged(values: list[int]) -> None:
    made, coarse = Trend(), Histogram()
    made.add(np.array(values, dtype=np.int64))
    coarse.add(np.array(values, dtype=np.int64))
    assert made.coarse() == coarse
