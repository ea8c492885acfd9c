from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.catalog import ClassicRule, Slo
from collector.record.histogram import bucket_of, quantile_from_histogram, upper_edge
from collector.slo.objectives import (
    BURN_WINDOWS,
    Counts,
    RouteTotals,
    StatusTotals,
    budget_left,
    burn_rate,
    burning_pairs,
    classic_status,
    good_in_histogram,
    sli,
    status_of,
    threshold_bucket,
)

US = timedelta(microseconds=1)


def test_no_valid_requests_give_no_sli_and_never_a_number() -> None:
    nothing = Counts(valid=0, good=0)
    assert sli(nothing) is None
    assert budget_left(nothing, 0.999) is None
    assert burn_rate(nothing, 0.999) is None


def test_the_sli_is_weighted_by_requests_not_by_time() -> None:
    # 18 h at 100 rps without errors and 6 h at 1 rps with 10 % errors: 6,480,000 + 21,600 requests, 2,160 bad:
    # 2160 / 6501600 = 0.0332 % bad, where a mean over hours would say 2.5 %.
    counts = Counts(valid=6_501_600, good=6_501_600 - 2_160)
    assert sli(counts) == pytest.approx(1 - 0.000332225)


def test_a_burn_rate_of_one_spends_exactly_the_budget() -> None:
    counts = Counts(valid=1000, good=999)  # 0.1 % bad with a budget of 0.1 %
    assert burn_rate(counts, 0.999) == pytest.approx(1.0)
    assert budget_left(counts, 0.999) == pytest.approx(0.0)


def test_an_overspent_budget_is_negative() -> None:
    assert budget_left(Counts(valid=1000, good=997), 0.999) == pytest.approx(-2.0)  # 3 bad where 1 was allowed


def test_a_latency_threshold_snaps_to_the_bucket_edge_below_and_says_so() -> None:
    # log2(500000) * 8 = 151.45: bucket 151 ends at 2^(151/8) = 480,774 us (2^18 = 262,144 times 2^(7/8) = 1.83401)
    slo = Slo("p95", "latency", 0.95, timedelta(days=30), threshold=timedelta(milliseconds=500))
    windows = {window: Counts(10, 10) for window in (*BURN_WINDOWS, slo.window)}
    status = status_of(slo, windows)
    assert threshold_bucket(timedelta(milliseconds=500)) == 151
    assert status.effective_threshold == pytest.approx(480_774 * US, abs=US)
    assert good_in_histogram({150: 3, 151: 2, 152: 7}, timedelta(milliseconds=500)) == 5


def test_a_threshold_on_an_edge_is_kept() -> None:
    assert threshold_bucket(1024 * US) == 80  # 1024 = 2^10


def test_the_classic_rule_says_which_limit_is_exceeded() -> None:
    rule = ClassicRule(timedelta(hours=24), timedelta(seconds=2), 0.1)
    slow = RouteTotals("/a", requests=10, errors=1, duration_sum=timedelta(seconds=30))  # mean 3 s, 10 % is not over
    status = classic_status(rule, slow)
    assert status is not None
    assert status.exceeded == ("mean_response",)
    assert classic_status(rule, RouteTotals("/b", 0, 0, timedelta(0))) is None


def test_the_classic_rule_judges_the_mean_of_every_status() -> None:
    rule = ClassicRule(timedelta(hours=24), timedelta(seconds=2), 0.1)
    # 99 answers of 0.1 s and one error of 30 s: the mean of all is 0.4 s, that of status 504 is over 2 s
    statuses = (StatusTotals(200, 99, timedelta(seconds=9.9)), StatusTotals(504, 1, timedelta(seconds=30)))
    status = classic_status(rule, RouteTotals("/a", 100, 1, timedelta(seconds=39.9), statuses))
    assert status is not None
    assert status.mean_response == timedelta(seconds=0.399)
    assert status.exceeded == ("mean_response",)


def test_more_good_than_valid_is_refused() -> None:
    with pytest.raises(ValueError, match="good <= valid"):
        Counts(valid=1, good=2)


@given(st.integers(min_value=1, max_value=2**32 - 1))
def test_a_duration_lies_in_its_bucket_up_to_rounding(duration_us: int) -> None:
    bucket = bucket_of(duration_us)
    assert duration_us <= 2 ** (bucket / 8) * (1 + 1e-9)
    assert bucket == 0 or duration_us > 2 ** ((bucket - 1) / 8) * (1 - 1e-9)


@given(st.lists(st.integers(min_value=1, max_value=10**8), min_size=1), st.floats(min_value=0.01, max_value=1))
def test_a_quantile_is_never_too_low_and_at_most_one_bucket_too_high(durations: list[int], q: float) -> None:
    histogram: dict[int, int] = {}
    for duration in durations:
        histogram[bucket_of(duration)] = histogram.get(bucket_of(duration), 0) + 1
    found = quantile_from_histogram(histogram, q)
    assert found is not None
    ordered = sorted(durations)
    exact = next(value for rank, value in enumerate(ordered, start=1) if rank >= q * len(ordered) - 1e-9)
    assert exact * US <= found + US
    assert found <= exact * 2 ** (1 / 8) * US + US


def test_an_empty_histogram_has_no_quantile() -> None:
    assert quantile_from_histogram({}, 0.5) is None
    assert quantile_from_histogram({3: 0}, 0.5) is None
    assert upper_edge(0) == US


def test_a_pair_burns_only_while_both_its_windows_are_above_its_factor() -> None:
    # Budget 0.1 %. An hour at 2 % bad burns at 20, above 14.4; its 5 minutes at 1 % burn at 10: it is over already.
    slo = Slo("a", "availability", 0.999, timedelta(days=30))
    windows = {window: Counts(1000, 1000) for window in (*BURN_WINDOWS, slo.window)}
    hour, minutes = timedelta(hours=1), timedelta(minutes=5)

    over = status_of(slo, {**windows, hour: Counts(1000, 980), minutes: Counts(1000, 990)})
    burning = status_of(slo, {**windows, hour: Counts(1000, 980), minutes: Counts(1000, 980)})
    silent = status_of(slo, {**windows, hour: Counts(1000, 980), minutes: Counts(0, 0)})

    assert burning_pairs(over) == ()
    assert [pair.factor for pair in burning_pairs(burning)] == [14.4]
    assert burning_pairs(silent) == ()
