"""Where events come from: public holidays, entries of a file, iCalendar text, markers of the record, a what-if.

The only importer of `holidays`, `icalendar` and `recurring_ical_events`. A day is from local midnight to local midnight
of the service's time zone, so 23 or 25 hours when clocks change. Fetching a feed is left to `reader`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from collector.catalog.calendar import CalendarEntry
from collector.record.store import Marker
from forecaster.calendar.types import CalendarError, Event

HOLIDAY = "holiday"
LEAST_MARK = timedelta(minutes=30)  # a deploy's mark is an instant; its effect is not
_WHAT_IF = re.compile(
    r"(?P<kind>[^@\s]+)@(?P<start>\S+?)\+(?P<length>\d+(?:\.\d+)?[smhdw])(?:\s+x(?P<factor>\d+(?:\.\d+)?))?"
)
_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def zone_of(name: str) -> ZoneInfo:
    """Return a time zone. Raises CalendarError."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise CalendarError(f"expected an IANA time zone like Europe/Berlin, got {name!r}") from None


def local_day(day: date, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Return a local day's first instant and the next one's, in UTC."""
    ends = (datetime(one.year, one.month, one.day, tzinfo=zone) for one in (day, day + timedelta(days=1)))
    first, last = (end.astimezone(UTC) for end in ends)
    return first, last


def holiday_events(
    country: str, *, subdivision: str | None, since: datetime, until: datetime, zone: ZoneInfo
) -> list[Event]:
    """Return the public holidays of a country (ISO 3166, such as DE; subdivision such as BY). Raises CalendarError."""
    import holidays

    years = range(since.astimezone(zone).year, until.astimezone(zone).year + 1)
    try:
        days = holidays.country_holidays(country, subdiv=subdivision, years=years)
    except (NotImplementedError, ValueError) as error:
        where = country if subdivision is None else f"{country} {subdivision}"
        raise CalendarError(
            f"holidays: expected a country and subdivision that are known, got {where}: {error}"
        ) from None
    found = [Event(HOLIDAY, *local_day(day, zone), name=str(name)) for day, name in sorted(days.items())]
    return _between(found, since, until)


def entry_events(entries: Sequence[CalendarEntry], zone: ZoneInfo) -> list[Event]:
    """Return events of tidegauge.yaml or a file; an end after a change of clocks is so many real hours later."""
    found = []
    for entry in entries:
        start = _in_utc(entry.starts_at, zone)
        found.append(Event(entry.kind, start, start + entry.length, entry.lead, entry.factor, entry.name))
    return found


def icalendar_events(text: str, *, zone: ZoneInfo, since: datetime, until: datetime, where: str) -> list[Event]:
    """Return what an iCalendar text holds between two instants, repetitions unrolled. Raises CalendarError.

    kind: X-TIDEGAUGE-KIND, else the first category in small letters, else `event`. X-TIDEGAUGE-FACTOR (1.8) and
    X-TIDEGAUGE-LEAD (30m) are what their names say. Whole days and floating times are local.
    """
    import icalendar
    import recurring_ical_events

    try:
        calendar = icalendar.Calendar.from_ical(text)
        occurrences = recurring_ical_events.of(calendar).between(since, until)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise CalendarError(f"{where}: expected iCalendar text (BEGIN:VCALENDAR ...), got: {error}") from error
    found = []
    for one in occurrences:
        start, end = _edges(one, zone, where)
        if start < end:
            factor = one.get("X-TIDEGAUGE-FACTOR")
            found.append(
                Event(
                    kind=str(one.get("X-TIDEGAUGE-KIND") or _category(one) or "event"),
                    starts_at=start,
                    ends_at=end,
                    lead=_span(str(one.get("X-TIDEGAUGE-LEAD") or ""), where),
                    factor=_number(str(factor), where) if factor is not None else None,
                    name=str(one.get("SUMMARY") or ""),
                )
            )
    return sorted(found, key=lambda event: event.starts_at)


def marker_events(markers: Iterable[Marker]) -> list[Event]:
    """Return deploys, incidents and other marks as events of their kinds; of what masks history nothing is learnt."""
    return [
        Event(mark.kind, mark.starts_at, max(mark.ends_at, mark.starts_at + LEAST_MARK), name=mark.text)
        for mark in markers
        if not mark.masks_history
    ]


def parse_what_if(text: str, zone: ZoneInfo) -> Event:
    """Return the event that `match@2026-11-25T20:00+2h x1.8` names; times are local. Raises CalendarError."""
    match = _WHAT_IF.fullmatch(text.strip())
    try:
        start = datetime.fromisoformat(match["start"]) if match else None
    except ValueError:
        start = None
    if match is None or start is None:
        raise CalendarError(f"expected KIND@START+LENGTH xFACTOR such as match@2026-11-25T20:00+2h x1.8, got {text!r}")
    begin = _in_utc(start, zone)
    factor = float(match["factor"]) if match["factor"] else None
    return Event(match["kind"], begin, begin + _span(match["length"], "--what-if"), factor=factor)


def _between(events: Sequence[Event], since: datetime, until: datetime) -> list[Event]:
    return [event for event in events if event.starts_at < until and event.ends_at > since]


def _in_utc(instant: datetime, zone: ZoneInfo) -> datetime:
    return (instant if instant.tzinfo is not None else instant.replace(tzinfo=zone)).astimezone(UTC)


def _edges(one: Any, zone: ZoneInfo, where: str) -> tuple[datetime, datetime]:
    start = one.get("DTSTART")
    if start is None:
        raise CalendarError(f"{where}: expected DTSTART in every event, got {one.get('SUMMARY')!r} without")
    begin = start.dt
    if one.get("DTEND") is not None:
        end = one.get("DTEND").dt
    elif one.get("DURATION") is not None:
        end = begin + one.get("DURATION").dt
    else:  # RFC 5545: a day for a date, nothing for an instant
        end = begin + timedelta(days=1) if not isinstance(begin, datetime) else begin
    return _edge(begin, zone), _edge(end, zone)


def _edge(value: date | datetime, zone: ZoneInfo) -> datetime:
    return _in_utc(value, zone) if isinstance(value, datetime) else local_day(value, zone)[0]


def _category(one: Any) -> str:
    categories = one.get("CATEGORIES")
    if isinstance(categories, list):
        categories = categories[0]
    names = getattr(categories, "cats", None) or []
    return str(names[0]).lower() if names else ""


def _span(text: str, where: str) -> timedelta:
    if not text:
        return timedelta(0)
    match = _SPAN.fullmatch(text.strip())
    if match is None:
        raise CalendarError(f"{where}: expected a span such as 30m or 2h, got {text!r}")
    return timedelta(seconds=float(match[1]) * _UNIT_SECONDS[match[2]])


def _number(text: str, where: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise CalendarError(f"{where}: expected a factor such as 1.8, got {text!r}") from None
