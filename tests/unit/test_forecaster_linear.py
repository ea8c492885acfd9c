"""The lines: each pace forgets at its own rate, and what is said of a past origin was learnt before it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from forecaster.forecast import linear
from forecaster.forecast.line_inputs import inputs
from forecaster.forecast.rows import Rows
from forecaster.forecast.windows import Array, Windows, windows_of

HOUR, DAY = 3600, 86_400
DAYS = 20
END = DAYS * DAY  # the history begins at the epoch
CHANGED_DAYS = 4


def history() -> Windows:
    """Return hours that go up and down by the day, with noise."""
    index = np.arange(DAYS * 24)
    noise = np.random.default_rng(5).lognormal(0, 0.1, len(index))
    return windows_of((100 + 50 * np.sin(index / 24 * 2 * np.pi)) * noise, HOUR)


def rows(windows: Windows) -> Rows:
    """Return rows whose targets are the growth of the day before, or its opposite since the change of regime."""
    origins, horizons = np.arange(3 * 24, windows.length - 1), np.array([0, 1, 3, 8, 20])
    shown, _ = inputs(windows, 0, origins, horizons, 1.0)
    instants = (origins[:, None] + horizons[None, :]) * HOUR
    known = instants < END
    growth = shown[..., 12]  # three of time and nine levels come before yesterday's growth
    target = np.where(instants >= END - CHANGED_DAYS * DAY, -growth, growth)
    return Rows(shown[known], target[known], instants[known])


def shown_at(windows: Windows, origins: Array) -> Array:
    """Return what the lines are shown of origins, at two horizons."""
    return inputs(windows, 0, origins, np.array([0, 5]), 1.0)[0]


def test_the_shorter_a_pace_the_sooner_it_follows_a_change_of_regime() -> None:
    windows = history()
    learnt_from = rows(windows)
    newest = learnt_from.instants >= END - DAY
    answers = linear.fit(learnt_from, END, 28).answers(learnt_from.inputs[newest])
    error = np.abs(answers - learnt_from.target[newest, None]).mean(axis=0)
    # Four of seventeen days say the opposite: of three days' half life that is most of the weight, of forty a quarter.
    assert error[0] < error[1] < error[2]


def test_a_spike_now_and_then_hardly_moves_the_lines() -> None:
    windows = history()
    learnt_from = rows(windows)
    growth = learnt_from.inputs[:, 12]
    spiked = np.where(np.arange(len(growth)) % 20 == 0, growth + 3.0, growth)
    newest = learnt_from.instants >= END - DAY
    answers = linear.fit(replace(learnt_from, target=spiked), END, 28).answers(learnt_from.inputs[newest])
    # One row in twenty is 3 too high: lines to which all rows are alike would be 0.15 too high. The quick pace has
    # forgotten the first days, whose spikes nothing could yet tell from the rest.
    assert abs((answers[:, 0] - growth[newest]).mean()) < 0.15 / 2


def test_what_is_said_of_a_past_origin_was_learnt_from_nothing_after_it() -> None:
    windows = history()
    learnt_from = rows(windows)
    later = learnt_from.instants >= END - 2 * DAY
    other = replace(learnt_from, target=np.where(later, 9.0, learnt_from.target))
    before, on_the_last_day = np.array([(DAYS - 2) * 24 - 5]), np.array([DAYS * 24 - 5])
    for origins, same in ((before, True), (on_the_last_day, False)):
        said = [
            linear.unseen(linear.fit(taught, END, 28), shown_at(windows, origins), origins * HOUR)
            for taught in (learnt_from, other)
        ]
        assert np.isfinite(said[0]).all()
        assert np.array_equal(*said) == same


def test_an_origin_before_enough_was_learnt_is_answered_by_none() -> None:
    windows = history()
    model = linear.fit(rows(windows), END, 28)
    # The rows begin on the fourth day, 24 origins and 5 horizons a day: on the fifth there are 120, not 500.
    origins = np.array([4 * 24])
    found = linear.unseen(model, shown_at(windows, origins), origins * HOUR)
    assert np.isnan(found).all()
