"""`tidegauge forecast` without its screen: one series from the record or a file, one forecast per origin asked."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx

from collector.catalog import Catalog, Service
from collector.catalog.calendar import CalendarSource
from collector.clickhouse import Client
from collector.record.store import Marker, read_markers
from forecaster.calendar.demand import forecast_with_calendar
from forecaster.calendar.reader import FeedTexts, calendar_of, fetch_calendar
from forecaster.calendar.sources import parse_what_if, zone_of
from forecaster.calendar.types import Calendar
from forecaster.calendar.wrapper import Remembered
from forecaster.csv_file import AskedAmissError, read_csv
from forecaster.forecast.demand import clean_series
from forecaster.forecast.interface import Model
from forecaster.forecast.models import LearntHours, history_to_read
from forecaster.forecast.skill import SkillReport, backtest_forecast
from forecaster.forecast.types import DemandSeries, Forecast, NoForecast
from forecaster.forecast.wall_clock import zone_for
from forecaster.history import NOTHING_KNOWN, read_history, read_known
from forecaster.live import Live, at_levels
from forecaster.resources import Measure, Measured
from forecaster.settings import Settings
from forecaster.store.instants import floored, text_of
from tidegauge.clock import Clock


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
    client: Client,
    service: Service,
    question: Question,
    *,
    clock: Clock,
    settings: Settings,
    catalog: Catalog | None = None,
) -> Answer:
    """Forecast a service from the record, in the measure's unit: its requests as the running forecaster would.

    catalog: of who lends a shape to a service in its first days; None: nobody. Raises AskedAmissError, DemandError,
    StoreError.
    """
    now, measured = clock.now(), Measured(service.name, clock, question.of)
    known = measured.known(client, finest=settings.step)
    if known is None:
        reason = NOTHING_KNOWN if question.of == "requests" else f"no samples of its {question.of} have been recorded"
        return _nothing(service.name, settings.step, measured.unit, question, now, reason)
    settle = settings.settle * clock.speed_now()
    settled = floored(now - settle, known.step)
    origins = question.as_of or (min(settled, known.end),)
    if question.as_of:
        _check_inside(origins, earliest=known.first + known.step, latest=now, what=f"the record of {service.name}")
    floors = [floored(origin, known.step) for origin in origins]
    reach = max(settings.history, history_to_read(known.step))
    since, until = min(floors) - reach, min(max(floors), settled)
    rows = measured.history(client, since=since, until=until, step=known.step)
    if rows.empty:
        why = known.why_none(until, settle=settle)
        return _nothing(service.name, known.step, measured.unit, question, now, why)
    source, timezone = question.calendar.source or service.calendar, question.calendar.timezone or service.timezone
    series = clean_series(service.name, rows, step=known.step, until=until, zone=_zone(timezone))
    markers = read_markers(client, service.name, since=since, until=max(floors) if question.as_of else now)
    calendar = _calendar(question, source, timezone, since=since, until=max(floors), markers=markers)
    of_requests = Live(client, service, settings, catalog) if question.of == "requests" else None
    forecasts = _forecasts(series, floors, question, calendar, live=of_requests)
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
    series: DemandSeries,
    origins: Sequence[datetime],
    question: Question,
    calendar: Calendar,
    *,
    live: Live | None = None,
) -> tuple[Forecast | NoForecast, ...]:
    """Return a forecast per origin at the levels of the question. With `live`, what the loop would store there.

    The loop's own levels are forecast, too: a level that is moved takes those beyond it along.
    """
    learnt, remembered = LearntHours(), Remembered()
    levels = tuple(sorted({*question.quantiles, *(live.levels() if live else ())}))
    found = [
        forecast_with_calendar(
            series,
            origin=origin,
            horizon=question.horizon,
            quantiles=levels,
            calendar=calendar,
            learnt=learnt,
            remembered=remembered,
            asked=live.asked(origin) if live else None,
            fleet=live.fleet(series, origin) if live else None,
        )
        for origin in origins
    ]
    return tuple(at_levels(one, question.quantiles) if isinstance(one, Forecast) else one for one in found)


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
