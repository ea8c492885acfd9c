"""The one control of time: what the URL says, and what is drawn for it."""

from datetime import UTC, datetime, timedelta

import pytest

from dashboard.timerange import TimeRange, TimeRangeError, absolute, bounds_of, range_of

NOW = datetime(2026, 11, 22, 14, 23, 30, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def test_the_url_says_a_preset_or_two_instants_and_is_said_again():
    assert range_of({}) == TimeRange("9 h")
    assert range_of({"span": "7 d"}).query() == {"span": "7 d"}
    told = {"from": "2026-11-22T14:00Z", "to": "2026-11-22T15:00Z"}
    assert range_of(told).query() == told
    zoned = range_of({"from": "2026-11-22T15:00+01:00", "to": "2026-11-22T16:00+01:00"})
    assert zoned.query() == told, "kept in UTC"


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ({"span": "fortnight"}, "expected one of 1 h"),
        ({"from": "2026-11-22T14:00Z"}, "expected an instant"),
        ({"from": "2026-11-22T15:00Z", "to": "2026-11-22T14:00Z"}, "begins before it ends"),
        ({"from": "2020-01-01", "to": "2026-01-01"}, "400 days"),
    ],
)
def test_what_the_url_cannot_mean_is_refused_with_what_was_expected(query: dict[str, str], told: str):
    with pytest.raises(TimeRangeError, match=told):
        range_of(query)


def test_a_preset_ends_with_the_last_whole_step_and_lives():
    found = bounds_of(TimeRange("24 h"), now=NOW, speed=1)  # 24 h / 500 is just under 3 minutes: steps of 5

    assert found.step == 5 * MINUTE
    assert found.until == datetime(2026, 11, 22, 14, 20, tzinfo=UTC)
    assert found.until - found.since == timedelta(hours=24)
    assert (found.live, found.now) == (True, NOW)
    assert found.minute == datetime(2026, 11, 22, 14, 23, tzinfo=UTC)


def test_a_range_in_the_past_is_looked_at_from_its_end_and_does_not_move():
    asked = absolute(datetime(2026, 11, 20, 10, 2, tzinfo=UTC), datetime(2026, 11, 21, 10, 2, tzinfo=UTC))

    found = bounds_of(asked, now=NOW, speed=1)

    assert not found.live
    assert found.now == asked.until
    # Whole steps that hold all of it.
    assert found.since == datetime(2026, 11, 20, 10, 0, tzinfo=UTC)
    assert found.until == datetime(2026, 11, 21, 10, 5, tzinfo=UTC)


def test_a_range_that_reaches_into_the_future_ends_with_what_is_known():
    asked = absolute(NOW - timedelta(hours=1), NOW + timedelta(hours=5))

    found = bounds_of(asked, now=NOW, speed=1)

    assert found.live
    assert found.until == datetime(2026, 11, 22, 14, 23, tzinfo=UTC)


def test_no_range_is_drawn_with_more_than_five_hundred_steps():
    for days in (1 / 24, 1, 7, 30, 90, 400):
        asked = absolute(NOW - timedelta(days=days), NOW)
        found = bounds_of(asked, now=NOW, speed=1)
        assert (found.until - found.since) / found.step <= 501  # the step that is begun comes on top
