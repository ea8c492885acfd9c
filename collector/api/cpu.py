"""GET /v1/cpu: CPU-seconds per request of a service, for those who check a capacity against production."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import FastAPI, Query

from collector.api.models import instant_of
from collector.record.cpu import read_cpu_use
from collector.record.increase import LONGEST_GAP_SECONDS

if TYPE_CHECKING:
    from collector.api.app import CollectorParts

_LONGEST_REAL_GAP_SECONDS = 60.0  # four rounds of the samplers at their default


def add_cpu(app: FastAPI, parts: CollectorParts) -> None:
    """Add the route."""

    # A plain function: FastAPI runs it in its thread pool, where a blocking store is no harm.
    @app.get("/v1/cpu")
    def get_cpu(
        service: str, since: Annotated[str, Query(alias="from")], until: Annotated[str, Query(alias="to")]
    ) -> dict[str, Any]:
        begin, end = instant_of(since), instant_of(until)
        if begin >= end:
            raise ValueError(f"expected from before to, got {since!r} and {until!r}")
        gap = max(LONGEST_GAP_SECONDS, _LONGEST_REAL_GAP_SECONDS * parts.clock.speed)
        use = read_cpu_use(parts.store.client(), service, since=begin, until=end, longest_gap_seconds=gap)
        return {
            "cpu_seconds": use.cpu_seconds,
            "requests": use.requests,
            "cpu_seconds_per_request": use.cpu_seconds_per_request,
            "version": use.version,
        }
