"""Whom the ensemble believes: members good alone, good together, outdone by the profile; heights; a band's facts."""

from __future__ import annotations

import numpy as np
import pytest

from forecaster.forecast import learning, trust, weekly
from forecaster.forecast.calibration import residuals_of
from forecaster.forecast.width import facts_of, restlessness
from forecaster.forecast.windows import windows_of

HOUR, WEEK_HOURS, DAY = 3600, 168, 86_400
MANY = 5000
EVEN = np.ones(3)


def errors_of(*columns: np.ndarray) -> np.ndarray:
    return np.stack(columns, axis=1)


def test_few_errors_leave_the_belief_as_it_is() -> None:
    few = np.ones((20, 2))
    weights, outdone = trust.weights_of(few, np.ones(20), np.array([3.0, 1.0]), np.zeros(20))
    assert weights.tolist() == [0.75, 0.25]
    assert not outdone


def test_a_member_that_errs_less_gets_more_weight() -> None:
    noise = np.random.default_rng(1).normal(size=(MANY, 3))
    weights, _ = trust.weights_of(noise * np.array([0.1, 0.2, 0.4]), np.ones(MANY), EVEN, np.ones(MANY))
    assert weights[0] > weights[1] > weights[2] >= 0
    assert weights.sum() == pytest.approx(1)


def test_members_that_err_to_opposite_sides_are_believed_together() -> None:
    noise = np.random.default_rng(2).normal(size=MANY)
    echo = np.random.default_rng(3).normal(size=MANY)
    # alone the third is the best (.9 of 1); half of each of the first two has no error at all
    weights, _ = trust.weights_of(errors_of(noise, -noise, 0.9 * echo), np.ones(MANY), EVEN, np.ones(MANY))
    assert weights[0] == pytest.approx(weights[1], abs=0.05)
    assert weights[2] < 0.2


def test_the_profile_is_told_to_be_better_only_where_it_clearly_is() -> None:
    noise = np.random.default_rng(4).normal(size=(MANY, 3))
    one = noise[:, 0]
    assert trust.weights_of(noise, np.ones(MANY), EVEN, 0.5 * one)[1]
    assert not trust.weights_of(noise, np.ones(MANY), EVEN, 0.9 * one)[1]


def test_errors_of_nothing_are_no_trouble() -> None:
    weights, outdone = trust.weights_of(np.zeros((50, 3)), np.ones(50), EVEN, np.zeros(50))
    assert weights == pytest.approx(np.full(3, 1 / 3))
    assert not outdone


def test_the_weeks_follow_the_level_of_the_last_day_not_by_half_or_in_full_and_no_odd_last_hour() -> None:
    values = np.full(5 * WEEK_HOURS, 100.0)
    values[-24:] = 200.0
    noon = np.array([12])
    said = weekly.seen(windows_of(values, HOUR), np.array([len(values)]), noon, 0.0).heights[0, 0]
    # the weeks had 100 at that hour; the last day is twice those days: 100, 100 * 2 ** .5 and 100 * 2
    assert np.exp(said) == pytest.approx([100.0, 141.42, 200.0], rel=1e-3)
    odd = values.copy()
    odd[-1] = 10.0  # a twentieth: the day's mean falls by 4 %, and what is said by no more
    other = weekly.seen(windows_of(odd, HOUR), np.array([len(values)]), noon, 0.0).heights[0, 0]
    assert np.exp(other) == pytest.approx([100.0, 141.42, 200.0], rel=0.045)


def test_weeks_that_are_not_known_say_nothing() -> None:
    said = weekly.seen(windows_of(np.full(5 * 24, 100.0), HOUR), np.array([5 * 24]), np.array([3]), 0.0)
    assert np.isnan(said.heights).all()


def test_a_neighbour_lends_its_errors_and_adds_no_samples() -> None:
    errors = np.array([[1.0, 5.0], [2.0, 6.0]])
    alone, lent = (residuals_of(errors, np.ones_like(errors), neighbours=count) for count in (0, 1))
    assert lent.samples.tolist() == alone.samples.tolist() == [2.0, 2.0]
    assert lent.known.tolist() == [2, 2]
    assert lent.ordered[:, 0][np.diff(lent.cumulative[:, 0], prepend=0) > 0].tolist() == [1.0, 2.0, 5.0, 6.0]
    # two of its own at 1 and two of the neighbour's at .7: its own end at 2 / 3.4
    assert lent.cumulative[lent.ordered[:, 0] == 2.0, 0].max() == pytest.approx(2 / 3.4)


def test_members_disagreement_is_carried_beyond_the_horizons_they_answer() -> None:
    members = np.array([[[0.0, 0.2], [0.0, 0.4], [0.0, np.nan]]])
    facts = facts_of(
        members,
        np.zeros((1, 3)),
        np.zeros(1),
        np.array([0.0, 300.0, 600.0]),
        apart=np.zeros((1, 3, 2)),
        restless=np.zeros((1, 3)),
    )
    # deviations .1 and .2, on the far horizon their mean; .01 is added before logarithms
    assert facts[0, :, 5] == pytest.approx(np.log([0.11, 0.21, 0.16]))


def test_demand_that_jumps_is_more_restless_than_demand_that_stands() -> None:
    still, jumping = np.full(48, 100.0), np.tile([50.0, 100.0], 24)
    end = np.array([48])
    calm, restless = (restlessness(values, HOUR, end, 0.0)[0] for values in (still, jumping))
    # a step of log 2 each time, and .001 is added: log(.694)
    assert restless == pytest.approx(np.full(3, np.log(np.log(2) + 1e-3)))
    assert calm == pytest.approx(np.full(3, np.log(1e-3)))


@pytest.mark.parametrize(("step_seconds", "days"), [(HOUR, 56), (HOUR // 2, 28)])
def test_in_hourly_demand_trust_looks_back_twice_as_long(step_seconds: int, days: int) -> None:
    windows = windows_of(np.ones(90 * DAY // step_seconds), step_seconds)
    oldest = (windows.length - learning.lessons(windows, 1.0).origins.min()) * step_seconds / DAY
    # The earliest origin of a day is at this time of day less up to 23 hours: a whole number of days back, at most.
    assert days - 1 < oldest <= days
