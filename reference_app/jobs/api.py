"""Health, readiness and metrics of the job worker."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from reference_app.jobs.metrics import JobMetrics
from reference_app.parts import Readiness


def create_api(metrics: JobMetrics, readiness: Readiness) -> Starlette:
    """Return the application. Ready: the relay reaches the database and Redis, and nobody asked us to stop."""

    async def healthz(_: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def readyz(_: Request) -> Response:
        ready = metrics.relay.healthy and not readiness.draining
        return JSONResponse({"status": "ready" if ready else "not ready"}, 200 if ready else 503)

    async def show_metrics(_: Request) -> Response:
        return Response(await metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return Starlette(routes=[Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", show_metrics)])
