"""Events over a forecast: where they come from, what they are found to do, and that nothing is taken on faith."""

import json
import math
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from collector.catalog import CatalogError, parse_catalog
from collector.catalog.calendar import CalendarSource, read_entries_file
from collector.record.store import Marker
from forecaster.calendar.effects import Effect, applied, bins_of, learn, observe, prove
from forecaster.calendar.reader import FETCH_EVERY_SECONDS, FeedTexts, calendar_of
from forecaster.calendar.sources import (
    entry_events,
    holiday_events,
    icalendar_events,
    local_day,
    marker_events,
    parse_what_if,
    zone_of,
)
from forecaster.calendar.types import Calendar, CalendarError, Event
from forecaster.calendar.wrapper import with_calendar
from forecaster.commands import mount
from forecaster.forecast import predict
from forecaster.forecast.types import DemandSeries, Forecast, NoForecast

START = datetime(2026, 4, 1, tzinfo=UTC)
STEP = timedelta(minutes=30)
LEVELS = (0.1, 0.5, 0.9)
BERLIN = zone_of("Europe/Berlin")


def match_on(day: int, *, hour: int = 20, factor: float | None = None) -> Event:
    start = START + timedelta(days=day, hours=hour)
    return Event("match", start, start + timedelta(hours=3), factor=factor)


def flat(origin: datetime, horizon: timedelta) -> Forecast | NoForecast:
    """A base that says 100 always, give or take ten."""
    count = math.ceil(horizon / STEP)
    frame = pd.DataFrame({"ds": pd.date_range(origin, periods=count, freq=STEP)})
    for level, value in zip(LEVELS, (90.0, 100.0, 110.0), strict=True):
        frame[f"q{level:g}"] = value
    return Forecast("shop", origin, "flat", STEP, LEVELS, frame, START, origin)


def traffic(days: int, events: list[Event], *, times: float) -> DemandSeries:
    """100 always, `times` as much while an event lasts."""
    ds = pd.date_range(START, periods=days * 48, freq=STEP)
    values = np.full(len(ds), 100.0)
    for event in events:
        values[(ds >= event.starts_at) & (ds < event.ends_at)] *= times
    return DemandSeries("shop", STEP, pd.DataFrame({"ds": ds, "y": values}))


DAYS = (4, 6, 11, 13)


def asked(events: list[Event], series: DemandSeries, *, day: int = 20, supposed: tuple[Event, ...] = ()) -> tuple[Forecast, tuple[str, ...]]:  # fmt: skip  # noqa: E501
    plain = flat(START + timedelta(days=day), timedelta(hours=24))
    assert isinstance(plain, Forecast)
    found = with_calendar(plain, series, Calendar(tuple(events), supposed), base=flat)
    return found, found.notes


def at(forecast: Forecast, instant: datetime) -> list[float]:
    row = forecast.frame[forecast.frame["ds"] == instant].drop(columns="ds")
    return [float(value) for value in row.to_numpy()[0]]


def test_an_event_has_a_lead_six_parts_and_what_comes_after() -> None:
    event = replace(match_on(0), lead=timedelta(hours=1))  # 20:00 to 23:00 in parts of half an hour
    hours = [18.5, 19.0, 19.5, 20.0, 22.9, 23.0, 23.4, 23.5]
    seconds = np.array([START.timestamp() + hour * 3600 for hour in hours])
    assert bins_of(event, seconds).tolist() == [-1, 0, 0, 1, 6, 7, 7, -1]


def test_what_past_events_did_is_learnt_with_doubt() -> None:
    events = [match_on(day) for day in DAYS[:3]]
    series = traffic(20, events, times=2.0)
    seen = [one for one in (observe(event, series, flat) for event in events) if one]
    effect = learn("match", seen)
    # Three times log 2, shrunk by one "nothing": 3 / 4 of it. Right after the event nothing was seen: log 1.
    assert effect.logs[1:7] == pytest.approx([0.75 * math.log(2)] * 6)
    assert effect.logs[7] == 0
    # No lead, so seven bins are known. Each occurrence is off by a quarter of log 2 in six of them: 6 / 7 x 0.1733 =
    # 0.1485. Variance: (0.2^2 + 3 x 0.1485^2) / 4 = 0.02654, times 1 + 1/3 for the mean's own doubt: 0.03539.
    assert effect.deviation == pytest.approx(math.sqrt(0.03539), rel=1e-3)


