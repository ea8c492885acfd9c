"""Where windows begin and end: rolling and calendar ones, and the spans that do not count. Pure; epoch seconds.

Calendar windows follow the local calendar: a day on which the clocks change has 23 or 25 hours.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from collector.catalog import Calendar, Slo

MINUTE, HOUR = 60, 3600
Spans = Sequence[tuple[int, int]]  # [start, end) each, ascending, apart from each other


@dataclass(frozen=True, slots=True)
class WindowSpan:
    """A window that began at `start` and is counted up to `end`; `whole_end`: when it is over (rolling: at `end`)."""

    start: int
    end: int
    whole_end: int

    @property
    def elapsed_share(self) -> float:
        """The share of the window that has passed: 1 for rolling windows."""
        return (self.end - self.start) / (self.whole_end - self.start)


def end_of_minute(now: datetime) -> int:
    """Return when the minute under way ends."""
    return int(now.astimezone(UTC).timestamp()) // MINUTE * MINUTE + MINUTE


def window_span(slo: Slo, end: int) -> WindowSpan:
    """Return the span of an SLO's own window that is counted up to `end` (the end of a minute)."""
    if slo.calendar is None:
        return WindowSpan(end - int(slo.window.total_seconds()), end, end)
    start, whole_end = _period(slo.calendar, end - MINUTE)
    return WindowSpan(start, end, whole_end)


def _period(calendar: Calendar, instant: int) -> tuple[int, int]:
    zone = ZoneInfo(calendar.timezone)
    day = datetime.fromtimestamp(instant, zone).date()
    if calendar.period == "week":
        first = day - timedelta(days=day.weekday())
        return _midnight(first, zone), _midnight(first + timedelta(days=7), zone)
    months = 1 if calendar.period == "month" else 3
    first = date(day.year, (day.month - 1) // months * months + 1, 1)
    year, month = divmod(first.year * 12 + first.month - 1 + months, 12)
    return _midnight(first, zone), _midnight(date(year, month + 1, 1), zone)


def _midnight(day: date, zone: ZoneInfo) -> int:
    # Where midnight is skipped, the offset before the change makes this the instant of the change: the day's begin.
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp())


def merged(spans: Iterable[tuple[int, int]], *, step: int = MINUTE) -> list[tuple[int, int]]:
    """Return spans rounded outwards to whole steps, ascending, overlapping ones made one."""
    rounded = sorted((start // step * step, -(-end // step) * step) for start, end in spans if end > start)
    apart: list[tuple[int, int]] = []
    for start, end in rounded:
        if apart and start <= apart[-1][1]:
            apart[-1] = (apart[-1][0], max(apart[-1][1], end))
        else:
            apart.append((start, end))
    return apart


def overlap(spans: Spans, start: int, end: int) -> int:
    """Return how many seconds of [start, end) lie in the spans."""
    return sum(max(0, min(last, end) - max(first, start)) for first, last in spans)


def covers(spans: Spans, instant: int) -> bool:
    """Say whether an instant lies in one of the spans."""
    return any(start <= instant < end for start, end in spans)


def hours_to_read_by_minute(edges: Iterable[int], exclusions: Spans) -> list[int]:
    """Return the starts of the hours that hold an edge or a part of an exclusion: whole hours would say too much."""
    instants = [*edges, *(instant for span in exclusions for instant in span)]
    return sorted({instant // HOUR * HOUR for instant in instants if instant % HOUR})
