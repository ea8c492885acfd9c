"""Windows: rolling and calendar, over changes of the clocks; exclusions; when a budget is spent."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from collector.catalog import PERIODS, Calendar, Slo
from collector.slo.objectives import BURN_WINDOWS, Counts, Exhaustion, Measured, exact_since, exhaustion, status_of
from collector.slo.windows import HOUR, WindowSpan, hours_to_read_by_minute, merged, overlap, window_span

DAY = timedelta(days=1)


def at(text: str, zone: str = "UTC") -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp())


def calendar_slo(period: str, zone: str) -> Slo:
    return Slo("a", "availability", 0.99, PERIODS[period], calendar=Calendar(period, zone))  # type: ignore[arg-type]


def test_a_rolling_window_ends_with_the_minute_and_is_whole() -> None:
    span = window_span(Slo("a", "availability", 0.99, 30 * DAY), at("2026-03-31T12:00"))
    assert span == WindowSpan(at("2026-03-01T12:00"), at("2026-03-31T12:00"), at("2026-03-31T12:00"))
    assert span.elapsed_share == 1


@pytest.mark.parametrize(
    ("period", "zone", "end", "first", "last", "hours"),
    [
        # Berlin: clocks go forward on 29 March 2026 and back on 25 October: months of 743 and 745 hours
        ("month", "Europe/Berlin", "2026-03-31T12:00", "2026-03-01T00:00", "2026-04-01T00:00", 31 * 24 - 1),
        ("month", "Europe/Berlin", "2026-10-01T00:01", "2026-10-01T00:00", "2026-11-01T00:00", 31 * 24 + 1),
        ("week", "Europe/Berlin", "2026-03-29T23:00", "2026-03-23T00:00", "2026-03-30T00:00", 7 * 24 - 1),
        ("quarter", "Europe/Berlin", "2026-12-31T00:00", "2026-10-01T00:00", "2027-01-01T00:00", 92 * 24 + 1),
        ("month", "Asia/Kolkata", "2026-02-10T00:00", "2026-02-01T00:00", "2026-03-01T00:00", 28 * 24),
        # Cairo goes forward at midnight of 24 April 2026: that day begins at 01:00, the week keeps its other midnights
        ("week", "Africa/Cairo", "2026-04-25T10:00", "2026-04-20T00:00", "2026-04-27T00:00", 7 * 24 - 1),
    ],
)
def test_a_calendar_window_follows_the_local_calendar(
    period: str, zone: str, end: str, first: str, last: str, hours: int
) -> None:
    span = window_span(calendar_slo(period, zone), at(end, zone))
    assert (span.start, span.whole_end) == (at(first, zone), at(last, zone))
    assert span.whole_end - span.start == hours * HOUR


def test_the_last_minute_of_a_period_belongs_to_it_and_the_next_to_the_next() -> None:
    slo = calendar_slo("month", "UTC")
    assert window_span(slo, at("2026-03-01T00:00")).start == at("2026-02-01T00:00")
    assert window_span(slo, at("2026-03-01T00:01")).start == at("2026-03-01T00:00")


def test_a_month_that_began_where_clocks_skip_midnight_begins_at_the_change() -> None:
    # Beirut skips 00:00 to 01:00 on Sunday 29 March 2026; the day begins at 01:00 summer time, 22:00 UTC before
    slo = calendar_slo("week", "Asia/Beirut")
    span = window_span(slo, at("2026-03-29T12:00", "Asia/Beirut"))
    assert span.whole_end - span.start == (7 * 24 - 1) * HOUR


def test_exclusions_are_whole_minutes_and_apart() -> None:
    assert merged([(61, 119), (0, 30), (115, 185), (400, 400)]) == [(0, 240)]  # 61..119 is minute 1, 115..185 to 240
    assert merged([(0, 60), (180, 200)]) == [(0, 60), (180, 240)]
    assert overlap([(0, 60), (180, 240)], 30, 200) == 50


def test_hours_with_an_edge_or_a_part_of_an_exclusion_are_read_by_the_minute() -> None:
    assert hours_to_read_by_minute([HOUR, 2 * HOUR + 60], [(4 * HOUR, 6 * HOUR), (7 * HOUR, 8 * HOUR + 60)]) == [
        2 * HOUR,
        8 * HOUR,
    ]


def test_time_to_exhaustion_at_the_present_burn() -> None:
    # half a budget left of 30 days, spent at three times the rate that lasts 30 days: 30 * 0.5 / 3 = 5 days
    month = {"length": 30 * DAY, "horizon": 30 * DAY}
    assert exhaustion(0.5, 3.0, **month) == Exhaustion("burning", 5 * DAY)
    assert exhaustion(-0.2, 3.0, **month) == Exhaustion("spent")
    assert exhaustion(0.5, 0.0, **month) == Exhaustion("lasts")
    assert exhaustion(0.5, 0.4, **month) == Exhaustion("lasts")  # 37.5 days
    assert exhaustion(0.5, None, **month) == Exhaustion("unknown")
    assert exhaustion(None, None, **month) == Exhaustion("unknown")


def test_a_calendar_windows_budget_is_that_of_the_whole_period() -> None:
    # 3 of 30 days of April 2026 have passed, twice the allowed errors in them: 2 * 3 / 30 = 20 % of April's budget
    slo = calendar_slo("month", "UTC")
    span = window_span(slo, at("2026-04-04T00:00"))
    counts = {**dict.fromkeys(BURN_WINDOWS, Counts(1000, 980)), slo.window: Counts(10_000, 9_800)}
    measured = Measured(span, recorded=3 * 1440, expected=3 * 1440, excluded=timedelta(), exact_since=None)
    status = status_of(slo, counts, measured)
    assert status.budget_left == pytest.approx(0.8)
    # and goes on at a burn rate of 2: 0.8 * 30 / 2 = 12 days, before the month's end in 27
    assert status.exhaustion.state == "burning"
    assert status.exhaustion.after == pytest.approx(12 * DAY, abs=timedelta(seconds=1))
    assert measured.coverage == 1


def test_where_all_time_is_excluded_there_is_no_coverage() -> None:
    span = WindowSpan(0, 60, 60)
    assert Measured(span, recorded=0, expected=0, excluded=timedelta(minutes=1), exact_since=None).coverage is None


def test_a_threshold_on_an_edge_is_exact_and_one_inside_a_bucket_since_the_raw_events() -> None:
    on_edge = Slo("e", "latency", 0.9, 30 * DAY, threshold=timedelta(microseconds=2**20))
    inside = Slo("i", "latency", 0.9, 30 * DAY, threshold=timedelta(milliseconds=500))
    span = WindowSpan(0, 30 * 86400, 30 * 86400)
    assert exact_since(on_edge, span, raw_since=23 * 86400) is None
    assert exact_since(inside, span, raw_since=23 * 86400) == datetime.fromtimestamp(23 * 86400, UTC)
    assert exact_since(inside, WindowSpan(29 * 86400, 30 * 86400, 30 * 86400), raw_since=23 * 86400) == (
        datetime.fromtimestamp(29 * 86400, UTC)
    )
