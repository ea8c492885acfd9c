"""`tidegauge forecast` without its screen: one series from the record or a file, one forecast per origin asked."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx

from collector.catalog import Service
from collector.catalog.calendar import CalendarSource
from collector.clickhouse import Client
from collector.record.store import Marker, read_markers
from collector.sources.files import ImportedSeries, ImportRefusedError, parse_csv
from forecaster.calendar.demand import forecast_with_calendar
from forecaster.calendar.reader import FeedTexts, calendar_of, fetch_calendar
from forecaster.calendar.sources import parse_what_if, zone_of
from forecaster.calendar.types import Calendar
from forecaster.calendar.wrapper import Remembered
from forecaster.forecast.demand import clean_series
from forecaster.forecast.interface import Model
from forecaster.forecast.models import LearntHours
from forecaster.forecast.skill import SkillReport, backtest_forecast
from forecaster.forecast.types import DemandSeries, Forecast, NoForecast
from forecaster.forecast.wall_clock import zone_for
from forecaster.history import NOTHING_KNOWN, read_history, read_known
from forecaster.resources import Measure, Measured
from forecaster.settings import Settings
from forecaster.store.instants import floored, text_of
from tidegauge.clock import Clock


class AskedAmissError(ValueError):
    """The question has no answer as it was asked: says what was expected and what came."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What to know of the days ahead. source, timezone: None = the service's own, none for a file and UTC."""

    source: CalendarSource | None = None
    timezone: str | None = None
    what_if: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Question:
    """as_of: the instants to forecast from, in the order of the answers; empty: from the end of what is known.

    of: what of a service; a file is what it is.
    """

    horizon: timedelta
    quantiles: tuple[float, ...]
    as_of: tuple[datetime, ...] = ()
    calendar: Asked = field(default_factory=lambda: Asked())
    of: Measure = "requests"


@dataclass(frozen=True, slots=True)
class Answer:
    """forecasts: one per origin asked. unit: of all values. history: what they rest on; None where there is none."""

    series: str
    step: timedelta
    unit: str
    forecasts: tuple[Forecast | NoForecast, ...]
    history: DemandSeries | None = None


def asked_calendar(calendar: str | None, country: str | None, timezone: str | None, what_if: Sequence[str]) -> Asked:
    """Return what options ask for: a .yaml file of events or iCalendar, `DE` or `DE-BY`, a zone, suppositions."""
    if calendar is None and country is None:
        return Asked(None, timezone, tuple(what_if))
    land, _, part = (country or "").partition("-")
    yaml = calendar is not None and calendar.endswith((".yaml", ".yml"))
    source = CalendarSource(
        country=land or None,
        subdivision=part or None,
        events_file=calendar if yaml else None,
        icalendar=None if yaml else calendar,
    )
    return Asked(source, timezone, tuple(what_if))


def parse_instant(text: str) -> datetime:
    """Return an instant given as ISO 8601, in UTC when it names no zone. Raises AskedAmissError."""
    try:
        value = datetime.fromisoformat(text)
    except ValueError:
        raise AskedAmissError(f"expected an instant such as 2026-05-04T12:00:00Z, got {text!r}") from None
    return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


def read_csv(path: Path) -> ImportedSeries:
    """Parse a file `timestamp,value`. Raises AskedAmissError naming file, line, what was expected and what came."""
    try:
        return parse_csv(path)
    except ImportRefusedError as error:
        where = "" if str(error).startswith(str(path)) else f"{path}: "
        raise AskedAmissError(f"{where}{error}") from error


def answer_from_csv(path: Path, question: Question) -> Answer:
    """Forecast a file, in its own unit and step. Raises ValueError naming file, line and what was expected."""
    imported = read_csv(path)
    source, timezone = question.calendar.source or CalendarSource(), question.calendar.timezone or "UTC"
    rows, zone = imported.frame.rename(columns={"value": "y"}), _zone(timezone)
    series = clean_series(path.stem, rows, step=imported.step, zone=zone)
    first = series.frame["ds"].iloc[0].to_pydatetime()
    end = series.frame["ds"].iloc[-1].to_pydatetime() + series.step
    origins = question.as_of or (end,)
    _check_inside(origins, earliest=first + series.step, latest=end, what=str(path))
    floors = [floored(origin, series.step, anchor=first) for origin in origins]
    calendar = _calendar(question, source, timezone, since=first, until=max(floors))
    forecasts = _forecasts(series, floors, question, calendar)
    return Answer(path.stem, series.step, "requests in the interval", forecasts, series)


