"""How a decision's reasons write instants, spans and probabilities, so that all of them do it alike."""

from __future__ import annotations

from datetime import datetime, timedelta


def clock(instant: datetime) -> str:
    """Return the hour and minute (UTC)."""
    return f"{instant:%H:%M}"


def span(length: timedelta) -> str:
    """Return a span in minutes."""
    return f"{length.total_seconds() / 60:.3g} min"


def chance(probability: float) -> str:
    """Return a probability for people."""
    if probability < 0.001:
        return "under 0.1 %"
    return f"{probability:.1%}" if probability < 0.1 else f"{probability:.0%}"
