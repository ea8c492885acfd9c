"""The values a calendar is made of. Instants are aware UTC; a day is a day of the service's own time zone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta


class CalendarError(ValueError):
    """A calendar, or an event, cannot be read: says where, what was expected and what came."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happens. kind: events of one kind are learnt together. lead: how long before it people come.

    factor: the expected effect on demand while it lasts, None = unknown.
    """

    kind: str
    starts_at: datetime
    ends_at: datetime
    lead: timedelta = timedelta(0)
    factor: float | None = None
    name: str = ""

    def __post_init__(self) -> None:
        """Refuse what cannot be: no zone, no length, a factor that is none."""
        if self.starts_at.tzinfo is None or self.ends_at.tzinfo is None or not self.starts_at < self.ends_at:
            span = f"{self.starts_at.isoformat()} to {self.ends_at.isoformat()}"
            raise CalendarError(f"event {self.kind!r}: expected aware instants, the end after the start; got {span}")
        if self.factor is not None and not 0 < self.factor <= 100:
            raise CalendarError(f"event {self.kind!r}: expected a factor above 0, to 100, got {self.factor}")
        if self.lead < timedelta(0):
            raise CalendarError(f"event {self.kind!r}: expected a lead of 0 or more, got {self.lead}")


@dataclass(frozen=True, slots=True)
class Calendar:
    """events: past ones are learnt from, those ahead change the forecast once their kind has proved itself.

    supposed: taken as true whatever was learnt (what if); a factor of its own, or the kind's learnt effect.
    """

    events: tuple[Event, ...] = ()
    supposed: tuple[Event, ...] = ()
