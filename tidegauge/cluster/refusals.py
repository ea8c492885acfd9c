"""Requests that the front refused, told to the collector as events: demand that no replica saw is demand still."""

from __future__ import annotations

import logging
from collections.abc import Callable

from collector.instrument import UNMATCHED, Event, EventClient, user_agent_family
from tidegauge.cluster.front import Refusal

log = logging.getLogger(__name__)

_PROBES = frozenset(["/healthz", "/readyz", "/metrics"])
_METHODS = frozenset(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])


class UntoldRefusals:
    """For a cluster without a collector: refused requests are counted by the front alone."""

    def record(self, refusal: Refusal) -> None:
        """Say it in the log."""
        log.debug("refused %s with %d", refusal.method, refusal.status)


class RecordedRefusals:
    """Makes an event of each refused request, as the middleware would have. Probes are no demand."""

    def __init__(self, client: EventClient, *, instance: str, now_seconds: Callable[[], float]) -> None:
        """Record to `client`, as `instance`; now_seconds: the clock in use, epoch seconds."""
        self._client = client
        self._instance = instance
        self._now_seconds = now_seconds

    def record(self, refusal: Refusal) -> None:
        """Buffer one event. It is dated to the refusal: no later than the clock in use shows."""
        if refusal.path not in _PROBES:
            self._client.record(event_of(refusal, instance=self._instance, now_seconds=self._now_seconds()))


def event_of(refusal: Refusal, *, instance: str, now_seconds: float) -> Event:
    """Return the event of a refused request. The front knows no route templates, and a raw path is none: UNMATCHED."""
    region = refusal.headers.get("X-Region", "")[:64]
    return Event(
        ts_us=round(now_seconds * 1e6),
        route=UNMATCHED,
        method=refusal.method if refusal.method in _METHODS else "OTHER",
        status=refusal.status,
        duration_us=min(2**32 - 1, round(refusal.duration_seconds * 1e6)),
        region=region if region.isascii() and region.replace("-", "").isalnum() else "",
        instance=instance,
        user_agent_family=user_agent_family(refusal.headers.get("User-Agent", "").encode("latin-1", "replace")),
    )
