"""Whatever a history holds, the answer is a forecast or a reason: never a trace, never a silent zero."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecaster.forecast.demand import DemandError, clean_series
from forecaster.forecast.models import LearntHours, forecast_demand, history_to_read, learn, train_ahead
from forecaster.forecast.types import DemandSeries, Forecast, NoForecast

START = datetime(2026, 3, 2, tzinfo=UTC)  # a Monday
QUARTER = timedelta(minutes=15)
DAY = 96
LEVELS = (0.1, 0.5, 0.9, 0.99)
COLUMNS = [f"q{level:g}" for level in LEVELS]


def wave(days: float, *, seed: int = 1) -> np.ndarray:
    index = np.arange(round(days * DAY))
    noise = np.random.default_rng(seed).lognormal(0, 0.05, len(index))
    return (50 + 40 * np.sin(index / DAY * 2 * np.pi)) * noise


def rows_of(values: np.ndarray, start: datetime = START) -> pd.DataFrame:
    starts = pd.to_datetime(start.timestamp() + 900.0 * np.arange(len(values)), unit="s", utc=True)
    return pd.DataFrame({"ds": starts, "y": values})


def answer(rows: pd.DataFrame, origin: datetime) -> Forecast | NoForecast:
    series = clean_series("shop", rows, step=QUARTER)
    return forecast_demand(series, origin=origin, horizon=timedelta(hours=6), quantiles=LEVELS)


def numbers_of(forecast: Forecast | NoForecast) -> np.ndarray:
    assert isinstance(forecast, Forecast), forecast
    numbers = forecast.frame[COLUMNS].to_numpy()
    assert np.isfinite(numbers).all()
    assert (numbers >= 0).all()
    assert (np.diff(numbers, axis=1) >= 0).all()
    return numbers


def negative(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(y=rows["y"].where(rows.index % 7 != 0, -5.0))


def infinite(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(y=rows["y"].where(rows.index % 11 != 0, np.inf))


def blank(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(y=rows["y"].where(rows.index % 3 != 0, np.nan))


def repeated(rows: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([rows, rows.iloc[10:200]], ignore_index=True)


def unordered(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.sample(frac=1.0, random_state=1)


def clock_set_back(rows: pd.DataFrame) -> pd.DataFrame:
    """For two hours the source's clock went an hour back: these instants come twice, and an hour is missing."""
    moved = rows["ds"].where(~rows.index.isin(range(100, 108)), rows["ds"] - pd.Timedelta(hours=1))
    return rows.assign(ds=moved)


