"""POST and GET /v1/markers: deploys, incidents, launches, maintenance and what they ask of the record's readers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import FastAPI, Query

from collector.api.models import MarkerIn, instant_of
from collector.clickhouse import Client
from collector.record.store import read_markers, write_marker


def add_markers(app: FastAPI, *, open_client: Callable[[], Client]) -> None:
    """Add the routes. open_client raises StoreUnavailableError while the store is away."""

    # Plain functions: FastAPI runs them in its thread pool, where a blocking store is no harm.
    @app.post("/v1/markers")
    def post_marker(marker: MarkerIn) -> dict[str, bool]:
        write_marker(open_client(), marker.to_marker())
        return {"stored": True}

    @app.get("/v1/markers")
    def get_markers(
        service: str, since: Annotated[str, Query(alias="from")], until: Annotated[str, Query(alias="to")]
    ) -> dict[str, Any]:
        found = read_markers(open_client(), service, since=instant_of(since), until=instant_of(until))
        return {
            "service": service,
            "markers": [
                {
                    "kind": each.kind,
                    "starts_at": each.starts_at.isoformat(),
                    "ends_at": each.ends_at.isoformat(),
                    "text": each.text,
                    "masks_history": each.masks_history,
                    "excludes_slo": each.excludes_slo,
                }
                for each in found
            ],
        }
