"""Values in words and units, pure: rates, spans, ratios, burn rates, and what there is none of."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

NONE = "–"
# How far ahead a forecast looked, by the buckets of its scores.
HORIZONS = {"1h": "to 1 h", "6h": "1 to 6 h", "24h": "6 to 24 h", "7d": "1 to 7 d"}
_SYSTEM_ERROR = re.compile(r"(?:\[Errno -?\d+\] )([A-Za-z ]+)")
_DAY = re.compile(r"\d\d [A-Z][a-z]{2} ")
_TIME_OF_DAY = re.compile(r"(?<![\d:.-])([01]\d|2[0-3]):([0-5]\d)(?![\d:])(?! UTC)")


def rps(value: float | None) -> str:
    """Return a rate in requests/s, or a dash where there is none."""
    if value is None:
        return NONE
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def minutes(span: timedelta) -> str:
    """Return a span to the minute, like `2 h 5 min`."""
    whole = int(span.total_seconds() // 60)
    return f"{whole // 60} h {whole % 60} min" if whole >= 60 else f"{whole} min"


def roughly(span: timedelta) -> str:
    """Return a span in its two largest units, like `3 d 4 h`."""
    if span >= timedelta(days=1):
        return f"{span.days} d {(span - timedelta(days=span.days)) // timedelta(hours=1)} h"
    return minutes(span) if span >= timedelta(minutes=1) else f"{span.total_seconds():.0f} s"


def window(span: timedelta) -> str:
    """Return a span in its largest whole unit, like `30 d`; a single day is `24 h`."""
    for size, unit in ((timedelta(days=1), "d"), (timedelta(hours=1), "h"), (timedelta(minutes=1), "min")):
        if span % size == timedelta(0) and (span >= 2 * size or (unit != "d" and span >= size)):
            return f"{span // size} {unit}"
    return f"{span.total_seconds():g} s"


def duration(span: timedelta | None) -> str:
    """Return a response time in ms or s, or a dash where there is none."""
    if span is None:
        return NONE
    seconds = span.total_seconds()
    return f"{seconds:.3g} s" if seconds >= 1 else f"{seconds * 1000:.3g} ms"


def milliseconds(value: float | None) -> str:
    """Return a time in ms, or a dash where there is none."""
    return NONE if value is None else f"{value:,.0f} ms" if value >= 10 else f"{value:.2g} ms"


def clock_time(moment: datetime | None, zone: str | None = None) -> str:
    """Return day and time of day in UTC and, where it is another, in the viewer's zone; a dash where there is none."""
    if moment is None:
        return NONE
    text = f"{moment:%d %b %H:%M} UTC"
    if zone is None:
        return text
    local = moment.astimezone(ZoneInfo(zone))
    if not local.utcoffset():
        return text
    return f"{text} · {local:%H:%M %Z}" if local.date() == moment.date() else f"{text} · {local:%d %b %H:%M %Z}"


def time_of_day(moment: datetime, zone: str | None = None) -> str:
    """Return the time of day alone of an instant that is near, in UTC and the viewer's zone."""
    return _DAY.sub("", clock_time(moment, zone))


def with_local(text: str, near: datetime, zone: str | None) -> str:
    """Return a sentence whose bare times of day, which are UTC, say so beside the viewer's: `19:25 UTC · 20:25 CET`.

    near: when it was written; a time of day without its day is the one next to it.
    """

    def told(found: re.Match[str]) -> str:
        at = near.astimezone(UTC).replace(hour=int(found[1]), minute=int(found[2]), second=0, microsecond=0)
        at += timedelta(days=round((near - at) / timedelta(days=1)))
        return clock_time(at, zone).removeprefix(f"{at:%d %b} ")

    return _TIME_OF_DAY.sub(told, text)


def cause_of(error: str) -> str:
    """Return why a connection failed: in the system's words where an error's text has them, else its first line."""
    found = _SYSTEM_ERROR.search(error)
    return found[1].strip() if found else error.partition("\n")[0].strip()


def percent(ratio: float | None, digits: int = 2) -> str:
    """Return a ratio in percent, or a dash where there is none."""
    return NONE if ratio is None else f"{ratio * 100:.{digits}f} %"


def share_of(ratio: float | None) -> str:
    """Return a share in percent to one digit; what is there is never told as nothing."""
    return "under 0.1 %" if ratio is not None and 0 < ratio < 0.0005 else percent(ratio, 1)


def target(ratio: float) -> str:
    """Return a target with all its nines and no more."""
    return f"{ratio * 100:.6g} %"


def burns(long: float | None, short: float | None) -> str:
    """Return two burn rates as `long / short`."""
    return " / ".join(NONE if rate is None else f"{rate:.1f}" for rate in (long, short))


def money(amount: float, currency: str) -> str:
    """Return an amount with its currency, to the cent below a thousand."""
    return f"{amount:,.2f} {currency}" if abs(amount) < 1000 else f"{amount:,.0f} {currency}"
