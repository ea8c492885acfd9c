"""Bounds of the floor by time window: which of an operator's windows hold at an instant.

A window begins at each time of its cron expression, in local time: one at 08:00 follows the change to summer time.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from cronsim import CronSim

from collector.catalog import BoundsWindow, Scaling


def bounds_between(scaling: Scaling, start: datetime, end: datetime) -> tuple[int, int | None, str]:
    """Return the least and the most replicas of any window that holds in [start, end), and the windows' names.

    Without a window: (0, None, ""). A minimum goes before a maximum.
    """
    open_ones = [window for window in scaling.bounds if opens_before(window, end) + window.length > start]
    least = max((window.min_replicas or 0 for window in open_ones), default=0)
    caps = [window.max_replicas for window in open_ones if window.max_replicas is not None]
    most = max(min(caps), least) if caps else None
    return least, most, ", ".join(window.name or f"window {window.cron}" for window in open_ones)


def opens_before(window: BoundsWindow, instant: datetime) -> datetime:
    """Return the newest time before `instant` at which the window opened; the epoch when it never has."""
    return _newest_start(window.cron, window.timezone, instant)


@lru_cache(maxsize=4096)
def _newest_start(cron: str, timezone: str, instant: datetime) -> datetime:
    local = instant.astimezone(ZoneInfo(timezone))
    try:
        return next(CronSim(cron, local, reverse=True)).astimezone(UTC)
    except StopIteration:
        return datetime.fromtimestamp(0, UTC)