def clock_off_the_grid(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(ds=rows["ds"].where(rows.index < 300, rows["ds"] + pd.Timedelta(seconds=7)))


@pytest.mark.parametrize("spoil", [negative, infinite, blank, repeated, unordered, clock_set_back, clock_off_the_grid])
def test_a_spoilt_history_is_forecast_about_as_the_whole_one(spoil: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    rows, origin = rows_of(wave(5)), START + timedelta(days=5)
    whole, spoilt = numbers_of(answer(rows, origin)), numbers_of(answer(spoil(rows), origin))
    # the wave is between 10 and 90 with a noise of 5 %: a third of it is no zero, no spike, no other hour
    np.testing.assert_allclose(spoilt[:, 1], whole[:, 1], rtol=0.33, atol=5.0)


@pytest.mark.parametrize(
    ("values", "middle"), [(np.full(5 * DAY, 40.0), 40.0), (np.zeros(5 * DAY), 0.0), (np.array([40.0]), 40.0)]
)
def test_a_constant_a_zero_and_a_single_row_are_forecast_as_they_are(values: np.ndarray, middle: float) -> None:
    numbers = numbers_of(answer(rows_of(values), START + len(values) * QUARTER))
    np.testing.assert_allclose(numbers[:, 1], middle, rtol=0.02, atol=1e-6)


def test_a_spike_of_a_thousand_times_does_not_lift_the_median_of_the_next_day() -> None:
    values = wave(6)
    values[-40] *= 1000
    numbers = numbers_of(answer(rows_of(values), START + timedelta(days=6)))
    assert (numbers[:, 1] < 200).all()


def test_a_fall_to_nothing_is_not_answered_by_the_days_before() -> None:
    values = wave(6)
    values[-8:] = 0.0  # two hours: the service is switched off
    numbers = numbers_of(answer(rows_of(values), START + timedelta(days=6)))
    assert numbers[0, 1] < 5.0  # before, the wave was at its middle: 50


@settings(max_examples=15)
@given(
    values=st.lists(
        st.floats(allow_nan=True, allow_infinity=True, min_value=None, max_value=None), min_size=1, max_size=60
    ),
    moved=st.lists(st.integers(-4000, 4000), min_size=60, max_size=60),
    days=st.integers(0, 4),
)
def test_no_history_ends_in_a_trace(values: list[float], moved: list[int], days: int) -> None:
    whole = np.concatenate([wave(days), np.array(values)])
    rows = rows_of(whole)
    seconds = np.zeros(len(whole))
    seconds[-len(values) :] = np.array(moved[: len(values)])  # the clock steps to and fro
    rows = rows.assign(ds=rows["ds"] + pd.to_timedelta(seconds, unit="s"))
    try:
        forecast = answer(rows, START + len(whole) * QUARTER)
    except DemandError:
        return  # says which series, what was expected and what came
    if isinstance(forecast, NoForecast):
        assert forecast.reason
        return
    numbers_of(forecast)


@settings(max_examples=3)
@given(weeks=st.integers(-40, 40))
def test_a_history_moved_by_whole_weeks_gives_the_same_numbers(weeks: int) -> None:
    values, moved = wave(5, seed=3), timedelta(weeks=weeks)
    origin = START + timedelta(days=5, minutes=30)
    plain = numbers_of(answer(rows_of(np.append(values, values[:2])), origin))
    other = numbers_of(answer(rows_of(np.append(values, values[:2]), START + moved), origin + moved))
    np.testing.assert_allclose(other, plain, rtol=1e-9)


def test_the_forecast_says_how_much_history_it_rests_on() -> None:
    def ground(days: float) -> str:
        forecast = answer(rows_of(wave(days)), START + timedelta(days=days))
        assert isinstance(forecast, Forecast)
        return forecast.notes[0]

    assert "1.0 h of history" in ground(1 / 24)
    assert "2.0 days of history: days are compared" in ground(2)
    assert "8.0 days of history: days and weeks" in ground(8)


def test_learning_ahead_makes_the_same_forecast_as_learning_when_asked() -> None:
    series = clean_series("shop", rows_of(wave(5)), step=QUARTER)
    origin, learnt = START + timedelta(days=5), LearntHours()
    learn(series, origin=origin, learnt=learnt)
    assert len(learnt.trained) == len(learnt.fits) == 1
    kept = forecast_demand(series, origin=origin, horizon=QUARTER, quantiles=LEVELS, learnt=learnt)
    fresh = forecast_demand(series, origin=origin, horizon=QUARTER, quantiles=LEVELS)
    assert numbers_of(kept).tolist() == numbers_of(fresh).tolist()
    learn(clean_series("shop", rows_of(np.full(3, np.nan)), step=QUARTER), origin=START + QUARTER, learnt=learnt)
    assert len(learnt.fits) == 1  # nothing was known: nothing was learnt


def test_what_was_trained_ahead_serves_from_an_hour_after_its_half_day_and_changes_no_answer() -> None:
    series = clean_series("shop", rows_of(wave(6)), step=QUARTER)
    ended, learnt = START + timedelta(days=5), LearntHours()  # at midnight
    train_ahead(series, origin=ended + QUARTER, learnt=learnt)
    ahead = dict(learnt.trained)
    for origin, uses in ((ended + timedelta(minutes=45), False), (ended + timedelta(hours=1), True)):
        kept = forecast_demand(series, origin=origin, horizon=QUARTER, quantiles=LEVELS, learnt=learnt)
        fresh = forecast_demand(series, origin=origin, horizon=QUARTER, quantiles=LEVELS)
        assert numbers_of(kept).tolist() == numbers_of(fresh).tolist()
        # Before that hour is over the training of the half day before is made and used beside it.
        assert len(learnt.trained) == 2
        assert (next(reversed(learnt.trained)) in ahead) is False
        only = LearntHours(trained=dict(ahead))
        forecast_demand(series, origin=origin, horizon=QUARTER, quantiles=LEVELS, learnt=only)
        assert (only.trained == ahead) is uses


def test_a_window_that_rolls_forecasts_as_the_whole_history_does() -> None:
    values = np.abs(np.random.default_rng(1).normal(50, 5, 60 * 24))
    starts = pd.to_datetime(START.timestamp() + 3600.0 * np.arange(len(values)), unit="s", utc=True)
    hour = timedelta(hours=1)
    whole = DemandSeries("shop", hour, pd.DataFrame({"ds": starts, "y": values}))
    read = history_to_read(hour) // hour
    assert read == 26 * 7 * 24 + 14 + 2  # clocks may have been set back, by two hours at most
    learnt = LearntHours()
    for back in (5, 0):  # one memory, two windows that begin at different rows
        end = len(values) - back
        window = DemandSeries("shop", hour, whole.frame.iloc[max(0, end - 50 * 24) : end].reset_index(drop=True))
        origin = START + end * hour
        rolled = forecast_demand(window, origin=origin, horizon=hour, quantiles=LEVELS, learnt=learnt)
        fresh = forecast_demand(window, origin=origin, horizon=hour, quantiles=LEVELS)
        if back:
            assert numbers_of(rolled).tolist() == numbers_of(fresh).tolist()
    assert len({until for _name, until in learnt.fits}) == 2
