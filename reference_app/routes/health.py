"""Health, readiness and metrics: what the cluster and Prometheus ask."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from reference_app.problems import busy, documented
from reference_app.routes.caller import PartsIn

router = APIRouter(tags=["operations"])


async def metrics_in(request: Request) -> bytes:
    """Return the metrics in Prometheus' text format."""
    text = request.app.state.metrics.text()
    assert isinstance(text, bytes)  # noqa: S101 - set by create_app
    return text


@router.get("/healthz", summary="Alive")
async def healthz() -> dict[str, str]:
    """Answers as long as the process turns its loop."""
    return {"status": "alive"}


@router.get("/readyz", summary="Ready for requests", responses=documented(503))
async def readyz(parts: PartsIn) -> dict[str, str]:
    """200 when a pooled connection reaches a primary with the needed schema, and nobody asked us to stop."""
    if parts.readiness.draining:
        raise busy("draining", "this replica has been asked to stop", retry_after_seconds=1)
    version, needed = await parts.databases.schema_version(), parts.schema_version
    if version < needed:
        detail = f"expected schema version {needed}, the database has {version}"
        raise busy("old-schema", detail, retry_after_seconds=2)
    return {"status": "ready", "replica": "in use" if parts.databases.replica_fit else "not in use"}


@router.get("/metrics", summary="Prometheus metrics", response_class=Response)
async def metrics(text: Annotated[bytes, Depends(metrics_in)]) -> Response:
    """Counts and gauges of this replica."""
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")
