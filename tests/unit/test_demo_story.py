"""Which window the demo plays, how high and when."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from tidegauge.demo.story import StoryError, tell_story

ENDS_AT = datetime(2026, 1, 15, 12, 0, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)


def curve_with_ramps(*, step_minutes: int = 1, days: int = 3) -> pd.DataFrame:
    """10 requests/s; every day at 08:00 up to 30 within 30 minutes, on the last day to 70; down again from 11:00."""
    step = timedelta(minutes=step_minutes)
    times = pd.date_range("2000-01-01", periods=int(timedelta(days=days) / step), freq=step, tz="UTC")
    hour = times.hour + times.minute / 60
    height = np.where(times.day == days, 60.0, 20.0)
    shape = np.clip((hour - 8) / 0.5, 0, 1) - np.clip((hour - 11) / 1.0, 0, 1)
    return pd.DataFrame({"timestamp": times, "rps": 10 + height * shape})


def story(rates: pd.DataFrame, *, length: timedelta = 8 * HOUR):
    return tell_story(rates, source="test", length=length, peak_rps=2.0, ends_at=ENDS_AT)


def test_the_window_ends_at_the_present_floored_to_the_step_so_that_nothing_lies_in_the_future():
    told = story(curve_with_ramps())

    assert told.window_to == datetime(2026, 1, 15, 12, 0, tzinfo=UTC)
    assert told.window_to - told.window_from == 8 * HOUR


def test_the_window_holds_the_steepest_rise_of_the_last_third_with_a_lead_in_and_the_fall_after_it():
    told = story(curve_with_ramps())

    played = told.curve[told.curve["timestamp"] <= told.window_to].set_index("timestamp")["rps"]
    # The 5-minute mean blurs the foot of the ramp by up to two minutes.
    assert told.rise_at - told.window_from >= HOUR - timedelta(minutes=2)
    assert played.loc[told.rise_at + timedelta(minutes=33)] == pytest.approx(2.0)
    # Down to 10 of 70 after the fall: 2.0 * 10 / 70.
    assert played.loc[told.rise_at + timedelta(hours=4, minutes=5) :].min() == pytest.approx(2.0 / 7)


def test_rates_are_scaled_so_that_the_window_peaks_where_asked_and_history_keeps_their_proportion():
    told = story(curve_with_ramps())

    assert told.curve["rps"].max() == pytest.approx(2.0)
    # History is in requests per one-minute step: the ordinary day's peak is 30/70 of the last one's, times 60 s.
    assert told.history["value"].max() == pytest.approx(2.0 * 30 / 70 * 60)


def test_history_and_window_meet_without_gap_or_overlap():
    told = story(curve_with_ramps(step_minutes=5))

    assert told.history["timestamp"].iloc[-1] + told.step == told.curve["timestamp"].iloc[0]
    assert told.curve["timestamp"].iloc[0] == told.window_from


def test_a_coarse_curve_is_interpolated_to_five_minutes():
    told = story(curve_with_ramps(step_minutes=60))

    assert told.step == timedelta(minutes=5)


def test_gaps_in_the_curve_are_bridged_and_keep_the_grid():
    rates = curve_with_ramps()

    told = story(rates.drop(index=range(100, 130)))

    steps = pd.concat([told.history["timestamp"], told.curve["timestamp"]]).diff().dropna()
    assert set(steps) == {timedelta(minutes=1)}


@pytest.mark.parametrize("rows", [0, 2, 200])
def test_a_curve_too_short_for_history_and_window_is_refused_with_what_was_expected(rows: int):
    with pytest.raises(StoryError, match=r"too short|at least three rows"):
        story(curve_with_ramps().iloc[:rows])
