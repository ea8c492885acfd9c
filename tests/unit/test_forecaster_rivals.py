"""What others ship, as they ship it: waves gone on with, a straight line, boosted lags step by step."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest

from forecaster.forecast.members import MODELS
from forecaster.forecast.rivals import RIVALS, fourier, line, recursive

HOUR = 3600
AHEAD = np.arange(30)


def wave(hours: np.ndarray) -> np.ndarray:
    return 100 + 50 * np.sin(hours / 24 * 2 * np.pi)


def test_a_wave_goes_on_as_a_wave() -> None:
    values = wave(np.arange(14 * 24))
    found = fourier(values, np.array([len(values)]), AHEAD, HOUR)[0]
    assert found == pytest.approx(wave(len(values) + AHEAD), abs=0.1)


def test_a_line_goes_on_rising_and_never_falls_below_nothing() -> None:
    rising = np.arange(48.0)
    assert line(rising, np.array([48]), np.array([0, 9]), HOUR)[0] == pytest.approx([48.0, 57.0])
    assert line(rising[::-1].copy(), np.array([48]), np.array([0, 9]), HOUR)[0].tolist() == [0.0, 0.0]


def test_boosted_lags_learn_a_wave_and_rest_on_their_own_answers() -> None:
    values = wave(np.arange(21 * 24))
    ends = np.array([len(values), len(values) - 24])
    found = recursive(values, ends, AHEAD, HOUR)
    assert np.abs(found[0] - wave(len(values) + AHEAD)).mean() < 5  # of a wave of +- 50
    assert np.abs(found[1] - wave(len(values) - 24 + AHEAD)).mean() < 5


@pytest.mark.parametrize("name", list(RIVALS))
def test_an_end_is_answered_from_what_was_before_it(name: str) -> None:
    values = wave(np.arange(21 * 24)) * np.random.default_rng(1).lognormal(0, 0.1, 21 * 24)
    ends, changed = np.array([20 * 24, 15 * 24]), values.copy()
    changed[20 * 24 :] = 9.0
    same = [RIVALS[name](history, ends, AHEAD, HOUR) for history in (values, changed)]
    assert np.array_equal(*same)
    changed[15 * 24 :] = 9.0
    assert np.array_equal(RIVALS[name](values, ends, AHEAD, HOUR)[1], RIVALS[name](changed, ends, AHEAD, HOUR)[1])


def test_prophet_is_offered_where_the_extra_is_installed_and_only_there() -> None:
    assert ("prophet" in MODELS) == (find_spec("prophet") is not None)
