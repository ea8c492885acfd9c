"""How a decision's reasons write instants, spans, rates, counts and probabilities, so that all of them do it alike."""

from __future__ import annotations

from datetime import datetime, timedelta


def clock(instant: datetime) -> str:
    """Return the hour and minute (UTC)."""
    return f"{instant:%H:%M}"


def span(length: timedelta) -> str:
    """Return a span in minutes; in seconds under one, from two hours on in hours."""
    seconds = length.total_seconds()
    if seconds < 60:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:,.3g} h"


def rate(rps: float, high_rps: float | None = None) -> str:
    """Return a rate of demand, or the interval that ends at another, with its unit."""
    low = f"{rps:.4g}"
    high = low if high_rps is None else f"{high_rps:.4g}"
    return f"{low} requests/s" if low == high else f"{low} to {high} requests/s"


def counted(number: int, thing: str) -> str:
    """Return a number of things: 1 replica, 2 replicas."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def chance(probability: float) -> str:
    """Return a probability for people."""
    if probability < 0.001:
        return "under 0.1 %"
    return f"{probability:.1%}" if probability < 0.1 else f"{probability:.0%}"
