"""GET /v1/services: what the record hears of each service, and how near it is to the caps on its labels."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI

if TYPE_CHECKING:
    from collector.api.app import CollectorParts


def add_services(app: FastAPI, parts: CollectorParts) -> None:
    """Add the route."""

    @app.get("/v1/services")
    async def get_services() -> dict[str, Any]:
        heard, watched = parts.guard.report(), parts.catalog.services
        return {
            "services": [
                {
                    "service": name,
                    "source": watched[name].source if name in watched else None,
                    "labels": {dimension: asdict(known) for dimension, known in heard.get(name, {}).items()},
                }
                for name in sorted({*heard, *watched})
            ]
        }
