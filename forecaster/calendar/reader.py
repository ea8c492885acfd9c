"""Brings a service's events together from everywhere they are, and says which source could not be read.

A feed is fetched at most once an hour and kept when it cannot be reached: a calendar that is away makes no forecast
fail. Reading text is `sources`' job.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from collector.catalog.calendar import CalendarSource, read_entries_file
from collector.checked_yaml import CatalogError
from collector.record.store import Marker
from forecaster.calendar.sources import entry_events, holiday_events, icalendar_events, marker_events, zone_of
from forecaster.calendar.types import Calendar, CalendarError, Event

FETCH_EVERY_SECONDS = 3600.0  # real
MOST_BYTES = 5_000_000


@dataclass(slots=True)
class FeedTexts:
    """iCalendar texts by address, as last fetched. fetch: address -> text; raises CalendarError."""

    fetch: Callable[[str], str]
    monotonic: Callable[[], float]
    kept: dict[str, tuple[float, str | None, str | None]] = field(default_factory=dict)

    def text(self, address: str) -> str:
        """Return the newest text that could be had. Raises CalendarError when there never was one."""
        now = self.monotonic()
        fetched_at, text, why = self.kept.get(address, (-float("inf"), None, None))
        if now - fetched_at >= FETCH_EVERY_SECONDS:
            try:
                text, why = self.fetch(address), None
            except CalendarError as error:
                why = str(error)
            self.kept[address] = (now, text, why)
        if text is None:
            raise CalendarError(why or f"{address}: expected a calendar, got none")
        return text


def fetch_calendar(address: str, http: httpx.Client) -> str:
    """Return the text at a path or an http(s) URL. Raises CalendarError, without the query, which may be a secret."""
    parts = urlsplit(address)
    try:
        if parts.scheme not in ("http", "https"):
            return Path(address).read_text(encoding="utf-8")
        answer = http.get(address, follow_redirects=True)
        answer.raise_for_status()
    except (OSError, UnicodeDecodeError, httpx.HTTPError) as error:
        where = f"{parts.scheme}://{parts.hostname}" if parts.scheme in ("http", "https") else address
        raise CalendarError(f"{where}: expected a readable calendar, got {type(error).__name__}") from error
    if len(answer.content) > MOST_BYTES:
        raise CalendarError(f"{parts.hostname}: expected a calendar up to {MOST_BYTES:,} bytes, got more")
    return answer.text


def calendar_of(
    source: CalendarSource,
    *,
    timezone: str,
    since: datetime,
    until: datetime,
    feeds: FeedTexts,
    markers: Sequence[Marker] = (),
) -> tuple[Calendar, tuple[str, ...]]:
    """Return what is known of [since, until), and why a source could not be read (none: all could)."""
    zone = zone_of(timezone)

    def holidays() -> list[Event]:
        if source.country is None:
            return []
        return holiday_events(source.country, subdivision=source.subdivision, since=since, until=until, zone=zone)

    def feed() -> list[Event]:
        if source.icalendar is None:
            return []
        text = feeds.text(source.icalendar)
        return icalendar_events(text, zone=zone, since=since, until=until, where="calendar.icalendar")

    def file() -> list[Event]:
        return entry_events(read_entries_file(Path(source.events_file)), zone) if source.events_file else []

    found: list[Event] = []
    amiss: list[str] = []
    for read in (holidays, file, feed, lambda: entry_events(source.events, zone), lambda: marker_events(markers)):
        try:
            found += read()
        except (CalendarError, CatalogError) as error:
            amiss.append(str(error))
    inside = {event for event in found if event.starts_at - event.lead < until and event.ends_at > since}
    return Calendar(tuple(sorted(inside, key=lambda event: (event.starts_at, event.kind, event.name)))), tuple(amiss)
