"""Scores are those of the truth, by hand; baselines do what their names say; nothing after an origin is seen."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from forecaster.forecast import baselines
from forecaster.forecast.skill import SkillError, backtest_forecast
from forecaster.forecast.types import DemandSeries

START = datetime(2026, 3, 2, tzinfo=UTC)
HOUR = timedelta(hours=1)


def hourly(values: np.ndarray) -> DemandSeries:
    starts = pd.to_datetime(START.timestamp() + 3600 * np.arange(len(values)), unit="s", utc=True)
    return DemandSeries("shop", HOUR, pd.DataFrame({"ds": starts, "y": values.astype(float)}))


def waves(days: int, seed: int = 1) -> np.ndarray:
    hour = np.arange(days * 24)
    noise = np.random.default_rng(seed).lognormal(0, 0.05, len(hour))
    return (100 + 60 * np.sin(hour / 24 * 2 * np.pi)) * noise


def test_the_naive_forecasts_are_as_yesterday_and_as_last_week() -> None:
    values = np.arange(400.0)
    ends, horizons = np.array([300, 400]), np.array([0, 23, 24])
    # a day is 24 steps: 300 - 24 = 276; 23 steps on 299; step 24 is the same hour again, 276
    found = baselines.naive(baselines.DAY_SECONDS)(values, ends, horizons, 3600)
    np.testing.assert_array_equal(found, [[276, 299, 276], [376, 399, 376]])
    weekly = baselines.naive(baselines.WEEK_SECONDS)(values, ends, horizons, 3600)
    np.testing.assert_array_equal(weekly, [[132, 155, 156], [232, 255, 256]])  # a week is 168 steps


@pytest.mark.parametrize("name", list(baselines.BASELINES))
def test_a_baseline_learns_a_pure_wave_and_looks_at_nothing_after_its_end(name: str) -> None:
    hour = np.arange(40 * 24)
    wave = 100 + 60 * np.sin(hour / 24 * 2 * np.pi)
    ends, horizons = np.array([30 * 24]), np.arange(24)
    found = baselines.BASELINES[name](wave, ends, horizons, 3600)
    shuffled = np.concatenate([wave[: 30 * 24], np.random.default_rng(1).permutation(wave[30 * 24 :])])
    np.testing.assert_array_equal(found, baselines.BASELINES[name](shuffled, ends, horizons, 3600))
    assert np.abs(found[0] - wave[30 * 24 : 31 * 24]).mean() < 6.0  # a tenth of the wave


def test_a_gap_is_filled_from_the_day_before_and_never_from_after() -> None:
    values = np.arange(30.0)
    values[[0, 5, 26]] = np.nan
    whole = baselines.filled(values, 3600)
    assert (whole[0], whole[5], whole[26]) == (0.0, 4.0, 2.0)  # nothing before; the last value; a day before


def test_the_yardstick_scores_one_and_a_model_that_sees_the_wave_scores_less() -> None:
    report = backtest_forecast(hourly(waves(60)), origins=5)
    by_name = {skill.model: skill for skill in report.models}
    assert report.yardstick == "naive_week"
    assert report.points == 5 * 24
    assert by_name["naive_week"].relative_mase == 1.0
    assert (by_name["ours"].relative_mase or 9) < 0.9  # last week's noise is on top of this week's: ours averages it
    assert 0.8 <= by_name["ours"].coverage["0.9"] <= 1.0
    low, high = by_name["ours"].coverage_interval["0.9"]
    assert low <= by_name["ours"].coverage["0.9"] <= high


def test_the_same_seed_gives_the_same_report() -> None:
    series = hourly(waves(14))
    assert backtest_forecast(series, origins=2, seed=7) == backtest_forecast(series, origins=2, seed=7)


def test_a_short_history_is_measured_by_the_day_before() -> None:
    assert backtest_forecast(hourly(waves(14)), origins=3).yardstick == "naive_day"


@pytest.mark.parametrize(
    ("values", "expected"),
    [(waves(2), "a last third of"), (np.concatenate([waves(10), np.full(240, np.nan)]), "gaps only")],
)
def test_what_cannot_be_scored_is_refused_with_the_reason(values: np.ndarray, expected: str) -> None:
    with pytest.raises(SkillError, match=expected):
        backtest_forecast(hourly(values))
