"""The own shape: steep mornings, evening peaks, low weekends, and one curve whatever range is asked for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from loadgen.shape import daily_weekly_rps, live_curve

MONDAY = datetime(2026, 11, 16, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture(scope="module")
def week() -> pd.Series:
    frame = daily_weekly_rps(MONDAY, MONDAY + timedelta(days=7), step=MINUTE, peak_rps=100, seed=1)
    return frame.set_index("timestamp")["rps"]


def test_the_morning_ramp_of_a_weekday_takes_about_half_an_hour(week: pd.Series) -> None:
    before, after = week.at_time("07:30").iloc[0], week.at_time("08:30").iloc[0]
    steep = week.at_time("08:15").iloc[0] - week.at_time("07:45").iloc[0]
    assert after > 3.5 * before
    assert steep > 0.7 * (after - before)  # a logistic ramp has 80 % of its rise there; noise takes some


def test_the_peak_of_a_weekday_is_in_the_evening_and_near_the_peak_asked_for(week: pd.Series) -> None:
    for day in range(5):
        of_day = week.iloc[day * 1440 : (day + 1) * 1440]
        assert 18 <= of_day.idxmax().hour <= 20
        assert of_day.max() == pytest.approx(100, rel=0.2)  # the noise is clipped at 20 %


def test_a_weekend_is_lower_and_later(week: pd.Series) -> None:
    friday, saturday = week.iloc[4 * 1440 : 5 * 1440], week.iloc[5 * 1440 : 6 * 1440]
    assert saturday.max() < 0.85 * friday.max()
    assert saturday.at_time("08:45").iloc[0] < 0.6 * friday.at_time("08:45").iloc[0]


def test_history_and_what_follows_are_one_curve() -> None:
    whole = daily_weekly_rps(MONDAY, MONDAY + timedelta(days=3), step=MINUTE, peak_rps=5, seed=9)
    later = daily_weekly_rps(MONDAY + timedelta(days=1), MONDAY + timedelta(days=2), step=MINUTE, peak_rps=5, seed=9)
    assert whole["rps"].iloc[1440:2880].tolist() == pytest.approx(later["rps"].tolist())
    assert whole["timestamp"].iloc[1440] == later["timestamp"].iloc[0]


def test_the_live_curve_is_the_shape_wherever_in_the_day_it_was_started() -> None:
    morning = live_curve(MONDAY + timedelta(hours=3), peak_rps=5, seed=9)
    evening = live_curve(MONDAY + timedelta(hours=20), peak_rps=5, seed=9)
    noon = (MONDAY + timedelta(hours=12)).timestamp()
    assert morning.expected(noon, noon + 600) == evening.expected(noon, noon + 600) > 0


def test_a_range_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="start < end"):
        daily_weekly_rps(MONDAY, MONDAY, step=MINUTE, peak_rps=1)
    with pytest.raises(ValueError, match="aware"):
        daily_weekly_rps(MONDAY.replace(tzinfo=None), MONDAY, step=MINUTE, peak_rps=1)