def test_an_effect_moves_the_median_and_widens_around_it() -> None:
    values = np.array([[90.0, 100.0, 110.0]] * 2)
    effect = Effect("match", (0.0, *[math.log(2)] * 6, 0.0), 0.3, 4)
    moved = applied(values, np.array([1, -1]), match_on(0), effect, LEVELS)
    assert moved[1].tolist() == [90.0, 100.0, 110.0]  # outside nothing changes
    # z(0.9) = 1.2816, so the event's doubt is 0.3845; log 1.1 = 0.0953: sqrt of the squares' sum 0.3961.
    assert moved[0].tolist() == pytest.approx([200 * math.exp(-0.3987), 200.0, 200 * math.exp(0.3961)], rel=1e-3)


def test_an_effect_that_proved_itself_is_in_the_forecast_and_only_while_the_event_lasts() -> None:
    events = [match_on(day) for day in (*DAYS, 20)]
    series = traffic(20, events, times=2.0)
    forecast, notes = asked(events, series)
    # Four occurrences of log 2 and one nothing: 2^(4/5).
    assert at(forecast, events[-1].starts_at)[1] == pytest.approx(100 * 2**0.8)
    assert at(forecast, events[-1].starts_at - STEP) == [90.0, 100.0, 110.0]
    assert forecast.model == "flat+calendar"
    assert notes[0].startswith("match: its effect is in; on 3 past occurrences the loss with it was")


@pytest.mark.parametrize("days", [DAYS[:2], (4, 6, 11, 13)])
def test_an_event_that_did_nothing_or_is_too_new_changes_nothing_whatever_factor_was_expected(
    days: tuple[int, ...],
) -> None:
    events = [match_on(day, factor=3.0) for day in (*days, 20)]
    times = 1.0 if len(days) > 2 else 3.0  # did nothing; or did it, but twice only
    forecast, notes = asked(events, traffic(20, events, times=times))
    assert at(forecast, events[-1].starts_at) == [90.0, 100.0, 110.0]
    assert forecast.model == "flat"
    assert "left out" in notes[0]


def test_an_event_that_now_doubles_and_now_halves_demand_widens_the_quantiles_and_leaves_the_median() -> None:
    events = [match_on(day) for day in DAYS]
    frame = traffic(20, events[::2], times=2.0).frame
    frame["y"] *= traffic(20, events[1::2], times=0.5).frame["y"] / 100
    seen = [one for one in (observe(event, DemandSeries("shop", STEP, frame), flat) for event in events) if one]
    trial = prove("match", seen, LEVELS)
    assert trial.effect.logs[1:7] == (0.0,) * 6  # two logs of 2 and two of a half
    assert trial.admitted
    low, middle, high = applied(np.array([[90.0, 100.0, 110.0]]), np.array([1]), events[0], trial.effect, LEVELS)[0]
    assert (low < 90, middle, high > 110) == (True, 100.0, True)


def test_what_came_after_the_origin_changes_nothing() -> None:
    events = [match_on(day) for day in (*DAYS, 20, 22)]
    whole = traffic(30, events, times=2.0)
    other = whole.frame.copy()
    later = other["ds"] >= START + timedelta(days=20)
    other.loc[later, "y"] = other.loc[later, "y"].sample(frac=1, random_state=1).to_numpy() * 7
    one, _ = asked(events, whole)
    two, _ = asked(events, DemandSeries("shop", STEP, other))
    assert one.frame.equals(two.frame)


def test_what_is_supposed_is_taken_as_true_with_a_factor_or_as_was_learnt() -> None:
    events = [match_on(day) for day in DAYS]
    series = traffic(20, events, times=2.0)
    forecast, notes = asked([], series, supposed=(match_on(20, factor=1.8),))
    assert at(forecast, match_on(20).starts_at)[1] == pytest.approx(180)
    assert notes == ("supposed: match at 2026-04-21T20:00Z, times 1.8",)
    learnt, notes = asked(events, series, supposed=(match_on(20),))
    assert at(learnt, match_on(20).starts_at)[1] == pytest.approx(100 * 2**0.8)
    assert "as 4 past occurrences taught" in notes[0]
    with pytest.raises(CalendarError, match="expected a factor"):
        asked([], series, supposed=(match_on(20),))


