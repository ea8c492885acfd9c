"""The orders over HTTP: what the dashboard's buttons and `tidegauge scale ...` ask for. All need the role admin.

Pause, resume and release are answered while the store is down.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, HTTPException
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from collector.catalog import Catalog, Service
from forecaster.actuators.contract import Actuator, ActuatorUnavailable, FloorRefused
from forecaster.api.shapes import order_json, patch_json, stored_decision_json
from forecaster.control import (
    LONGEST_TEXT,
    Asked,
    OrderRefusedError,
    apply_now,
    pause,
    release,
    resume,
    scope_of,
    set_mode,
)
from forecaster.loop.journal import Journal
from forecaster.loop.world import Memory, World
from forecaster.orders import Order, Orders, OrdersUnreadableError


@dataclass(frozen=True, slots=True)
class ControlParts:
    """What orders are carried out with. memory: of a service, the very one that its ticks use.

    actuator: one that asks for no lease, so that a person can have the operator's floor back whatever else is down.
    """

    orders: Orders
    actuator: Actuator
    memory: Callable[[str], Memory]
    leads: Callable[[], bool]
    journal: Journal


class AskedIn(BaseModel):
    """The body of an order: a person, and why. service is for pause and resume alone; without it, all services."""

    model_config = ConfigDict(extra="forbid")

    who: str = Field(min_length=1, max_length=LONGEST_TEXT)
    reason: str = Field(min_length=1, max_length=LONGEST_TEXT)
    force: bool = False

    def asked(self) -> Asked:
        """Return our value. Raises OrderRefusedError."""
        return Asked(self.who, self.reason, self.force)


class PauseIn(AskedIn):
    """The body of a pause or its end."""

    service: str | None = None


class ModeIn(AskedIn):
    """The body of a change of mode."""

    mode: str


def add_control(
    app: FastAPI,
    control: ControlParts,
    *,
    catalog: Catalog,
    world: Callable[[], World],
    known: Callable[[], World | None],
) -> None:
    """Add the routes. world raises HTTPException 503 until the store was reached; known returns None until then."""

    @app.get("/v1/orders")
    def orders() -> dict[str, Any]:
        standing = control.orders.standing()
        return {
            "orders": [order_json(each) for each in standing.newest.values()],
            "paused": {name: why for name in catalog.services if (why := standing.paused(name)) is not None},
        }

    @app.post("/v1/pause")
    def pause_changes(body: PauseIn) -> dict[str, Any]:
        names = _names(catalog, body.service)
        memories = [control.memory(name) for name in names]
        return _told(pause(control.orders, scope_of(body.service), body.asked(), memories))

    @app.post("/v1/resume")
    def resume_changes(body: PauseIn) -> dict[str, Any]:
        _names(catalog, body.service)
        return _told(resume(control.orders, scope_of(body.service), body.asked()))

    @app.post("/v1/services/{service}/release")
    def release_floor(service: str, body: AskedIn) -> dict[str, Any]:
        found = _scaled(catalog, service)
        memory = control.memory(service)
        try:
            patch = release(
                control.actuator, control.orders, found, body.asked(),
                memory=memory, journal=control.journal, world=known(),
            )  # fmt: skip
        except (ActuatorUnavailable, FloorRefused) as error:
            raise HTTPException(502, f"paused, but the floor is as it was: {error}") from error
        return {"patch": patch_json(patch)}

    @app.post("/v1/services/{service}/mode")
    def order_mode(service: str, body: ModeIn) -> dict[str, Any]:
        found = _scaled(catalog, service)
        return _told(set_mode(world(), control.orders, found, body.mode, body.asked()))

    @app.post("/v1/services/{service}/apply")
    def decide_now(service: str, body: AskedIn) -> dict[str, Any]:
        found = _scaled(catalog, service)
        _leading(control)
        return stored_decision_json(apply_now(world(), found, control.memory(service), body.asked()).stored)

    @app.exception_handler(OrderRefusedError)
    @app.exception_handler(OrdersUnreadableError)
    def refused(_: Any, error: Exception) -> Any:
        return JSONResponse({"error": str(error)}, status_code=409)


def _names(catalog: Catalog, service: str | None) -> list[str]:
    return [catalog.service(service).name] if service is not None else sorted(catalog.services)


def _scaled(catalog: Catalog, service: str) -> Service:
    found = catalog.service(service)
    if found.scaling is None:
        raise HTTPException(404, f"service {found.name} has no scaling target in the configuration")
    return found


def _leading(control: ControlParts) -> None:
    if not control.leads():
        raise HTTPException(409, "this forecaster stands by: ask the one that leads")


def _told(order: Order) -> dict[str, Any]:
    return {"order": order_json(order)}
