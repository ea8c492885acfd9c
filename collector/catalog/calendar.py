"""The `calendar` of a service in tidegauge.yaml, and the list of events in a file of its own: read and checked.

What the events mean for demand is the forecaster's; times without a zone are local times of the service.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from collector.checked_yaml import Block, CatalogError, read_root


@dataclass(frozen=True, slots=True)
class CalendarEntry:
    """One event as it was written. starts_at: naive = local time of the service. factor: None = unknown."""

    kind: str
    starts_at: datetime
    length: timedelta
    lead: timedelta
    factor: float | None
    name: str


@dataclass(frozen=True, slots=True)
class CalendarSource:
    """Where a service's events are. country, subdivision: for public holidays. icalendar: a path or an http(s) URL."""

    country: str | None = None
    subdivision: str | None = None
    events: tuple[CalendarEntry, ...] = ()
    events_file: str | None = None
    icalendar: str | None = None


def read_calendar_block(block: Block) -> CalendarSource:
    """Return the `calendar` block. Raises CatalogError."""
    block.only("country", "subdivision", "events", "events_file", "icalendar")
    country, subdivision = block.optional("country", Block.text), block.optional("subdivision", Block.text)
    if subdivision is not None and country is None:
        block.refuse("a country beside the subdivision", f"the subdivision {subdivision} alone")
    return CalendarSource(
        country=country,
        subdivision=subdivision,
        events=block.optional("events", read_entries) or (),
        events_file=block.optional("events_file", Block.text),
        icalendar=block.optional("icalendar", Block.text),
    )


def read_entries_file(path: Path) -> tuple[CalendarEntry, ...]:
    """Return the events of a YAML file `events: [..]`. Raises CatalogError naming file, line and key."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CatalogError(f"{path}: expected a readable file of events, got: {error}") from error
    root = read_root(text, name=str(path))
    root.only("events")
    return read_entries(root.required("events"))


def read_entries(block: Block) -> tuple[CalendarEntry, ...]:
    """Return a list of events. Raises CatalogError."""
    return tuple(_entry(entry) for entry in block.sequence())


def _entry(block: Block) -> CalendarEntry:
    block.only("kind", "name", "starts_at", "length", "lead", "factor")
    return CalendarEntry(
        kind=block.required("kind").text(),
        starts_at=_instant(block.required("starts_at")),
        length=block.required("length").duration(),
        lead=block.optional("lead", Block.duration) or timedelta(0),
        factor=block.optional("factor", lambda value: value.number("a factor above 0, to 100", lambda x: 0 < x <= 100)),
        name=block.optional("name", Block.text) or "",
    )


def _instant(block: Block) -> datetime:
    try:
        return datetime.fromisoformat(block.text())
    except ValueError:
        block.refuse("an instant such as 2026-11-25T20:00 (local time) or 2026-11-25T19:00:00Z")
