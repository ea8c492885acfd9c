"""The planned floor as a metric, in the form that KEDA's `metrics-api` scaler reads: for shops that want no patch.

`GET /v1/keda/{service}?target=N` answers `{"value": floor x N, ...}`; with `targetValue: N` in the ScaledObject the
autoscaler asks for exactly the planned floor, and takes the greatest of all its triggers. Without a fresh decision the
answer is 503 and KEDA's own `fallback` counts: never a zero that means "nobody knows".
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse

from collector.catalog import Catalog
from forecaster import store
from forecaster.tick import World

_FRESH_REFRESHES = 4  # so many refreshes may go by without a decision, a heartbeat included


def keda_metric(catalog: Catalog, world: Callable[[], World | None]) -> APIRouter:
    """Return the router. Unknown services raise CatalogError, a store that is down StoreError, as elsewhere."""
    router = APIRouter()

    @router.get("/v1/keda/{service}", response_model=None)
    def planned_floor(service: str, target: Annotated[float, Query(gt=0, le=1e9)] = 1.0) -> JSONResponse:
        known = catalog.service(service)
        present = world()
        if present is None:
            return _unknown("the forecaster has not reached the store yet")
        if known.scaling is None:
            return _unknown(f"service {service!r} has no scaling target", status=404)
        now = present.clock.now()
        decisions = store.read_decisions(present.client, service, until=now, limit=1)
        if not decisions:
            return _unknown("nothing has been decided yet")
        decision = decisions[0].decision
        oldest = now - _FRESH_REFRESHES * max(
            present.settings.refresh, present.settings.heartbeat, timedelta(minutes=1)
        )
        if decision.at < oldest:
            return _unknown(f"the newest decision is of {decision.at.isoformat()}: too old to scale by")
        floor, why = published_floor(decision.mode, decision.floor_before, decision.floor_after)
        body: dict[str, Any] = {"service": service, "value": floor * target, "floor": floor, "target": target}
        return JSONResponse({**body, "why": why, "decided_at": decision.at.isoformat()})

    return router


def published_floor(mode: str, floor_before: int, floor_after: int) -> tuple[int, str]:
    """Return the floor that the metric stands for, and why: the plan's, but in mode observe the one in force."""
    if mode == "observe":
        return floor_before, "mode observe: the floor in force"
    return floor_after, "the planned floor"


def _unknown(why: str, *, status: int = 503) -> JSONResponse:
    return JSONResponse({"error": why}, status_code=status)
