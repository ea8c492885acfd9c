"""Weeks and months ahead: days, courses and first passages, derived by hand; and refusals with a reason."""

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from typer.testing import CliRunner

from forecaster.calendar.sources import zone_of
from forecaster.commands import mount
from forecaster.forecast.types import DemandSeries
from forecaster.outlook.daily import days_of
from forecaster.outlook.odd_days import without_odd_days
from forecaster.outlook.outlook import NoOutlook, Outlook, OutlookError, outlook_of, passing_of, quantiles_of
from forecaster.outlook.paths import Paths, members_of, paths_of

UTC_ZONE = zone_of("UTC")
START = datetime(2026, 1, 5, tzinfo=UTC)  # a Monday


def hourly(values: np.ndarray, *, start: datetime = START) -> DemandSeries:
    ds = pd.date_range(start, periods=len(values), freq="h")
    return DemandSeries("shop", timedelta(hours=1), pd.DataFrame({"ds": ds, "y": values}))


def test_a_day_has_its_mean_and_its_busiest_hour_and_the_last_one_must_be_over() -> None:
    values = np.concatenate([np.arange(24.0), np.full(24, 5.0), np.full(12, 9.0)])
    days = days_of(hourly(values), UTC_ZONE, until=START + timedelta(hours=60))
    assert (days.first, days.mean.tolist(), days.peak.tolist()) == (date(2026, 1, 5), [11.5, 5.0], [23.0, 5.0])


def test_a_day_with_too_many_gaps_is_a_gap() -> None:
    values = np.ones(72)
    values[:6] = np.nan  # 18 of 24 hours are known: just enough
    values[24:31] = np.nan  # 17 of 24
    days = days_of(hourly(values), UTC_ZONE, until=START + timedelta(hours=72))
    assert np.isfinite(days.peak).tolist() == [True, False, True]


def test_days_are_local_and_as_long_as_clocks_make_them() -> None:
    # Europe/Berlin, 29 March 2026: from 28th 23:00 UTC to 29th 22:00 UTC, 23 hours.
    start = datetime(2026, 3, 27, 23, tzinfo=UTC)
    values = np.concatenate([np.full(24, 1.0), np.full(23, 2.0), np.full(24, 3.0)])
    days = days_of(hourly(values, start=start), zone_of("Europe/Berlin"), until=start + timedelta(hours=71))
    assert (days.first, days.mean.tolist()) == (date(2026, 3, 28), [1.0, 2.0, 3.0])


def test_steps_of_five_minutes_make_hours_first() -> None:
    ds = pd.date_range(START, periods=288, freq="5min")
    values = np.ones(288)
    values[0] = 13.0  # one step of twelve: the hour's mean is (13 + 11) / 12 = 2
    series = DemandSeries("shop", timedelta(minutes=5), pd.DataFrame({"ds": ds, "y": values}))
    assert days_of(series, UTC_ZONE, until=START + timedelta(days=1)).peak.tolist() == [2.0]


def test_a_week_that_repeats_itself_goes_on_and_every_course_is_the_centre() -> None:
    week = np.array([10.0, 11, 12, 13, 14, 5, 4])
    paths = paths_of(np.tile(week, 30), 10)
    assert paths is not None
    assert paths.centre == pytest.approx(np.concatenate([week, week[:3]]))
    assert paths.courses == pytest.approx(np.tile(paths.centre, (len(paths.courses), 1)))
    # 210 days; courses begin a week apart from day 200 down to day 42: (200 - 42) // 7 + 1 = 23.
    assert paths.measured == 23


