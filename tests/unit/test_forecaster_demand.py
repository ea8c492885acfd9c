"""Rows become a clean series: sorted, regular, gaps as gaps, incomplete steps unseen."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from forecaster.forecast.demand import DemandError, clean_series

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def rows(*pairs: tuple[int, float]) -> pd.DataFrame:
    instants = pd.to_datetime([START + minute * MINUTE for minute, _ in pairs], utc=True)
    return pd.DataFrame({"ds": instants, "y": [value for _, value in pairs]})


def test_rows_are_sorted_and_the_last_duplicate_wins() -> None:
    series = clean_series("s", rows((2, 30.0), (0, 10.0), (1, 99.0), (1, 20.0)))
    assert series.frame["y"].tolist() == [10.0, 20.0, 30.0]
    assert series.frame["ds"].iloc[0] == START


def test_the_step_is_the_most_common_difference_and_missing_steps_are_gaps() -> None:
    # differences 1, 1, 2, 1 minutes: the step is 1 minute, minute 3 is a gap
    series = clean_series("s", rows((0, 1.0), (1, 2.0), (2, 3.0), (4, 5.0), (5, 6.0)))
    assert series.step == MINUTE
    np.testing.assert_array_equal(series.frame["y"], [1.0, 2.0, 3.0, np.nan, 5.0, 6.0])
    assert (series.frame["ds"].diff().dropna() == pd.Timedelta(MINUTE)).all()


def test_negative_infinite_and_missing_values_are_gaps_and_zero_is_not() -> None:
    series = clean_series("s", rows((0, -1.0), (1, np.inf), (2, np.nan), (3, 0.0), (4, 7.0)))
    np.testing.assert_array_equal(series.frame["y"], [np.nan, np.nan, np.nan, 0.0, 7.0])


def test_a_step_is_seen_only_when_it_is_complete() -> None:
    # at 9:02:59 the step of 9:02 still lasts a second; at 9:03 it is complete
    three = rows((0, 1.0), (1, 2.0), (2, 3.0))
    assert len(clean_series("s", three, until=START + timedelta(seconds=179)).frame) == 2
    assert len(clean_series("s", three, until=START + 3 * MINUTE).frame) == 3


def test_one_row_is_enough_when_the_step_is_told() -> None:
    assert clean_series("s", rows((0, 5.0)), step=MINUTE).frame["y"].tolist() == [5.0]


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (rows((0, 1.0)), "one row and no step"),
        (rows((0, 1.0)).iloc[:0], "at least one row, got none"),
        (pd.DataFrame({"ds": [1], "value": [2]}), "expected columns ds and y"),
        (pd.DataFrame({"ds": [datetime(2026, 3, 2)], "y": [1.0]}), "expected ds as aware datetimes"),  # noqa: DTZ001  naive is the point
    ],
)
def test_what_is_not_a_series_is_refused_with_what_was_expected(frame: pd.DataFrame, expected: str) -> None:
    with pytest.raises(DemandError, match=expected):
        clean_series("s", frame)


def test_nothing_complete_is_refused_with_the_reason() -> None:
    with pytest.raises(DemandError, match="at least one complete row"):
        clean_series("s", rows((0, 1.0), (1, 2.0)), until=START)
