"""The cluster's HTTP API: what Kubernetes' API server is to an actuator, with liveness, readiness and metrics.

The contract is in ARCHITECTURE.md ("Local cluster API"). Bodies are checked here; what they change is the autoscaler's.
Replicas listen on loopback alone: what they tell of themselves goes through here to samplers on other machines.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import Any

import aiohttp
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from yarl import URL

from tidegauge.cluster.autoscaler import Autoscaler, FloorRefusedError
from tidegauge.cluster.fleet import Fleet
from tidegauge.cluster.metrics import ClusterMetrics
from tidegauge.cluster.state import Journal

# What is passed on: a replica's own measures. Its API is the front's, which balances and counts.
_MEASURES = "metrics|internal/databases|internal/queries"
_MEASURES_TIMEOUT = aiohttp.ClientTimeout(total=4.0)  # less than a sampler waits, so that it hears the reason


class HpaPatch(BaseModel):
    """The body of PATCH /hpas/{name}: a floor, or its release to the operator's own."""

    model_config = ConfigDict(extra="forbid", strict=True)

    min_replicas: int | None = None
    field_manager: str = Field(default="unknown", min_length=1, max_length=100)
    release: bool = False


class Api:
    """The handlers. One HPA: that of the one service the cluster runs."""

    def __init__(
        self,
        *,
        autoscaler: Autoscaler,
        fleet: Fleet,
        journal: Journal,
        metrics: ClusterMetrics,
        session: aiohttp.ClientSession,
    ) -> None:
        """Answer about these; `session` asks the replicas."""
        self._autoscaler = autoscaler
        self._fleet = fleet
        self._journal = journal
        self._metrics = metrics
        self._session = session
        self._stopping = False

    def application(self) -> web.Application:
        """Return the application to serve."""
        app = web.Application(middlewares=[_json_errors])
        app.add_routes(
            [
                web.get("/healthz", self._healthz),
                web.get("/readyz", self._readyz),
                web.get("/metrics", self._prometheus),
                web.get("/hpas/{name}", self._get_hpa),
                web.patch("/hpas/{name}", self._patch_hpa),
                web.get("/hpas/{name}/transitions", self._transitions),
                web.get("/replicas", self._replicas),
                web.get(f"/replicas/{{instance}}/{{measures:{_MEASURES}}}", self._measures_of_replica),
            ]
        )
        return app

    def stop(self) -> None:
        """Be ready no more: the cluster is going."""
        self._stopping = True

    async def _healthz(self, _request: web.Request) -> web.Response:
        return web.json_response({"status": "alive"})

    async def _readyz(self, _request: web.Request) -> web.Response:
        ready, needed = self._fleet.counts().ready, self._autoscaler.scaling.min_replicas
        is_ready = ready >= needed and not self._stopping
        return web.json_response({"ready": ready, "needed": needed}, status=200 if is_ready else 503)

    async def _prometheus(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._metrics.exposition(), headers={"Content-Type": self._metrics.content_type})

    async def _get_hpa(self, request: web.Request) -> web.Response:
        self._check_name(request)
        return web.json_response(self._hpa())

    async def _patch_hpa(self, request: web.Request) -> web.Response:
        self._check_name(request)
        patch = await _read_patch(request)
        if patch.release:
            self._autoscaler.release()
        elif patch.min_replicas is not None:
            try:
                self._autoscaler.patch_floor(patch.min_replicas, manager=patch.field_manager)
            except FloorRefusedError as error:
                return web.json_response({"error": str(error)}, status=409)
        return web.json_response(self._hpa())

    async def _transitions(self, request: web.Request) -> web.Response:
        self._check_name(request)
        text = request.query.get("since", "0")
        try:
            since = float(text)
        except ValueError:
            since = math.nan
        if math.isnan(since):
            raise web.HTTPBadRequest(reason=f"since: expected epoch seconds, got {text!r}")
        return web.json_response({"transitions": [asdict(transition) for transition in self._journal.since(since)]})

    async def _replicas(self, _request: web.Request) -> web.Response:
        return web.json_response(
            [
                {
                    "instance": replica.backend.instance,
                    "port": replica.backend.port,
                    "pid": None if replica.process is None else replica.process.pid,
                    "state": replica.state,
                    "started_at": replica.started_at,
                    "ready_at": replica.ready_at,
                    "in_flight": replica.backend.in_flight,
                    "requests": replica.backend.given,
                }
                for replica in self._fleet.replicas
            ]
        )

    async def _measures_of_replica(self, request: web.Request) -> web.Response:
        instance = request.match_info["instance"]
        ports = [each.backend.port for each in self._fleet.replicas if each.backend.instance == instance]
        if not ports:
            raise web.HTTPNotFound(reason=f"no replica {instance!r}"[:200])
        url = URL.build(scheme="http", host="127.0.0.1", port=ports[0], path="/" + request.match_info["measures"])
        try:
            async with self._session.get(url.with_query(request.query), timeout=_MEASURES_TIMEOUT) as answer:
                body, kind = await answer.read(), answer.headers.get("Content-Type", "application/octet-stream")
        except (aiohttp.ClientError, TimeoutError) as error:
            raise web.HTTPBadGateway(reason=f"replica {instance} did not answer: {type(error).__name__}") from error
        return web.Response(body=body, status=answer.status, headers={"Content-Type": kind})

    def _check_name(self, request: web.Request) -> None:
        known, name = self._autoscaler.scaling.name, request.match_info["name"]
        if name != known:
            raise web.HTTPNotFound(reason=f"no HPA {name!r}; known: {known}")

    def _hpa(self) -> dict[str, Any]:
        scaling, state, counts = self._autoscaler.scaling, self._autoscaler.state, self._fleet.counts()
        return {
            "name": scaling.name,
            "operator_floor": scaling.min_replicas,
            "min_replicas": state.floor,
            "max_replicas": scaling.max_replicas,
            "desired": state.desired,
            "current": counts.current,
            "ready": counts.ready,
            "manager": state.manager,
            "offered_rps": self._autoscaler.last.offered_rps,
            "reason": self._autoscaler.last.reason,
        }


async def _read_patch(request: web.Request) -> HpaPatch:
    try:
        patch = HpaPatch.model_validate_json(await request.read())
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "body"
        raise web.HTTPBadRequest(reason=f"{where}: {first['msg']}, got {first['input']!r}"[:300]) from error
    if patch.release == (patch.min_replicas is not None):
        raise web.HTTPBadRequest(reason="expected either min_replicas or release: true")
    return patch


@web.middleware
async def _json_errors(request: web.Request, handler: Any) -> web.StreamResponse:
    """Answer errors as JSON, like everything else here."""
    try:
        response: web.StreamResponse = await handler(request)
    except web.HTTPException as error:
        allowed = {name: value for name, value in error.headers.items() if name == "Allow"}
        body = json.dumps({"error": error.reason})
        return web.Response(text=body, status=error.status, headers=allowed, content_type="application/json")
    return response
