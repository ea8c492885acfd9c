"""Which stretch of time is looked at, pure: presets that end now, or two instants; as the URL holds it.

`?span=9 h` is the newest nine hours and moves on; `?from=..&to=..` (ISO 8601, UTC unless it says otherwise) stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

SPANS: dict[str, timedelta] = {
    "1 h": timedelta(hours=1),
    "3 h": timedelta(hours=3),
    "9 h": timedelta(hours=9),
    "24 h": timedelta(hours=24),
    "7 d": timedelta(days=7),
    "30 d": timedelta(days=30),
}
DEFAULT_SPAN = "9 h"
ABSOLUTE = "From … to …"
MOST_POINTS = 500
SHORTEST, LONGEST = timedelta(minutes=5), timedelta(days=400)
STEPS = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 15, 60, 120, 360, 1440))
SETTLE_REAL_SECONDS = 3.0  # how long a request may take into the record: a step is drawn when it ended so long ago
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
BY_THE_HOUR_FROM = timedelta(days=3)  # whole hours have a table of their own, which is read ten times as fast


class TimeRangeError(ValueError):
    """A range that cannot be looked at: says what was expected and what came."""


@dataclass(frozen=True, slots=True)
class TimeRange:
    """A preset by its name (`since` None), or the absolute [since, until)."""

    preset: str
    since: datetime | None = None
    until: datetime | None = None

    def query(self) -> dict[str, str]:
        """Return the parameters of the URL that say it."""
        if self.since is None or self.until is None:
            return {"span": self.preset}
        return {"from": _text(self.since), "to": _text(self.until)}


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is drawn: [since, until) in whole steps. now: the instant that is looked from; minute: its last whole one.

    live: the present is looked at, so that a page refreshes itself.
    """

    now: datetime
    minute: datetime
    since: datetime
    until: datetime
    step: timedelta
    live: bool


def range_of(query: Mapping[str, str]) -> TimeRange:
    """Return what the URL's parameters ask for; the default where they ask for nothing. Raises TimeRangeError."""
    if query.get("from") or query.get("to"):
        return absolute(instant(query.get("from", "")), instant(query.get("to", "")))
    asked = query.get("span") or DEFAULT_SPAN
    if asked not in SPANS:
        raise TimeRangeError(f"span: expected one of {', '.join(SPANS)}, got {asked!r}")
    return TimeRange(asked)


def absolute(since: datetime, until: datetime) -> TimeRange:
    """Return the range between two instants. Raises TimeRangeError."""
    if not SHORTEST <= until - since <= LONGEST:
        raise TimeRangeError(
            f"expected a range of {SHORTEST // MINUTE} minutes to {LONGEST.days} days that begins before it ends,"
            f" got {since:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M}"
        )
    return TimeRange(ABSOLUTE, since, until)


def instant(text: str) -> datetime:
    """Return the instant that ISO 8601 text names, UTC where it names no zone. Raises TimeRangeError."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise TimeRangeError(f"expected an instant such as 2026-11-22T14:20Z, got {text!r}") from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)


def bounds_of(asked: TimeRange, *, now: datetime, speed: float) -> Bounds:
    """Return what to draw at `now`; speed: clock seconds per real second. An end that lies ahead is cut to now."""
    settled = now - timedelta(seconds=SETTLE_REAL_SECONDS * speed)
    if asked.since is None or asked.until is None:
        span = SPANS[asked.preset]
        step = step_for(span)
        until = floored(settled, step)
        return Bounds(now, floored(settled, MINUTE), until - span, until, step, live=True)
    step = step_for(asked.until - asked.since)
    live = asked.until > settled
    whole_end = -(-(asked.until - _EPOCH) // step) * step + _EPOCH  # rounded up: what was asked for is in it
    until = min(whole_end, floored(settled, step))
    since = min(floored(asked.since, step), until - step)
    seen = now if live else asked.until
    return Bounds(seen, floored(settled if live else seen, MINUTE), since, until, step, live)


_EPOCH = datetime.fromtimestamp(0, UTC)


def floored(moment: datetime, step: timedelta) -> datetime:
    """Return the last multiple of a step, since the epoch, at or before an instant."""
    return _EPOCH + (moment - _EPOCH) // step * step


def step_for(span: timedelta, most: int = MOST_POINTS) -> timedelta:
    """Return the narrowest of the usual steps that keeps a span under `most` points; from days on, of whole hours."""
    least = HOUR if span >= BY_THE_HOUR_FROM else MINUTE
    return next((step for step in STEPS if step >= least and span / step <= most), STEPS[-1])


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%MZ")
