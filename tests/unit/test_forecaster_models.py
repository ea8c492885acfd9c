"""What any forecast must hold: no look ahead, ordered quantiles, scale, and an answer or a reason for any history."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecaster.forecast import predict
from forecaster.forecast.models import ForecastError, LearntHours, forecast_demand
from forecaster.forecast.types import DemandSeries, Forecast, NoForecast
from forecaster.forecast.windows import windows_of

START = datetime(2026, 3, 2, tzinfo=UTC)  # a Monday
FIVE = timedelta(minutes=5)
DAY = 288
QUANTILES = (0.1, 0.5, 0.9, 0.95, 0.99)
LEVELS = ["q0.1", "q0.5", "q0.9", "q0.95", "q0.99"]


def series_of(values: np.ndarray, step: timedelta = FIVE) -> DemandSeries:
    starts = pd.to_datetime(START.timestamp() + step.total_seconds() * np.arange(len(values)), unit="s", utc=True)
    return DemandSeries("shop", step, pd.DataFrame({"ds": starts, "y": values.astype(float)}))


def days_of(count: int, shape: Callable[[np.ndarray], np.ndarray], *, noise: float = 0.05, seed: int = 1) -> np.ndarray:
    index = np.arange(count * DAY)
    random = np.random.default_rng(seed)
    return np.maximum(shape(index % DAY / DAY * 24) * random.lognormal(0, noise, len(index)), 0)


def wave(hour: np.ndarray) -> np.ndarray:
    return 50 + 40 * np.sin((hour - 8) / 24 * 2 * np.pi)


def answer(series: DemandSeries, origin: datetime, hours: float = 24) -> Forecast:
    forecast = forecast_demand(series, origin=origin, horizon=timedelta(hours=hours), quantiles=QUANTILES)
    assert isinstance(forecast, Forecast)
    return forecast


def test_not_one_bit_changes_when_everything_from_the_origin_on_is_shuffled() -> None:
    values = days_of(10, wave)
    origin_index = 8 * DAY + 101
    origin = START + origin_index * FIVE
    shuffled = values.copy()
    shuffled[origin_index:] = np.random.default_rng(2).permutation(shuffled[origin_index:]) * 1000
    truth, other = answer(series_of(values), origin), answer(series_of(shuffled), origin)
    cut = answer(series_of(values[:origin_index]), origin)
    pd.testing.assert_frame_equal(truth.frame, other.frame, check_exact=True)
    pd.testing.assert_frame_equal(truth.frame, cut.frame, check_exact=True)
    assert truth.watermark == other.watermark == origin


def test_the_first_point_is_the_step_that_starts_at_the_origin_floored() -> None:
    series = series_of(days_of(3, wave))
    forecast = answer(series, START + 2 * DAY * FIVE + timedelta(seconds=299), hours=1)
    assert forecast.frame["ds"].iloc[0] == START + 2 * DAY * FIVE == forecast.origin
    assert len(forecast.frame) == 12  # one hour in steps of five minutes
    assert list(forecast.frame.columns) == ["ds", *LEVELS]


def test_a_longer_horizon_does_not_change_the_nearer_points() -> None:
    series, origin = series_of(days_of(10, wave)), START + timedelta(days=9, hours=3)
    short, long = answer(series, origin, hours=2).frame, answer(series, origin, hours=60).frame
    pd.testing.assert_frame_equal(short, long.iloc[: len(short)], check_exact=True)
    assert len(long) == 720


def test_keeping_what_was_learnt_changes_no_answer() -> None:
    series, learnt = series_of(days_of(6, wave)), LearntHours()
    for minutes in (0, 50, 60, 125):
        origin = START + timedelta(days=5, minutes=minutes)
        kept = forecast_demand(series, origin=origin, horizon=timedelta(hours=1), quantiles=QUANTILES, learnt=learnt)
        assert isinstance(kept, Forecast)
        pd.testing.assert_frame_equal(kept.frame, answer(series, origin, hours=1).frame, check_exact=True)
    assert len(learnt.fits) == 2  # 1:00 and 2:00; that of 0:00 is forgotten


@settings(max_examples=25)
@given(
    values=st.lists(st.floats(0, 1e6) | st.just(float("nan")), min_size=1, max_size=900),
    quantiles=st.sets(st.floats(0.01, 0.99), min_size=1, max_size=5),
    minutes=st.sampled_from([1, 5, 60, 1440]),
)
def test_any_history_gives_ordered_quantiles_or_a_reason(
    values: list[float], quantiles: set[float], minutes: int
) -> None:
    step = timedelta(minutes=minutes)
    series = series_of(np.array(values), step)
    forecast = forecast_demand(
        series, origin=START + len(values) * step, horizon=26 * step, quantiles=sorted(quantiles)
    )
    if isinstance(forecast, NoForecast):
        assert np.isnan(values).all()
        return
    numbers = forecast.frame.drop(columns="ds").to_numpy()
    assert np.isfinite(numbers).all()
    assert (numbers >= 0).all()
    assert (np.diff(numbers, axis=1) >= 0).all()


@settings(max_examples=4)
@given(factor=st.floats(1e-3, 1e6), seed=st.integers(0, 100))
def test_a_forecast_scales_with_its_history(factor: float, seed: int) -> None:
    values, origin = days_of(5, wave, seed=seed), START + timedelta(days=4, hours=5)
    plain, scaled = answer(series_of(values), origin).frame[LEVELS], answer(series_of(values * factor), origin).frame
    np.testing.assert_allclose(scaled[LEVELS].to_numpy(), plain.to_numpy() * factor, rtol=1e-6)


def test_a_constant_history_is_forecast_as_it_is() -> None:
    frame = answer(series_of(np.full(10 * DAY, 40.0)), START + timedelta(days=10)).frame
    np.testing.assert_allclose(frame["q0.5"], 40.0, rtol=0.01)
    np.testing.assert_allclose(frame["q0.99"], 40.0, rtol=0.1)


def test_beyond_a_day_the_copies_of_other_days_go_on() -> None:
    values = days_of(9, wave, seed=8)
    frame = answer(series_of(values), START + timedelta(days=9), hours=72).frame
    days = frame["q0.5"].to_numpy().reshape(3, DAY)
    # a wave from 10 to 90 is still a wave on the third day: its noon is far above its night
    assert days[2].max() > 3 * days[2].min()
    np.testing.assert_allclose(days[2].max(), days[0].max(), rtol=0.25)


def test_a_history_of_zeros_is_forecast_as_zero() -> None:
    frame = answer(series_of(np.zeros(3 * DAY)), START + timedelta(days=3)).frame
    np.testing.assert_allclose(frame[LEVELS].to_numpy(), 0.0, atol=1e-6)


def test_one_row_is_forecast_as_itself_with_a_wide_band() -> None:
    frame = answer(series_of(np.array([30.0])), START + FIVE, hours=1).frame
    np.testing.assert_allclose(frame["q0.5"], 30.0, rtol=1e-6)
    assert (frame["q0.95"] > 33.0).all()
    assert (frame["q0.1"] < 27.0).all()


def test_a_wave_is_followed_through_the_day_and_covered_by_its_quantiles() -> None:
    values = days_of(22, wave, noise=0.05, seed=4)
    origin_index = 21 * DAY
    frame = answer(series_of(values[:origin_index]), START + origin_index * FIVE).frame
    actual = values[origin_index:]
    # the noise has a deviation of 5 %: a mean error under 6 % leaves nothing of the wave (44 %) unexplained
    assert np.mean(np.abs(frame["q0.5"] / actual - 1)) < 0.06
    assert np.mean(actual <= frame["q0.99"]) > 0.95
    assert 0.2 < np.mean(actual <= frame["q0.5"]) < 0.8  # one origin: its level's error is shared by the whole day


def test_a_ramp_that_came_at_this_hour_on_most_days_is_inside_the_upper_quantile() -> None:
    def kick_off(hour: np.ndarray) -> np.ndarray:
        return np.where((hour >= 14) & (hour < 16), 100.0, 20.0)

    values = days_of(14, kick_off, seed=5)
    origin = START + timedelta(days=13, hours=13, minutes=45)
    frame = answer(series_of(values), origin, hours=1).frame.set_index("ds")
    assert (frame["q0.95"][origin + timedelta(minutes=20) :] > 95.0).all()


def test_the_level_of_the_last_minutes_corrects_the_copies_of_other_days() -> None:
    values = days_of(15, wave, seed=6)
    values[14 * DAY :] *= 2.0  # today everything is twice as much
    origin_index = 14 * DAY + DAY // 2
    frame = answer(series_of(values), START + origin_index * FIVE, hours=1).frame
    # The copies of other days alone would say 0.5.
    assert np.mean(frame["q0.5"] / values[origin_index : origin_index + 12]) == pytest.approx(1.0, abs=0.2)


def test_a_gap_of_hours_before_the_origin_is_bridged_and_the_watermark_tells() -> None:
    values = days_of(8, wave, seed=7)
    values[-36:] = np.nan  # three hours
    end = START + len(values) * FIVE
    forecast = answer(series_of(values), end, hours=6)
    assert forecast.watermark == end - timedelta(hours=3)
    assert forecast.frame["q0.5"].between(1, 200).all()


def test_nothing_before_the_origin_and_nothing_but_gaps_are_reasons_not_numbers() -> None:
    early = forecast_demand(series_of(np.ones(10)), origin=START, horizon=FIVE, quantiles=[0.5])
    assert isinstance(early, NoForecast)
    assert "no rows" in early.reason
    blank = forecast_demand(series_of(np.full(10, np.nan)), origin=START + 10 * FIVE, horizon=FIVE, quantiles=[0.5])
    assert isinstance(blank, NoForecast)
    assert "gap" in blank.reason


@pytest.mark.parametrize("quantiles", [[], [0.0, 0.5], [0.5, 1.0], [95.0]])
def test_quantiles_outside_zero_and_one_are_refused(quantiles: list[float]) -> None:
    with pytest.raises(ForecastError, match="quantiles inside"):
        forecast_demand(series_of(np.ones(10)), origin=START + FIVE, horizon=FIVE, quantiles=quantiles)


def test_predict_takes_a_frame_and_gives_a_frame() -> None:
    history = series_of(days_of(3, wave)).frame.sample(frac=1.0, random_state=1)  # any order
    frame = predict(history, origin=START + timedelta(days=3), horizon=timedelta(hours=1), quantiles=[0.5, 0.95])
    assert list(frame.columns) == ["ds", "q0.5", "q0.95"]
    assert len(frame) == 12
    with pytest.raises(ForecastError, match="no rows before the origin"):
        predict(history, origin=START, horizon=timedelta(hours=1), quantiles=[0.5])


def test_window_means_are_of_known_rows_only() -> None:
    windows = windows_of(np.array([2.0, np.nan, 4.0, 6.0]), 300)
    # [0, 4): (2 + 4 + 6) / 3 = 4; [1, 2): nothing known; [3, 9): 6; before the first row: nothing
    found = np.exp(windows.log_mean(np.array([0, 1, 3, -5]), np.array([4, 2, 9, 0]), 1.0)) - 1.0
    np.testing.assert_allclose(found, [4.0, np.nan, 6.0, np.nan])