def answer_from_record(
    client: Client, service: Service, question: Question, *, clock: Clock, settings: Settings
) -> Answer:
    """Forecast a service from the record, in the measure's unit. Raises AskedAmissError, DemandError, StoreError."""
    now, measured = clock.now(), Measured(service.name, clock, question.of)
    known = measured.known(client, finest=settings.step)
    if known is None:
        reason = NOTHING_KNOWN if question.of == "requests" else f"no samples of its {question.of} have been recorded"
        return _nothing(service.name, settings.step, measured.unit, question, now, reason)
    origins = question.as_of or (now,)
    if question.as_of:
        _check_inside(origins, earliest=known.first + known.step, latest=now, what=f"the record of {service.name}")
    floors = [floored(origin, known.step) for origin in origins]
    settled = floored(now - settings.settle * clock.speed_now(), known.step)
    since, until = min(floors) - settings.history, min(max(floors), settled)
    rows = measured.history(client, since=since, until=until, step=known.step)
    if rows.empty:
        why = known.why_none(until, settle=settings.settle * clock.speed_now())
        return _nothing(service.name, known.step, measured.unit, question, now, why)
    source, timezone = question.calendar.source or service.calendar, question.calendar.timezone or service.timezone
    series = clean_series(service.name, rows, step=known.step, until=until, zone=_zone(timezone))
    markers = read_markers(client, service.name, since=since, until=until)
    calendar = _calendar(question, source, timezone, since=since, until=max(floors), markers=markers)
    forecasts = _forecasts(series, floors, question, calendar)
    return Answer(service.name, known.step, measured.unit, forecasts, series)


def _zone(timezone: str) -> ZoneInfo | None:
    zone_of(timezone)  # a zone that a person asked for may be none
    return zone_for(timezone)


def _nothing(name: str, step: timedelta, unit: str, question: Question, now: datetime, reason: str) -> Answer:
    nothing = tuple(NoForecast(name, floored(at, step), reason) for at in question.as_of or (now,))
    return Answer(name, step, unit, nothing)


def skill_from_csv(
    path: Path,
    *,
    origins: int,
    horizon: timedelta,
    models: Mapping[str, Model] | None = None,
    progress: Callable[[float], None] | None = None,
) -> SkillReport:
    """Score forecasts of a file against what came. Raises ValueError naming what was expected."""
    imported = read_csv(path)
    series = clean_series(path.stem, imported.frame.rename(columns={"value": "y"}), step=imported.step)
    return backtest_forecast(series, origins=origins, horizon=horizon, models=models, progress=progress)


def skill_from_record(
    client: Client,
    service: Service,
    *,
    origins: int,
    horizon: timedelta,
    clock: Clock,
    settings: Settings,
    models: Mapping[str, Model] | None = None,
    progress: Callable[[float], None] | None = None,
) -> SkillReport:
    """Score forecasts of a service against the record. Raises AskedAmissError, DemandError, SkillError, StoreError."""
    known = read_known(client, service.name, finest=settings.step)
    if known is None:
        raise AskedAmissError(f"expected demand of {service.name!r} in the record, got none recorded or imported yet")
    until = min(floored(clock.now() - settings.settle * clock.speed_now(), known.step), known.end)
    rows = read_history(client, service.name, since=known.first, until=until, step=known.step)
    zone = zone_for(service.timezone)
    series = clean_series(service.name, rows, step=known.step, until=until, zone=zone)
    return backtest_forecast(series, origins=origins, horizon=horizon, models=models, progress=progress)


def _forecasts(
    series: DemandSeries, origins: Sequence[datetime], question: Question, calendar: Calendar
) -> tuple[Forecast | NoForecast, ...]:
    learnt, remembered = LearntHours(), Remembered()
    return tuple(
        forecast_with_calendar(
            series,
            origin=origin,
            horizon=question.horizon,
            quantiles=question.quantiles,
            calendar=calendar,
            learnt=learnt,
            remembered=remembered,
        )
        for origin in origins
    )


def _calendar(
    question: Question,
    source: CalendarSource,
    timezone: str,
    *,
    since: datetime,
    until: datetime,
    markers: Sequence[Marker] = (),
) -> Calendar:
    """Return what is known of the history and the horizon. A source that a person asked for must be readable."""
    with httpx.Client(timeout=10.0) as http:
        feeds = FeedTexts(lambda address: fetch_calendar(address, http), time.monotonic)
        calendar, amiss = calendar_of(
            source, timezone=timezone, since=since, until=until + question.horizon, feeds=feeds, markers=markers
        )
    if amiss:
        raise AskedAmissError("; ".join(amiss))
    supposed = tuple(parse_what_if(text, zone_of(timezone)) for text in question.calendar.what_if)
    return Calendar(calendar.events, supposed)


def _check_inside(origins: Sequence[datetime], *, earliest: datetime, latest: datetime, what: str) -> None:
    for origin in origins:
        if not earliest <= origin <= latest:
            expected = f"expected --as-of from {text_of(earliest)} to {text_of(latest)}, what {what} holds"
            raise AskedAmissError(f"{expected}; got {text_of(origin)}")
