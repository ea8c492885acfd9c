"""The figures of a report, from series whose figures are known beforehand."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

from forecaster.forecast.types import DemandSeries
from forecaster.outlook.daily import Days
from forecaster.outlook.outlook import Outlook
from forecaster.report.figures import name_rows
from forecaster.report.measures import Gap, Hours, gaps_of, growth_of, hour_shares, months_of, weekday_seasons
from forecaster.report.replicas import budget_passed, observed_replicas, recommended, replica_hours_ahead
from tests.unit.report_fakes import DAY, HOUR, NOW, flat_demand, replica_states

UTC_ZONE = ZoneInfo("UTC")
FIRST = date(2026, 1, 5)  # a Monday


def days_of_weeks(*levels: float, weekday: tuple[float, ...] = (1.0,) * 7) -> Days:
    mean = np.array([level * share for level in levels for share in weekday])
    return Days("shop", FIRST, mean, mean * 2)


def an_outlook(peak: float, *, days: int = 14) -> Outlook:
    flat = np.full((days, 3), peak) * np.array([0.8, 1.0, 1.0])  # p50 four fifths of p90 and p99
    return Outlook("shop", date(2026, 11, 16), (0.5, 0.9, 0.99), flat / 2, flat, None, ())


def busy_at_noon() -> Hours:
    """Two weeks in which noon is the busiest hour and every other one has half of it."""
    shares = np.full((14, 24), 0.5)
    shares[:, 12] = 1.0
    return Hours(shares, np.arange(14) % 7)


def test_demand_that_grows_by_a_hundredth_each_week_is_said_to() -> None:
    growth = growth_of(days_of_weeks(*(100 * 1.01**week for week in range(12))))
    assert growth is not None
    # Every pair of weeks has the slope log(1.01): so have their median and both ends.
    assert (growth.per_week, growth.low, growth.high) == pytest.approx((0.01, 0.01, 0.01))
    assert (growth.weeks, growth.year) == (12, None)


def test_one_odd_week_does_not_turn_the_growth_and_widens_its_interval() -> None:
    levels = [100 * 1.01**week for week in range(12)]
    levels[6] *= 3
    growth = growth_of(days_of_weeks(*levels))
    assert growth is not None
    assert growth.per_week == pytest.approx(0.01, abs=0.001)
    assert growth.low <= growth.per_week < growth.high


def test_a_year_ago_is_compared_weekday_by_weekday() -> None:
    # 52 weeks of whole weeks back: 100 then, 150 in the last four weeks: half as much again.
    growth = growth_of(days_of_weeks(*[100.0] * 52, *[150.0] * 4))
    assert growth is not None
    assert growth.year == pytest.approx(0.5)


def test_three_weeks_say_nothing_of_growth() -> None:
    assert growth_of(days_of_weeks(1.0, 1.0, 1.0)) is None


def test_a_weekday_is_compared_with_the_mean_day_of_its_week() -> None:
    # Mondays 2, the other days 1: the mean day is 8/7, so Mondays are 2 / (8/7) = 1.75, the others 0.875.
    seasons = weekday_seasons(days_of_weeks(10.0, 20.0, 30.0, weekday=(2.0, *[1.0] * 6)))
    assert seasons[0].middle == pytest.approx(1.75)
    assert (seasons[0].low, seasons[0].high) == pytest.approx((1.75, 1.75))
    assert seasons[3].middle == pytest.approx(0.875)
    assert seasons[0].seen == 3


def test_a_month_counts_known_steps_only_and_says_how_many_are_known() -> None:
    demand = flat_demand(days=15)  # from the first of November to the sixteenth: 360 hours
    demand.frame.loc[10:19, "y"] = np.nan
    demand.frame.loc[100, "y"] = 90.0
    (month,) = months_of(demand, UTC_ZONE, since=NOW - 15 * DAY, until=NOW)
    assert month.first == date(2026, 11, 1)
    assert month.requests == (349 * 60 + 90) * 3600
    assert month.coverage == pytest.approx(350 / 360)
    assert (month.peak, month.peak_at) == (90.0, datetime(2026, 11, 5, 4, tzinfo=UTC))  # hour 100


def test_a_month_whose_last_days_are_silent_is_not_wholly_known() -> None:
    # 15 days are known of the 20 that have passed of November
    (month,) = months_of(flat_demand(days=15), UTC_ZONE, since=NOW - 15 * DAY, until=NOW + 5 * DAY)
    assert month.coverage == pytest.approx(15 / 20)


def test_names_of_days_that_follow_each_other_lie_in_rows_of_their_own() -> None:
    # an axis of 1000: a name of ten letters and its margin takes 12 * 0.0082 * 1000 = 98 of it
    marks = ((0.0, "ten letter"), (50.0, "ten letter"), (99.0, "ten letter"), (120.0, "ten letter"))
    assert name_rows(marks, width=1000.0) == [0, 1, 0, 2]
    assert name_rows((), width=0.0) == []


def test_gaps_are_joined_and_the_silence_at_the_end_is_one_too() -> None:
    demand = flat_demand(days=2)
    demand.frame.loc[3:4, "y"] = np.nan
    start = NOW - 2 * DAY
    gaps = gaps_of(demand, since=start, until=NOW + 5 * HOUR)
    assert gaps == (Gap(start + 3 * HOUR, start + 5 * HOUR), Gap(NOW, NOW + 5 * HOUR))


def test_a_step_longer_than_an_hour_has_no_hours_of_the_day() -> None:
    from forecaster.report.measures import hours_of

    ds = pd.date_range(NOW - 60 * DAY, NOW, freq="1D", inclusive="left")
    daily = DemandSeries("shop", DAY, pd.DataFrame({"ds": ds, "y": np.full(len(ds), 5.0)}))
    assert hours_of(daily, UTC_ZONE, until=NOW) is None


def test_a_replica_counts_until_the_next_look_but_not_where_nobody_looked() -> None:
    at = [NOW, NOW + timedelta(minutes=5), NOW + timedelta(minutes=60)]
    states = pd.DataFrame({"ts": pd.to_datetime(at), "current": [2, 4, 6]})
    seen = observed_replicas(states, since=NOW, until=NOW + timedelta(minutes=61))
    assert seen is not None
    # 2 for 5 minutes, 4 for the 10 after which nobody looked, 6 for 1: 10 + 40 + 6 replica-minutes in 16 minutes.
    assert seen.replica_hours == pytest.approx(56 / 60)
    assert (seen.seen, seen.highest) == (timedelta(minutes=16), 6)
    assert seen.mean == pytest.approx(3.5)
    assert seen.coverage == pytest.approx(16 / 61)


def test_nobody_looked_is_not_no_replicas() -> None:
    assert observed_replicas(replica_states(days=1), since=NOW - 9 * DAY, until=NOW - 8 * DAY) is None


def test_floors_follow_the_hours_and_max_carries_the_declared_event() -> None:
    friday = date(2026, 11, 20)
    advice = recommended(
        an_outlook(100.0), busy_at_noon(), per_replica=10.0, level=0.9, factors={friday: 1.8}
    )  # fmt: skip
    assert advice.floors[4, 12] == 10  # 100 requests/s at 10 each
    assert advice.floors[4, 3] == 5
    assert (advice.least, advice.most) == (5, 18)  # 180 on the Friday
    assert (advice.peak_rps, advice.peak_day) == (pytest.approx(180.0), friday)


def test_a_recommended_min_is_never_under_two() -> None:
    advice = recommended(an_outlook(1.0), busy_at_noon(), per_replica=10.0, level=0.9, factors={})
    assert (advice.least, advice.most) == (2, 2)


def test_replica_hours_of_a_day_are_those_of_its_hours_at_the_autoscalers_target() -> None:
    hours = replica_hours_ahead(an_outlook(100.0), busy_at_noon(), level=0.5, per_replica=8.0, least=2)
    # p50 is 80: 10 replicas at noon; the other 23 hours 40, hence 5: 10 + 115.
    assert set(hours.values()) == {125.0}
    assert len(hours) == 14


def test_hour_shares_of_a_weekday_never_seen_are_those_of_all_days() -> None:
    hours = Hours(busy_at_noon().shares[:5], np.arange(5))
    assert hour_shares(hours, 0.5)[6, 12] == 1.0


def test_a_budget_is_passed_within_a_calendar_month_and_begins_anew_with_the_next() -> None:
    days = {date(2026, 11, 28) + timedelta(days=index): 10.0 for index in range(8)}
    # 50 are spent: 60, 70, 80 up to 30 November; December begins at 0.
    assert budget_passed(days, 75.0, spent=50.0) == date(2026, 11, 30)
    assert budget_passed(days, 80.0, spent=50.0) is None
    assert budget_passed(days, 45.0, spent=0.0) == date(2026, 12, 5)  # 10 a day: 50 on the fifth
