"""Which time markers exclude from SLOs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from collector.record.markers import merged_spans
from collector.record.runs import Marker

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def at(minutes: int) -> datetime:
    return NOON + timedelta(minutes=minutes)


def maintenance(start: int, end: int, *, excludes: bool = True) -> Marker:
    return Marker("shop", "maintenance", at(start), at(end), "", excludes_slo=excludes)


def test_spans_that_overlap_or_touch_are_one_and_are_cut_to_the_window() -> None:
    markers = [maintenance(20, 30), maintenance(-10, 5), maintenance(30, 40), maintenance(50, 90), maintenance(22, 25)]
    assert merged_spans(markers, since=at(0), until=at(60)) == [(at(0), at(5)), (at(20), at(40)), (at(50), at(60))]


def test_a_marker_that_asks_for_nothing_or_lasts_no_time_excludes_nothing() -> None:
    markers = [maintenance(0, 10, excludes=False), maintenance(20, 20), maintenance(70, 80)]
    assert merged_spans(markers, since=at(0), until=at(60)) == []
