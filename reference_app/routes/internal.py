"""What the collector samples of one replica: its databases and their slowest statements. Not part of the public API."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query

from reference_app.database.view import slowest_statements, target_states
from reference_app.routes.caller import PartsIn

router = APIRouter(prefix="/internal", include_in_schema=False)


@router.get("/databases")
async def databases(parts: PartsIn) -> dict[str, Any]:
    """The servers as this replica sees them: lag, whether they are read, pool use; and quarters that are missing."""
    keeper = parts.databases.keeper
    return {
        "targets": [asdict(state) for state in target_states(parts.databases)],
        "missing_quarters": keeper.missing if keeper else None,
    }


@router.get("/queries")
async def queries(parts: PartsIn, limit: Annotated[int, Query(ge=1, le=100)] = 20) -> dict[str, Any]:
    """The slowest statements by server: calls, mean, total, rows and hit ratio (null where nobody counts it)."""
    return {"targets": [asdict(found) for found in await slowest_statements(parts.databases, limit)]}
