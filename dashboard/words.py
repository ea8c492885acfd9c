"""Values in words and units, pure: rates, spans, ratios, burn rates, and what there is none of."""

from __future__ import annotations

from datetime import datetime, timedelta

NONE = "–"


def rps(value: float | None) -> str:
    """Return a rate in requests/s, or a dash where there is none."""
    if value is None:
        return NONE
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def minutes(span: timedelta) -> str:
    """Return a span to the minute, like `2 h 5 min`."""
    whole = int(span.total_seconds() // 60)
    return f"{whole // 60} h {whole % 60} min" if whole >= 60 else f"{whole} min"


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


def clock_time(moment: datetime | None) -> str:
    """Return day and time of day in UTC, or a dash where there is none."""
    return NONE if moment is None else f"{moment:%d %b %H:%M}"


def percent(ratio: float | None, digits: int = 2) -> str:
    """Return a ratio in percent, or a dash where there is none."""
    return NONE if ratio is None else f"{ratio * 100:.{digits}f} %"


def target(ratio: float) -> str:
    """Return a target with all its nines and no more."""
    return f"{ratio * 100:.6g} %"


def burns(long: float | None, short: float | None) -> str:
    """Return two burn rates as `long / short`."""
    return " / ".join(NONE if rate is None else f"{rate:.1f}" for rate in (long, short))
