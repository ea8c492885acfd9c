"""Quantiles that have not held: which are moved, how far, on whose word, and where in a forecast."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from forecaster.forecast.types import Forecast
from forecaster.scores.adapting import Asked, answered, asked_levels
from forecaster.scores.score import Score

ORIGIN = datetime(2026, 5, 4, 12, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
# Known an hour before the last full hour: at 11:00, so the newest score of the first hour is that from 10:00.
NEWEST = datetime(2026, 5, 4, 10, 0, tzinfo=UTC)


def scores(
    covered: int, *, level: float, hours: int = 72, newest: datetime = NEWEST, bucket: str = "1h"
) -> list[Score]:
    """One an hour, each with twelve truths of which so many were covered."""
    return [
        Score(
            service="shop", bucket=bucket, origin=newest - index * HOUR, model="m", naive="naive_week",
            step=timedelta(minutes=5), points=12, demand=1.0, absolute_error=1.0, naive_absolute_error=1.0,
            quantiles=(level,), pinball=(1.0,), naive_pinball=(1.0,), covered=(covered,),
        )
        for index in range(hours)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("level", "covered", "hours", "instead"),
    [
        # Two deviations of 72 draws of 0.9 are 2 sqrt(0.09 / 72) = 0.071: 10 of 12 are 0.067 below it.
        (0.9, 10, 72, None),
        # Of 24 draws 0.122; 9 of 12 are 0.15 below. Each hour adds 0.02 x 0.15: 0.9 + 24 x 0.003.
        (0.9, 9, 24, 0.972),
        (0.9, 9, 23, None),  # less than a day says nothing
        # All of 72 hours: 0.1 above, each takes 0.02 x 0.1 away: 0.9 - 72 x 0.002.
        (0.9, 12, 72, 0.756),
        (0.95, 6, 72, 0.99),  # never into a tail that was not asked for
        (0.6, 12, 72, 0.5),  # nor over the median
        (0.5, 0, 72, None),
    ],
)
def test_a_level_moves_only_when_it_was_off_by_more_than_chance(
    level: float, covered: int, hours: int, instead: float | None
) -> None:
    asked = asked_levels(scores(covered, level=level, hours=hours), origin=ORIGIN, levels=(level,))
    assert asked.instead.get("1h", {}).get(level) == instead
    assert len(asked.notes) == (instead is not None)


def test_scores_of_one_hour_are_one_draw_and_those_of_far_horizons_fewer() -> None:
    # 24 quarters of an hour are six hours: too few, however bad.
    quarters = [score for part in range(4) for score in scores(0, level=0.9, hours=6, newest=NEWEST - part * HOUR / 4)]
    assert asked_levels(quarters, origin=ORIGIN, levels=(0.9,)).instead == {}
    # 72 hours are 12 draws of six hours: two deviations are 0.173, and 9 of 12 are 0.15 below.
    far = scores(9, level=0.9, newest=NEWEST - 5 * HOUR, bucket="6h")
    assert asked_levels(far, origin=ORIGIN, levels=(0.9,)).instead == {}


def test_a_score_whose_truth_came_later_changes_nothing() -> None:
    known = scores(9, level=0.9, hours=24)
    later = scores(0, level=0.9, hours=10, newest=NEWEST + 10 * HOUR)
    assert asked_levels(known + later, origin=ORIGIN, levels=(0.9,)) == asked_levels(
        known, origin=ORIGIN, levels=(0.9,)
    )


def test_a_bucket_is_answered_by_what_was_asked_for_it_and_the_others_as_before() -> None:
    asked = Asked({"1h": {0.2: 0.05, 0.9: 0.97}}, ("why",))
    levels = (0.1, 0.2, 0.5, 0.9, 0.95)
    assert asked.levels(levels) == (0.05, 0.1, 0.2, 0.5, 0.9, 0.95, 0.97)
    columns = {f"q{level:g}": [100 * level] * 3 for level in asked.levels(levels)}
    frame = pd.DataFrame({"ds": pd.date_range(ORIGIN, periods=3, freq=HOUR / 2), **columns})
    forecast = Forecast("shop", ORIGIN, "m", HOUR / 2, asked.levels(levels), frame, ORIGIN, ORIGIN, ("rests on",))
    found = answered(forecast, asked, levels)
    # Two half hours lie in the first bucket; 0.1 and 0.95 are not inside of what has moved beyond them.
    moved, plain = [5.0, 5.0, 50.0, 97.0, 97.0], [10.0, 20.0, 50.0, 90.0, 95.0]
    np.testing.assert_allclose(found.frame.drop(columns="ds"), [moved, moved, plain])
    assert (found.quantiles, found.notes) == (levels, ("rests on", "why"))