def test_a_day_is_a_local_day_of_23_and_25_hours_when_clocks_change() -> None:
    lengths = [local_day(day, BERLIN) for day in (date(2026, 3, 29), date(2026, 10, 25), date(2026, 7, 1))]
    assert [end - start for start, end in lengths] == [timedelta(hours=hours) for hours in (23, 25, 24)]
    assert lengths[2][0] == datetime(2026, 6, 30, 22, tzinfo=UTC)


def test_holidays_are_those_of_the_country_and_its_part() -> None:
    def days(part: str | None) -> set[datetime]:
        span = (datetime(2026, 5, 31, tzinfo=UTC), datetime(2026, 6, 30, tzinfo=UTC))
        return {
            event.starts_at
            for event in holiday_events("DE", subdivision=part, since=span[0], until=span[1], zone=BERLIN)
        }

    assert days(None) == set()
    assert days("BY") == {datetime(2026, 6, 3, 22, tzinfo=UTC)}  # Corpus Christi, 4 June 2026, in Bavaria
    with pytest.raises(CalendarError, match="expected a country and subdivision that are known, got XX"):
        holiday_events("XX", subdivision=None, since=START, until=START, zone=BERLIN)


ICS = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//test//EN
BEGIN:VEVENT
UID:a
SUMMARY:League
DTSTART;TZID=Europe/Berlin:20260321T200000
DURATION:PT2H
RRULE:FREQ=WEEKLY;COUNT=3
CATEGORIES:Match,Sport
X-TIDEGAUGE-LEAD:30m
X-TIDEGAUGE-FACTOR:1.8
END:VEVENT
BEGIN:VEVENT
UID:b
SUMMARY:Sale
DTSTART;VALUE=DATE:20260401
DTEND;VALUE=DATE:20260403
END:VEVENT
END:VCALENDAR
"""


def test_icalendar_events_are_unrolled_in_local_time() -> None:
    span = (datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 5, 1, tzinfo=UTC))
    found = icalendar_events(ICS, zone=BERLIN, since=span[0], until=span[1], where="x")
    # 20:00 in Berlin is 19:00 UTC until the clocks change on 29 March, 18:00 after.
    matches = [event for event in found if event.kind == "match"]
    assert [(event.starts_at.day, event.starts_at.hour) for event in matches] == [(21, 19), (28, 19), (4, 18)]
    assert (matches[0].lead, matches[0].factor, matches[0].name) == (timedelta(minutes=30), 1.8, "League")
    [sale] = [event for event in found if event.kind == "event"]
    assert sale.starts_at == datetime(2026, 3, 31, 22, tzinfo=UTC)
    assert sale.ends_at - sale.starts_at == timedelta(days=2)
    with pytest.raises(CalendarError, match="expected iCalendar text"):
        icalendar_events("hello", zone=BERLIN, since=START, until=START, where="feed")


def test_a_file_of_events_is_read_in_local_time_and_refused_by_line(tmp_path: Path) -> None:
    path = tmp_path / "events.yaml"
    path.write_text("events:\n  - {kind: sale, starts_at: 2026-11-27T08:00, length: 12h, lead: 1h, factor: 2}\n")
    [event] = entry_events(read_entries_file(path), BERLIN)
    assert event.starts_at == datetime(2026, 11, 27, 7, tzinfo=UTC)
    assert (event.lead, event.factor) == (timedelta(hours=1), 2.0)
    path.write_text("events:\n  - {kind: sale, starts_at: soon, length: 12h}\n")
    with pytest.raises(CatalogError, match=r"events.yaml:2: events\[0\].starts_at: expected an instant"):
        read_entries_file(path)


def test_the_catalog_carries_the_calendar_of_a_service() -> None:
    text = (
        "version: 1\nservices:\n  a:\n    source: events\n    timezone: Europe/Berlin\n    calendar:\n"
        "      country: DE\n      subdivision: BY\n"
        "      events: [{kind: match, starts_at: 2026-05-01T20:00, length: 2h}]\n"
    )
    source = parse_catalog(text, name="t.yaml").service("a").calendar
    assert (source.country, source.subdivision, source.events[0].kind) == ("DE", "BY", "match")
    with pytest.raises(CatalogError, match="expected a country beside the subdivision"):
        parse_catalog("version: 1\nservices: {a: {source: events, calendar: {subdivision: BY}}}", name="t.yaml")


def test_marks_of_the_record_are_events_but_for_those_that_mask_history() -> None:
    marks = [
        Marker("shop", kind, START, START, "", kind == "load_test") for kind in ("deploy", "incident", "load_test")
    ]
    events = marker_events(marks)
    assert [(event.kind, event.ends_at - event.starts_at) for event in events] == [
        ("deploy", timedelta(minutes=30)),
        ("incident", timedelta(minutes=30)),
    ]


def test_a_feed_that_is_away_costs_a_line_and_its_last_text_is_kept() -> None:
    asked_for: list[str] = []
    now = [0.0]

    def fetch(address: str) -> str:
        asked_for.append(address)
        if len(asked_for) == 2:
            raise CalendarError("away")
        return ICS

    feeds = FeedTexts(fetch, lambda: now[0])
    source = CalendarSource(icalendar="https://example.com/a.ics")
    span = {"since": datetime(2026, 3, 1, tzinfo=UTC), "until": datetime(2026, 5, 1, tzinfo=UTC)}
    for seconds in (0.0, 10.0, FETCH_EVERY_SECONDS):
        now[0] = seconds
        calendar, amiss = calendar_of(source, timezone="Europe/Berlin", feeds=feeds, **span)
        assert (len(calendar.events), amiss) == (4, ())
    assert len(asked_for) == 2
    _, amiss = calendar_of(source, timezone="UTC", feeds=FeedTexts(lambda _: fetch_nothing(), lambda: 0.0), **span)
    assert amiss == ("no such host",)


def fetch_nothing() -> str:
    raise CalendarError("no such host")


@pytest.mark.parametrize(
    "text", ["match", "match@soon+2h x2", "match@2026-05-01T20:00", "match@2026-05-01T20:00+2h x0"]
)
def test_a_supposition_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(CalendarError, match="expected"):
        parse_what_if(text, BERLIN)


def test_the_python_api_and_the_command_take_a_calendar(tmp_path: Path) -> None:
    ds = pd.date_range("2026-04-20", periods=14 * 24, freq="h", tz="UTC")
    wave = 3000 - 2000 * np.cos(2 * np.pi * np.arange(len(ds)) / 24)
    path = tmp_path / "shop.csv"
    rows = (f"{at:%Y-%m-%dT%H:%M:%SZ},{value}" for at, value in zip(ds, wave, strict=True))
    path.write_text("\n".join(["timestamp,value", *rows]))
    supposed = parse_what_if("sale@2026-05-04T14:00+3h x1.5", BERLIN)  # 12:00 UTC
    history = pd.DataFrame({"ds": ds, "y": wave})
    origin, day = datetime(2026, 5, 4, tzinfo=UTC), timedelta(days=1)
    there = partial(predict, history, origin=origin, horizon=day, quantiles=LEVELS, timezone="Europe/Berlin")
    plain, what_if = there(), there(calendar=Calendar(supposed=(supposed,)))
    ratio = what_if["q0.5"] / plain["q0.5"]
    assert ratio[12:15].tolist() == pytest.approx([1.5] * 3)
    assert ratio[[11, 16]].tolist() == [1.0, 1.0]

    app = typer.Typer()
    mount(app)
    arguments = [
        "--what-if",
        "sale@2026-05-04T14:00+3h x1.5",
        "--timezone",
        "Europe/Berlin",
        "--quantiles",
        "0.1,0.5,0.9",
    ]
    result = CliRunner().invoke(app, ["forecast", "--csv", str(path), *arguments, "--json"])
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert answer["forecasts"][0]["points"][12]["q"]["0.5"] == pytest.approx(what_if["q0.5"][12])
    assert answer["forecasts"][0]["notes"][-1] == "supposed: sale at 2026-05-04T12:00Z, times 1.5"
    refused = CliRunner().invoke(app, ["forecast", "--csv", str(path), "--country", "XX"])
    assert refused.exit_code == 2
    assert "expected a country" in refused.stderr
