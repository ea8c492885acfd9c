"""The names that cached things carry, so that a change can name what it made stale. Pure.

A tag is a surrogate key too: it goes out in the header `Surrogate-Key`, in which spaces separate keys.
"""

from __future__ import annotations

from datetime import date

INVENTORY_UPDATED = "inventory.updated"
USER_UPDATED = "user.updated"
PRICING_UPDATED = "pricing.updated"
EVENTS = frozenset({INVENTORY_UPDATED, USER_UPDATED, PRICING_UPDATED})


def route_tag(origin: str, destination: str) -> str:
    """Return the tag of everything that shows this route: what a change of its prices touches."""
    return f"route:{origin}-{destination}"


def route_day_tag(origin: str, destination: str, day: date) -> str:
    """Return the tag of everything that shows this route's seats on a UTC day: what a booking touches."""
    return f"seats:{origin}-{destination}:{day.isoformat()}"


def flight_tag(flight_id: int) -> str:
    """Return the tag of what shows one flight on one day."""
    return f"flight:{flight_id}"


def user_tag(user_id: int) -> str:
    """Return the tag of what shows a user."""
    return f"user:{user_id}"


def airport_tag(code: str) -> str:
    """Return the tag of what shows an airport."""
    return f"airport:{code}"
