"""What an observed application wears: one event per HTTP request, sent to the collector in the background.

`RecordRequests` is a pure ASGI middleware, worn outermost so that shed and failed requests count too; `EventClient` can
be used without it. Standard library only, nothing of the collector: this runs in the user's process, where it may
neither slow nor break anything. When it cannot keep up it drops, counts what it dropped, and says so.
"""

from __future__ import annotations

from collector.instrument.client import EVENTS_PER_BATCH, Event, EventClient
from collector.instrument.labels import UNMATCHED, country_of, route_template, trace_id_of, user_agent_family
from collector.instrument.middleware import CLIENT_CLOSED, RecordRequests

__all__ = [
    "CLIENT_CLOSED",
    "EVENTS_PER_BATCH",
    "UNMATCHED",
    "Event",
    "EventClient",
    "RecordRequests",
    "country_of",
    "route_template",
    "trace_id_of",
    "user_agent_family",
]
