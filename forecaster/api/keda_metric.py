"""The planned floor as a metric, in the form that KEDA's `metrics-api` scaler reads: for shops that want no patch.

`GET /v1/keda/{service}?target=N` answers `{"value": floor x N, ...}`; with `targetValue: N` in the ScaledObject the
autoscaler asks for exactly the planned floor, and takes the greatest of all its triggers. Without a fresh decision the
answer is 503 and KEDA's own `fallback` counts: never a zero that means "nobody knows".
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse

from collector.catalog import Catalog
from forecaster import store
from forecaster.loop.world import World
from forecaster.scaling.types import Decision

_FRESH_INTERVALS = 4  # so many may go by without a new decision: a row that repeats the one before is not always stored


def keda_metric(catalog: Catalog, world: Callable[[], World]) -> APIRouter:
    """Return the router. An unknown service raises CatalogError, a store that is down StoreError, as elsewhere."""
    router = APIRouter()

    @router.get("/v1/keda/{service}", response_model=None)
    def planned_floor(service: str, target: Annotated[float, Query(gt=0, le=1e9)] = 1.0) -> JSONResponse:
        catalog.service(service)
        present = world()
        now = present.clock.now()
        newest = store.read_decisions(present.client, service, until=now, limit=1)
        fresh = _FRESH_INTERVALS * max(present.settings.refresh, present.settings.heartbeat)
        found = published(newest[0].decision if newest else None, now=now, fresh=fresh, target=target)
        return JSONResponse(found, status_code=503 if "error" in found else 200)

    return router


def published(decision: Decision | None, *, now: datetime, fresh: timedelta, target: float) -> dict[str, Any]:
    """Return what KEDA is answered for the newest decision, or `{"error"}`. Pure.

    In mode observe that is the floor in force: nothing is to come of what is only looked at.
    """
    if decision is None:
        return {"error": "nothing has been decided yet"}
    if now - decision.at > fresh:
        return {"error": f"the newest decision is of {decision.at.isoformat()}: too old to scale by"}
    floor = decision.floor_before if decision.mode == "observe" else decision.floor_after
    return {
        "service": decision.service,
        "value": floor * target,
        "floor": floor,
        "target": target,
        "mode": decision.mode,
        "decided_at": decision.at.isoformat(),
    }
