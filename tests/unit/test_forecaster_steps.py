"""The members that are grown: what they say of a past origin rests on nothing they should not have seen."""

from __future__ import annotations

import numpy as np
import pytest

from forecaster.forecast import booster, deviations, stepwise
from forecaster.forecast.interface import Past
from forecaster.forecast.windows import Array, windows_of

HOUR, DAY = 3600, 86_400
HOURS = 24 * 30
TEN_MINUTES = 600


def wavy(count: int) -> Array:
    """Return hours that go up and down by the day, with noise."""
    noise = np.random.default_rng(7).lognormal(0, 0.1, count)
    return (100 + 50 * np.sin(np.arange(count) / 24 * 2 * np.pi)) * noise


def grown_on(past: Past) -> tuple[booster.Booster, stepwise.Stepwise]:
    """Return both, grown on one history."""
    grown = booster.train(past)
    assert grown is not None
    return grown, stepwise.fit(grown, past)


def test_the_forest_that_is_blind_to_the_newest_weeks_says_the_same_whatever_they_held() -> None:
    values = wavy(HOURS)
    grown, steps = grown_on(Past(values, HOUR, 0))
    block = grown.block_seconds // HOUR  # 30 days over twice three folds: five days
    assert block == 5 * 24
    other = values.copy()  # but for the last day, whose level is the unit of both
    other[-block:-24] = np.random.default_rng(8).permutation(other[-block:-24])
    _, altered = grown_on(Past(other, HOUR, 0))
    earlier = Past(values[: -2 * block], HOUR, 0)
    at = np.array([len(earlier.values) - 30, len(earlier.values) - 3])
    for fold, same in ((0, True), (1, False)):
        folds = np.full((2, 1), fold)
        said = [stepwise.unseen(one, earlier, folds, at, np.array([0])) for one in (steps, altered)]
        assert np.isfinite(said[0]).all()
        assert np.array_equal(*said) == same


def test_steps_go_on_with_what_the_last_values_do() -> None:
    # Ten minutes high, ten low, and every day begins at random: no other day tells, the value before the last one does.
    random = np.random.default_rng(9)
    phases = random.integers(0, 2, 12).repeat(DAY // TEN_MINUTES)
    index = np.arange(len(phases))
    values = np.where((index + phases) % 2 == 0, 100.0, 200.0) * random.lognormal(0, 0.02, len(index))
    past = Past(values[:-6], TEN_MINUTES, 0)
    grown, steps = grown_on(past)
    found = np.exp(stepwise.centre(steps, past, np.arange(8))) - grown.offset
    assert len(found) == 6  # an hour
    assert found == pytest.approx(values[-6:], rel=0.15)


def test_steps_move_as_the_week_before_moved_whatever_the_level_was() -> None:
    # The hours of a week are drawn once and come back every week; the level of every day is drawn anew.
    random = np.random.default_rng(11)
    week, days = random.lognormal(0, 1, 7 * 24), 8 * 7
    values = 100 * np.resize(week, days * 24) * random.lognormal(0, 1, days).repeat(24)
    past = Past(values[: -5 * 24], HOUR, 0)
    _, steps = grown_on(past)
    at = np.array([hour for hour in range(len(past.values), len(values)) if hour % 24])  # not into a new level
    said = [stepwise.centre(steps, Past(values[:end], HOUR, 0), np.arange(1))[0] for end in at]
    missed = np.abs(np.exp(said) - steps.offset - values[at]) / values[at]
    assert np.median(missed) < 0.25  # the hours of a week differ by a factor of e


class Doubling:
    """Trees that expect demand to double with every stride, and count how often they are asked."""

    def __init__(self) -> None:
        self.asked = 0

    def predict(self, rows: Array) -> Array:
        self.asked += 1
        return np.full(len(rows), np.log(2))


def test_an_hour_of_minutes_takes_twelve_strides_and_lies_on_the_lines_between_their_middles() -> None:
    trees = Doubling()
    model = stepwise.Stepwise(trees, (), offset=1e-9, reach=60, stride=5)
    past = Past(np.append(np.full(2000, 7.0), np.full(5, 100.0)), 60, 0)
    found = np.exp(stepwise.centre(model, past, np.arange(90)))
    assert len(found) == 60  # an hour
    assert trees.asked == 12
    # The last five minutes are 100, their middle is minute -3; the strides' middles are the minutes 2, 7, ..., 57.
    assert found[[2, 7, 57]] == pytest.approx([200.0, 400.0, 100.0 * 2**12])
    assert found[0] == pytest.approx(100.0 * 2**0.6)  # three of the five minutes from -3 to 2
    assert found[59] == pytest.approx(found[57])  # nothing is known beyond the last middle


def test_the_booster_is_shown_nothing_after_the_origin() -> None:
    values = wavy(20 * DAY // 300)
    origin = 18 * DAY // 300 + 7
    other = values.copy()
    other[origin:] *= 1000
    horizons = np.array([0, 100, 285, 286, 287])  # around yesterday's would reach beyond the origin
    shown = [
        deviations.inputs(windows_of(series, 300), 0, np.array([origin]), horizons, 1.0)
        for series in (values, other, values[:origin])
    ]
    for rows, usual in shown[1:]:
        assert np.array_equal(rows, shown[0][0], equal_nan=True)
        assert np.array_equal(usual, shown[0][1])
