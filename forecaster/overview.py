"""How a service stands: mode, autoscaler, last decision, last forecast, and why. For the API and `scale status`."""

from __future__ import annotations

from typing import Any

from collector.catalog import Service
from forecaster import store
from forecaster.actuators.contract import ActuatorUnavailable
from forecaster.api.shapes import hpa_json, order_json, stored_decision_json
from forecaster.loop.look import read_orders_of
from forecaster.loop.world import World
from forecaster.orders import mode_in_force
from forecaster.store.instants import text_of


def overview_json(world: World, service: Service) -> dict[str, Any]:
    """Return mode, autoscaler, last decision, last forecast's origin, and why it is so. Raises StoreError."""
    now = world.clock.now()
    decisions = store.read_decisions(world.client, service.name, until=now, limit=1)
    forecast = store.read_latest_forecast(world.client, service.name, at=now)
    last = decisions[0] if decisions else None
    hpa, hpa_error = None, None
    if service.scaling is not None:
        try:
            hpa = world.actuator.read(service.scaling.address)
        except ActuatorUnavailable as error:
            hpa_error = str(error)
    ordered, standing = read_orders_of(world, service.name)
    return {
        "service": service.name,
        "now": text_of(now),
        "mode": mode_in_force(standing, service.name, service.scaling.mode) if service.scaling else None,
        "mode_configured": service.scaling.mode if service.scaling else None,
        "mode_ordered": order_json(ordered.mode) if ordered.mode else None,
        "paused": ordered.paused or (hpa.paused if hpa else None),
        "forecast_origin": text_of(forecast.origin) if forecast else None,
        "model": forecast.model if forecast else None,
        "last_decision": stored_decision_json(last) if last else None,
        "why": list(last.decision.reasons) if last else ["no decision has been taken yet"],
        "autoscaler": hpa_json(hpa),
        "autoscaler_error": hpa_error,
    }
