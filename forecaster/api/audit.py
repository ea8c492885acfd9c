"""The audit over HTTP: past decisions and what came of them, the story of one, and what our floors were worth."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Query

from collector.catalog import Catalog
from forecaster import store
from forecaster.api.shapes import patch_json, stored_decision_json
from forecaster.explain import explained_json, read_story
from forecaster.loop.world import World
from forecaster.savings import read_weeks, weeks_json
from forecaster.store.outcomes import read_outcomes, read_patches

_Limit = Annotated[int, Query(ge=1, le=10_000)]


def add_audit(app: FastAPI, catalog: Catalog, *, world: Callable[[], World]) -> None:
    """Add the routes. world raises HTTPException 503 until the store was reached."""

    @app.get("/v1/services/{service}/decisions")
    def decisions(service: str, limit: _Limit = 100) -> dict[str, Any]:
        client, name = world().client, catalog.service(service).name
        found = store.read_decisions(client, name, limit=limit)
        outcomes = read_outcomes(client, name, since=found[-1].decision.at) if found else {}
        return {"service": name, "decisions": [stored_decision_json(one, outcomes.get(one.id)) for one in found]}

    @app.get("/v1/services/{service}/patches")
    def patches(service: str, limit: _Limit = 100) -> dict[str, Any]:
        name = catalog.service(service).name
        return {
            "service": name,
            "patches": [patch_json(one) for one in read_patches(world().client, name, limit=limit)],
        }

    @app.get("/v1/services/{service}/saved")
    def saved(service: str, weeks: Annotated[int, Query(ge=1, le=520)] = 12) -> dict[str, Any]:
        known, now = catalog.service(service), world().clock.now()
        found = read_weeks(world().client, known.name, since=now - timedelta(weeks=weeks), until=now)
        return weeks_json(known, found)

    @app.get("/v1/decisions/{id_or_prefix}")
    def explain(id_or_prefix: str) -> dict[str, Any]:
        try:
            story = read_story(world().client, id_or_prefix)
        except ValueError as error:
            raise HTTPException(400, str(error)) from error
        if story is None:
            raise HTTPException(404, f"no decision {id_or_prefix!r} is stored")
        return explained_json(story)
