"""The capacity search against a simulated server whose capacity queueing theory knows; and the scalability law."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from loadgen.capacity.search import (
    Found,
    Settings,
    Step,
    SubTrial,
    Trial,
    bounds,
    goal_of,
    judge_goal,
    next_rate,
    search,
    wilson,
)
from loadgen.capacity.usl import fit_usl
from loadgen.metrics import Measured
from loadgen.scenario.thresholds import ThresholdError, parse_slo

SERVICE_SECONDS = 0.010
LIMIT_SECONDS = 0.040
LATENCY = goal_of(parse_slo("http_req_duration: p(95)<40"))
ERRORS = goal_of(parse_slo("http_req_failed: rate<0.01"))


def share_in_time(rps: float) -> float:
    """Return P(wait + service <= limit) of M/D/1 (Erlang 1909): P(W <= t) =
    (1 - rho) * sum over k = 0..floor(t / D) of (rps (kD - t))^k / k! * exp(-rps (kD - t))."""
    wait = LIMIT_SECONDS - SERVICE_SECONDS
    total = 0.0
    for k in range(math.floor(wait / SERVICE_SECONDS + 1e-9) + 1):
        x = rps * (k * SERVICE_SECONDS - wait)
        total += x**k / math.factorial(k) * math.exp(-x)
    return (1 - rps * SERVICE_SECONDS) * total


def true_capacity() -> float:
    low, high = 1.0, 99.9
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if share_in_time(middle) >= 0.95 else (low, middle)
    return low


def simulated(step: Step) -> SubTrial:
    """One server, 10 ms each, first come first served; a second of warm-up is not counted."""
    random = np.random.default_rng(step.seed)
    at, free, late, scheduled = 0.0, 0.0, 0, 0
    while (at := at + random.exponential(1 / step.rps)) < step.seconds + 1:
        free = max(at, free) + SERVICE_SECONDS
        if at >= 1:
            scheduled += 1
            late += free - at > LIMIT_SECONDS
    return SubTrial(scheduled, (late,))


def run(settings: Settings, serve: Callable[[Step], SubTrial] = simulated) -> Found:
    steps = search((LATENCY,), settings)
    step = next(steps)
    while True:
        try:
            step = steps.send(serve(step))
        except StopIteration as stopped:
            found: Found = stopped.value
            return found


def test_the_capacity_that_theory_knows_is_inside_the_interval_in_nine_of_ten_seeds() -> None:
    truth = true_capacity()
    found = [run(Settings(start_rps=60, most_rps=200, budget_seconds=400, seed=seed)) for seed in range(10)]
    inside = [one for one in found if one.low_rps and one.high_rps and one.low_rps <= truth <= one.high_rps]
    assert len(inside) >= 9, [(one.low_rps, one.high_rps, truth) for one in found]
    # An interval that holds everything would be no answer: half the time it is no wider than a third of the truth.
    widths = sorted((one.high_rps or math.inf) - (one.low_rps or 0) for one in found)
    assert widths[5] < truth / 3
    assert all(one.confirmed for one in found)


def test_a_target_that_never_fails_has_a_low_end_only() -> None:
    found = run(Settings(start_rps=10, most_rps=30, budget_seconds=600), lambda _: SubTrial(1000, (0,)))
    assert (found.low_rps, found.high_rps) == (30, None)


def test_a_start_far_above_the_capacity_is_left_in_longer_and_longer_steps() -> None:
    failed = [Trial(rps, "search", "fail", 100, (90,)) for rps in (100.0, 80.0, 51.2)]
    rates = [next_rate(failed[:count], Settings(100, 1000)) for count in (1, 2, 3)]
    # 100 * 0.8, 80 * 0.64, 51.2 * 0.512.
    assert rates == [pytest.approx(80), pytest.approx(51.2), pytest.approx(26.2144)]


def test_a_generator_that_is_always_late_finds_nothing_and_says_why() -> None:
    found = run(Settings(start_rps=10, most_rps=30), lambda _: SubTrial(1000, (0,), ("send lag",)))
    assert (found.low_rps, found.invalid_because) == (None, ("send lag",))


def test_a_confirmation_that_does_not_pass_is_repeated_lower() -> None:
    confirmed_at: list[float] = []

    def serve(step: Step) -> SubTrial:
        if step.purpose == "confirm" and step.rps not in confirmed_at:
            confirmed_at.append(step.rps)
        return SubTrial(1000, (900 if step.purpose == "confirm" and step.rps > 9.5 else 0,))

    found = run(Settings(start_rps=10, most_rps=10, budget_seconds=600), serve)
    assert confirmed_at == [10, pytest.approx(9.3)]
    assert found.low_rps == pytest.approx(9.3)


def test_where_the_trial_above_does_not_fail_a_higher_one_gives_the_upper_end() -> None:
    above: list[float] = []

    def serve(step: Step) -> SubTrial:
        if step.purpose == "above" and step.rps not in above:
            above.append(step.rps)
        # 5 % may be late: none is beyond doubt a pass, all a fail, and 50 of 1,000 in each sub-trial neither.
        return SubTrial(1000, (0 if step.rps <= 10 else 50 if step.rps < 12 else 1000,))

    # A trial of 300 requests at 10/s takes 30 s and 3 x 2 s around it; no time is left for another and a confirmation.
    found = run(Settings(start_rps=10, most_rps=100, budget_seconds=100), serve)
    assert above == [pytest.approx(11), pytest.approx(12.1)]
    assert (found.low_rps, found.high_rps) == (10, pytest.approx(12.1))


def test_unsent_requests_break_every_goal() -> None:
    measured = Measured(intended=10, done=7, failed=1, unsent=2)
    assert ERRORS.broken_by(measured) == 3
    assert LATENCY.broken_by(measured) == 2


def test_doubt_is_the_wider_of_requests_and_sub_trials() -> None:
    # 15 of 1000 is 1.5 %, and Wilson's upper end 2.5 %: within 5 %. Spread over sub-trials as 0, 0, 4.5 % it is not:
    # mean 1.5 %, standard deviation 2.6 %, half width 2.92 * 2.6 / sqrt(3) = 4.4 %.
    even = [SubTrial(1000, (15,))] * 3
    uneven = [SubTrial(1000, (0,)), SubTrial(1000, (0,)), SubTrial(1000, (45,))]
    assert judge_goal(even, 0, 0.05) == "pass"
    assert judge_goal(uneven, 0, 0.05) == "unclear"
    assert judge_goal([SubTrial(1000, (100,))] * 3, 0, 0.05) == "fail"


def test_wilsons_interval_is_the_textbooks() -> None:
    # n = 10, none broken, z = 1.645: the upper end is z^2 / (n + z^2) = 2.706 / 12.706 = 0.2130.
    assert wilson(0, 10) == (0.0, pytest.approx(0.2130, abs=1e-4))
    assert wilson(0, 0) == (0.0, 1.0)


def test_a_pass_above_a_failure_widens_the_interval() -> None:
    trials = [Trial(rps, "search", judged, 1, (0,)) for rps, judged in ((80, "pass"), (90, "fail"), (100, "pass"))]  # type: ignore[arg-type]  # the literals are in the tuple
    assert bounds(trials) == (80, None)
    assert next_rate(trials, Settings(1, 1000)) == 125


@pytest.mark.parametrize("text", ["http_req_duration: avg<5", "http_reqs: rate>5", "http_req_failed: rate>0.1"])
def test_an_slo_that_is_no_share_of_requests_is_refused(text: str) -> None:
    with pytest.raises(ThresholdError, match="expected an SLO"):
        goal_of(parse_slo(text))


def test_the_law_is_found_again_and_noise_makes_no_coherency() -> None:
    n = np.array([1.0, 2, 4, 8, 16, 32])
    exact = 100 * n / (1 + 0.1 * (n - 1) + 0.002 * n * (n - 1))
    fitted = fit_usl(n, exact)
    assert fitted is not None
    assert (fitted.gamma, fitted.alpha, fitted.beta) == pytest.approx((100, 0.1, 0.002), rel=1e-6)
    # The peak is at sqrt((1 - alpha) / beta) = sqrt(450).
    assert fitted.peak() == pytest.approx(math.sqrt(450))
    linear = fit_usl(n, 50 * n)
    assert linear is not None
    assert (linear.alpha, linear.beta) == pytest.approx((0, 0), abs=1e-9)
    assert fit_usl(n[:2], exact[:2]) is None
