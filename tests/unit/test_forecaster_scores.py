"""Scores of one forecast, of many together, and what counts as drift: figures derived by hand."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from forecaster.forecast.types import DemandSeries, Forecast
from forecaster.scores.drift import drift_of
from forecaster.scores.score import BUCKETS, Score, score_forecast, summarise

ORIGIN = datetime(2026, 5, 4, tzinfo=UTC)
HOUR = timedelta(hours=1)
NEAR, MIDDLE, FAR, WEEK = BUCKETS


def series_of(values: list[float], *, start: datetime) -> DemandSeries:
    ds = pd.date_range(start, periods=len(values), freq=HOUR)
    return DemandSeries("shop", HOUR, pd.DataFrame({"ds": ds, "y": values}))


def forecast_of(rows: list[tuple[float, float]]) -> Forecast:
    """Quantiles 0.5 and 0.9, hourly from ORIGIN."""
    frame = pd.DataFrame(rows, columns=["q0.5", "q0.9"])
    frame.insert(0, "ds", pd.date_range(ORIGIN, periods=len(rows), freq=HOUR))
    return Forecast("shop", ORIGIN, "m", HOUR, (0.5, 0.9), frame, ORIGIN - 48 * HOUR, ORIGIN)


def test_a_bucket_is_scored_by_its_own_truths_beside_the_day_before() -> None:
    # Two days of 10 before the origin, then 30 in the first hour, 20 in the second and third.
    series = series_of([10.0] * 48 + [30.0, 20.0, 20.0], start=ORIGIN - 48 * HOUR)
    forecast = forecast_of([(20.0, 40.0), (20.0, 16.0 + 4.0), (24.0, 28.0)])
    near = score_forecast(forecast, series, NEAR)
    # q0.5: 0.5 x (30 - 20) = 5; q0.9: (0.9 - 1) x (30 - 40) = 1. Yesterday said 10, and its errors were all 0:
    # 0.5 x 20 = 10 and 0.9 x 20 = 18.
    assert (near.points, near.demand, near.absolute_error, near.naive) == (1, 30.0, 10.0, "naive_day")
    assert near.pinball == pytest.approx((5.0, 1.0))
    assert (near.naive_absolute_error, near.naive_pinball) == (20.0, pytest.approx((10.0, 18.0)))
    assert near.covered == (0, 1)
    # Hours two and three: errors 0 and -4; q0.5: 0 + 0.5 x 4; q0.9: 0 + 0.1 x 8. 20 <= 20 counts as covered.
    middle = score_forecast(forecast, series, MIDDLE)
    assert (middle.points, middle.absolute_error) == (2, 4.0)
    assert middle.pinball == pytest.approx((2.0, 0.8))
    assert middle.covered == (2, 2)


def test_gaps_in_the_truth_do_not_count_and_a_bucket_of_gaps_has_no_points() -> None:
    series = series_of([10.0] * 48 + [float("nan"), 12.0], start=ORIGIN - 48 * HOUR)
    forecast = forecast_of([(10.0, 11.0)] * 3)
    assert score_forecast(forecast, series, NEAR).points == 0
    assert score_forecast(forecast, series, MIDDLE).points == 1  # the third hour has not come
    assert score_forecast(forecast, series, FAR).points == 0  # the forecast does not reach so far


def test_the_yardstick_is_the_week_before_once_three_weeks_are_known() -> None:
    hours = 21 * 24
    series = series_of([float(hour % 168) for hour in range(hours)] + [7.0], start=ORIGIN - hours * HOUR)
    score = score_forecast(forecast_of([(7.0, 7.0)]), series, NEAR)
    # 504 hours are three whole weeks: the hour of the week is 0, and a week before it was 0.
    assert (score.naive, score.naive_absolute_error) == ("naive_week", 7.0)


def test_what_lies_further_back_than_four_weeks_changes_nothing() -> None:
    hours = 35 * 24
    values = [float(10 + hour % 24) for hour in range(hours)] + [7.0]
    whole = series_of(values, start=ORIGIN - hours * HOUR)
    newest = series_of(values[7 * 24 :], start=ORIGIN - (hours - 7 * 24) * HOUR)
    assert score_forecast(forecast_of([(7.0, 7.0)]), whole, NEAR) == score_forecast(
        forecast_of([(7.0, 7.0)]), newest, NEAR
    )


def a_score(origin: datetime, *, loss: float, covered: int = 95, naive_loss: float = 4.0) -> Score:
    return Score(
        service="shop", bucket="1h", origin=origin, model="m", naive="naive_week", step=timedelta(minutes=5),
        points=100, demand=100.0, absolute_error=loss, naive_absolute_error=naive_loss, quantiles=(0.95,),
        pinball=(loss,), naive_pinball=(naive_loss,), covered=(covered,),
    )  # fmt: skip


def test_scores_of_many_forecasts_add_up() -> None:
    [summary] = summarise([a_score(ORIGIN, loss=1.0, covered=90), a_score(ORIGIN + HOUR, loss=3.0, covered=100)])
    # Losses 1 + 3 over a demand of 200, twice: 0.04. Naive 8, so half of it. 190 of 200 truths were covered.
    assert (summary.origins, summary.points) == (2, 200)
    assert summary.quantile_loss == pytest.approx(0.04)
    assert (summary.relative_quantile_loss, summary.skill, summary.relative_error) == (0.5, 0.5, 0.5)
    assert summary.coverage == {0.95: 0.95}


def days_of_scores(now: datetime, *, recent: Score, before: Score) -> list[Score]:
    """Every hour for eight days, each with its truth come before `now`."""
    ends = [now - index * HOUR for index in range(8 * 24)]
    return [replace(recent if index < 24 else before, origin=end - HOUR) for index, end in enumerate(ends)]


def test_a_forecast_that_stays_as_it_was_has_not_drifted() -> None:
    steady = a_score(ORIGIN, loss=2.0)
    drift = drift_of(days_of_scores(ORIGIN, recent=steady, before=steady), now=ORIGIN)
    assert (drift.compared, drift.reasons) == (True, ())


def test_a_loss_that_grew_is_drift_only_when_the_naive_forecast_would_have_been_better() -> None:
    before = a_score(ORIGIN, loss=2.0)
    harder_day = a_score(ORIGIN, loss=3.5, naive_loss=8.0)
    assert not drift_of(days_of_scores(ORIGIN, recent=harder_day, before=before), now=ORIGIN).reasons
    worse = a_score(ORIGIN, loss=5.0)
    [reason] = drift_of(days_of_scores(ORIGIN, recent=worse, before=before), now=ORIGIN).reasons
    assert "2.5 times that of the week before and 1.25 times the seasonal naive one" in reason


def test_a_quantile_that_covers_far_too_little_is_drift() -> None:
    steady = a_score(ORIGIN, loss=2.0)
    # 24 draws of 0.95: a standard deviation of sqrt(0.95 x 0.05 / 24) = 0.0445; three are 0.133, so under 0.817.
    within, short = replace(steady, covered=(82,)), replace(steady, covered=(81,))
    assert not drift_of(days_of_scores(ORIGIN, recent=within, before=steady), now=ORIGIN).reasons
    [reason] = drift_of(days_of_scores(ORIGIN, recent=short, before=steady), now=ORIGIN).reasons
    assert reason == "to 1h: 81% of the last day's demand was under the 0.95 quantile"


def test_a_few_hours_of_scores_say_nothing_yet() -> None:
    few = [a_score(ORIGIN - index * HOUR, loss=9.0, covered=0) for index in range(2, 6)]
    assert not drift_of(few, now=ORIGIN).compared


def test_a_truth_on_another_step_is_refused() -> None:
    series = series_of([1.0], start=ORIGIN)
    with pytest.raises(ValueError, match="expected truths every 0:05:00"):
        score_forecast(replace(forecast_of([(1.0, 1.0)]), step=timedelta(minutes=5)), series, NEAR)


def test_a_history_of_gaps_leaves_no_yardstick_and_no_exception() -> None:
    series = series_of([float("nan")] * 24 + [5.0], start=ORIGIN - 24 * HOUR)
    score = score_forecast(forecast_of([(5.0, 6.0)]), series, NEAR)
    assert np.isfinite(score.naive_pinball).all()