def test_growth_is_damped_and_believed_by_half() -> None:
    # 2 % a week, exactly, for 20 weeks; the last two weeks are the profile of member 0, of which no year is known.
    values = np.repeat(100 * 1.02 ** np.arange(20), 7)
    member = members_of(values, len(values), 14)[0]
    # Half of log 1.02, damped by 0.85 a week, from a week before the first day: (1 - 0.85^(1 + h / 7)) / 0.15.
    grown = 0.5 * np.log(1.02) * (1 - 0.85 ** (1 + np.array([0, 7]) / 7)) / 0.15
    profile = np.log(values[-1] * (1 + 1 / 1.02) / 2)
    assert member[[0, 7]] == pytest.approx(profile + grown)
    far = members_of(values, len(values), 300)[0]
    assert far[-1] - profile < 0.5 * np.log(1.02) / 0.15 + 1e-9  # it never grows beyond that


def test_last_years_season_is_believed_not_at_all_or_mostly_and_the_past_says_which() -> None:
    # A year ago demand stood at 100 and then at 400 from that day on; now it is at 100 again for ten weeks.
    values = np.full(364 * 2, 100.0)
    values[364 : 364 + 60] = 400.0
    members = members_of(values, 728, 40)
    # From eleven days in, the 21 days around the day a year ago are all 400: six tenths of log 4.
    assert members[0][11] - np.log(100) == pytest.approx(0)
    assert members[1][11] - np.log(100) == pytest.approx(0.6 * np.log(4))
    # Last year's days as they were, then with what the level has done since: it is what it was before them.
    assert members[4:, 11] == pytest.approx(np.log([400, 400]))


def test_an_odd_day_is_not_copied_into_the_next_weeks_and_a_new_level_is() -> None:
    # 100 every day but one of 300, nine days ago. Usual is 100 and nothing spreads, so the edge is 15 % (a logarithm).
    odd = np.full(200, 100.0)
    odd[-9] = 300.0
    assert without_odd_days(odd)[-9] == pytest.approx(100 * np.exp(0.15))
    assert np.delete(without_odd_days(odd), -9) == pytest.approx(100)
    # From nine days ago on 300: no day of it stands alone but the first, which has three days of 100 before it.
    risen = np.full(200, 100.0)
    risen[-9:] = 300.0
    assert without_odd_days(risen)[-8:] == pytest.approx(300)


def test_gaps_zeros_and_a_few_days_are_no_odd_days() -> None:
    values = np.array([100.0, np.nan, 0.0, 100.0] * 20)
    assert without_odd_days(values) == pytest.approx(values, nan_ok=True)
    assert without_odd_days(np.array([1.0, 900.0])) == pytest.approx([1.0, 900.0])


@given(arrays(np.float64, st.integers(1, 120), elements=st.floats(0, 1e9) | st.just(np.nan)))
def test_an_odd_day_only_comes_nearer_to_the_usual(values: np.ndarray) -> None:
    found = without_odd_days(values)
    assert (np.isfinite(found) == np.isfinite(values)).all()
    assert (found[np.isfinite(found)] >= 0).all()
    assert without_odd_days(values * 4) == pytest.approx(found * 4, nan_ok=True)  # in any unit the same


def test_the_day_on_which_a_capacity_is_passed_is_the_share_of_courses_that_did_so_by_then() -> None:
    courses = np.array([[1.0, 9, 1, 1], [1, 1, 9, 1], [1, 1, 1, 9], [1, 1, 1, 1]])
    passing = passing_of(Paths(np.ones(4), courses, 4), 5.0, date(2026, 6, 1))
    assert passing.by_day == (0.0, 0.25, 0.5, 0.75)  # passed is passed: it stays
    assert passing.probability == 0.75
    assert passing.dates == {0.1: date(2026, 6, 2), 0.5: date(2026, 6, 3), 0.9: None}


def test_a_days_quantiles_rest_on_the_week_around_it() -> None:
    centre = np.array([100.0] * 8 + [200.0] * 7)
    courses = np.tile(centre, (4, 1))
    courses[0, 7] = 200.0  # one course of four is off on one day, by twice
    found = quantiles_of(Paths(centre, courses, 4), (0.5, 0.99))
    # within three days of it one of the 28 values around is 2: the quantile .99 lies at .73 of the way to it
    assert found[[4, 7], 1] == pytest.approx([173.0, 173.0])
    assert found[10, 1] == pytest.approx(346.0)  # of that day's own height
    assert found[[3, 11], 1].tolist() == [100.0, 200.0]


