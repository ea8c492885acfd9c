"""The next minute's answers: what is asked, for whom, how often, and what a record that is away does to it."""

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from collector.catalog import parse_catalog
from collector.clickhouse import StoreUnavailableError
from dashboard import keep_warm
from dashboard.context import Look, Looks, View, view_at
from dashboard.queries import ahead
from dashboard.timerange import TimeRange

NOW = datetime(2026, 11, 16, 14, 20, 30, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SERVICE = parse_catalog(
    """
version: 1
services:
  shop:
    source: events
    slos: [{name: availability, kind: availability, target: 0.99, window: 30d}]
""",
    name="test",
).service("shop")
NINE_HOURS, ONE_HOUR = Look("shop", None, TimeRange("9 h")), Look("shop", "eu", TimeRange("1 h"))


def view(look: Look, now: datetime = NOW) -> View:
    return view_at(SERVICE, look.asked, now=now, speed=1.0, region=look.region)


def asking(now: datetime, asked: dict[Look, datetime], *looks: Look) -> tuple[list[tuple[str | None, datetime]], dict]:
    """Ask at an instant; return the region and minute of every question, and what is asked by then."""
    heard: list[tuple[str | None, datetime]] = []
    done = keep_warm.ask_for(
        looks,
        asked,
        view_of=lambda look: view(look, now),
        questions=lambda seen: [lambda: heard.append((seen.region, seen.minute))],
    )
    return heard, done


def test_each_choice_is_asked_for_once_a_minute() -> None:
    first, done = asking(NOW, {}, NINE_HOURS, ONE_HOUR)
    again, done = asking(NOW + timedelta(seconds=20), done, NINE_HOURS, ONE_HOUR)
    later, _ = asking(NOW + MINUTE, done, NINE_HOURS, ONE_HOUR)
    begun = NOW.replace(second=0)

    assert first == [(None, begun), ("eu", begun)]
    assert again == []
    assert later == [(None, begun + MINUTE), ("eu", begun + MINUTE)]


def test_a_range_that_is_over_needs_nothing_ahead() -> None:
    past = Look("shop", None, TimeRange("From … to …", NOW - timedelta(hours=9), NOW - timedelta(hours=5)))
    assert asking(NOW, {}, past)[0] == []


def test_a_record_that_is_away_stops_neither_the_other_questions_nor_the_next_minute() -> None:
    heard = []

    def away() -> None:
        raise StoreUnavailableError("away")

    keep_warm.ask_for([NINE_HOURS], {}, view_of=view, questions=lambda _: [away, lambda: heard.append(1)])
    assert heard == [1]


def test_what_is_looked_at_is_forgotten_when_nobody_does_any_more() -> None:
    looks = Looks()
    looks.note(NINE_HOURS, at=10.0)
    looks.note(ONE_HOUR, at=20.0)
    assert looks.since(5.0) == [ONE_HOUR, NINE_HOURS]
    assert looks.since(15.0) == [ONE_HOUR]
    looks.note(NINE_HOURS, at=30.0)
    assert looks.since(5.0) == [NINE_HOURS, ONE_HOUR]


def test_of_very_many_choices_the_oldest_are_forgotten() -> None:
    looks = Looks()
    many = [replace(NINE_HOURS, region=str(number)) for number in range(150)]
    for at, look in enumerate(many):
        looks.note(look, at=float(at))
    assert looks.since(0.0) == many[:49:-1]  # the newest hundred


def test_nothing_is_asked_while_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    stop = threading.Event()

    class Nobody(Looks):
        def since(self, moment: float) -> list[Look]:
            stop.set()
            return super().since(moment)

    nobody = Nobody()
    monkeypatch.setattr(keep_warm, "looks", lambda: nobody)
    monkeypatch.setattr(keep_warm, "clock", lambda: pytest.fail("asked"))
    keep_warm.keep_warm(stop, every_seconds=0.0)
    assert stop.is_set()


def test_the_overview_asks_how_the_slos_of_all_services_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"s{number}" for number in range(12)]
    text = "version: 1\nservices:\n" + "".join(f"  {name}: {{source: events}}\n" for name in names)
    monkeypatch.setattr(ahead, "catalog", lambda: parse_catalog(text, name="test"))
    asked = [question for question in ahead.overview(view(NINE_HOURS)) if question.func is ahead.record.slo_statuses]
    assert [question.args[0].name for question in asked] == names[: ahead.MOST_SERVICES]
    assert {question.args[1] for question in asked} == {NOW.replace(second=0)}
