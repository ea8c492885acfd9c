"""The one histogram of requests, under the same name and labels in a replica and at the edge."""

from __future__ import annotations

import time

from prometheus_client import CollectorRegistry, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from collector.instrument import route_template

BUCKETS_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0)


def request_histogram(registry: CollectorRegistry) -> Histogram:
    """Return the histogram, registered."""
    return Histogram(
        "http_request_duration_seconds",
        "Requests by route, method, status and cache level",
        ["route", "method", "status", "cache_level"],
        buckets=BUCKETS_SECONDS,
        registry=registry,
    )


def observed(app: ASGIApp, requests: Histogram) -> ASGIApp:
    """Return `app` with every HTTP request counted that is not somebody else's to count (`counted_elsewhere`)."""

    async def counted(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        status = 500
        started = time.perf_counter()

        async def noting_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await app(scope, receive, noting_status)
        finally:
            trail = scope.get("tidegauge", {})
            if not trail.get("counted_elsewhere"):
                route = trail.get("route") or route_template(scope)
                labels = (route, scope["method"], str(status), trail.get("cache_level", "none"))
                requests.labels(*labels).observe(time.perf_counter() - started)

    return counted