def test_quantiles_are_ascending_and_the_median_is_the_central_course() -> None:
    courses = np.array([[1.0], [2.0], [3.0]])
    found = quantiles_of(Paths(np.array([2.5]), courses, 3), (0.25, 0.5, 0.75))
    assert found[0] == pytest.approx([1.5, 2.5, 2.5])
    assert found[0, 1] == found[0, 2]


def test_a_short_history_has_a_supposed_spread_that_grows_and_says_so() -> None:
    rng = np.random.default_rng(3)
    values = np.repeat(100 * rng.normal(1, 0.05, 21), 24)
    found = outlook_of(
        hourly(values),
        zone=UTC_ZONE,
        origin=START + timedelta(days=21),
        horizon=timedelta(days=30),
        quantiles=(0.1, 0.5, 0.9),
    )
    assert isinstance(found, Outlook)
    spread = found.peak[:, 2] / found.peak[:, 0]
    assert spread[20:].mean() > spread[:7].mean() > 1
    assert (np.diff(found.peak, axis=1) >= 0).all()
    assert "the spread is supposed" in found.notes[0]
    assert found.first == date(2026, 1, 26)


@pytest.mark.parametrize("values", [np.ones(24 * 13), np.zeros(24 * 40), np.full(24 * 40, np.nan)])
def test_too_little_or_nothing_at_all_is_a_reason(values: np.ndarray) -> None:
    found = outlook_of(
        hourly(values),
        zone=UTC_ZONE,
        origin=START + timedelta(hours=len(values)),
        horizon=timedelta(days=7),
        quantiles=(0.5,),
    )
    assert isinstance(found, NoOutlook)
    assert "expected two weeks of days with demand" in found.reason


def test_what_comes_after_the_origin_changes_nothing() -> None:
    rng = np.random.default_rng(4)
    values = rng.gamma(9, 10, 24 * 200)
    origin = START + timedelta(days=150)
    other = values.copy()
    other[24 * 150 :] = rng.permutation(other[24 * 150 :]) * 5
    answers = [
        outlook_of(hourly(one), zone=UTC_ZONE, origin=origin, horizon=timedelta(days=30), quantiles=(0.5, 0.9))
        for one in (values, other)
    ]
    assert all(isinstance(one, Outlook) for one in answers)
    assert answers[0].peak.tobytes() == answers[1].peak.tobytes()  # type: ignore[union-attr]


def test_what_has_no_answer_is_refused() -> None:
    for days, capacity in ((0, None), (400, None), (30, 0.0)):
        with pytest.raises(OutlookError, match="expected 1 to 366 days and a capacity above 0"):
            outlook_of(
                hourly(np.ones(24)),
                zone=UTC_ZONE,
                origin=START,
                horizon=timedelta(days=days),
                quantiles=(0.5,),
                capacity=capacity,
            )


def test_the_command_tells_days_and_the_date_of_passing(tmp_path: Path) -> None:
    path = tmp_path / "shop.csv"
    growing = np.repeat(100 * 1.01 ** np.arange(200), 24)
    rows = (f"{START + timedelta(hours=hour):%Y-%m-%dT%H:%M:%SZ},{value}" for hour, value in enumerate(growing))
    path.write_text("\n".join(["timestamp,value", *rows]))
    app = typer.Typer()
    mount(app)
    asked = ["forecast", "outlook", "--csv", str(path), "--horizon", "30d"]
    # 100 x 1.01^199 = 724 is the last day's; 500 is passed already, on the first day.
    result = CliRunner().invoke(app, [*asked, "--capacity", "500", "--json"])
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert len(answer["days"]) == 30
    assert answer["passing"]["dates"]["p90"] == answer["days"][0]["day"] == "2026-07-24"
    table = CliRunner().invoke(app, [*asked, "--capacity", "1e9"])
    assert "passes 1e+09 with 0% probability" in table.stdout
