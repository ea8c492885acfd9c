"""The actuator for the local cluster: its HTTP API is to us what Kubernetes is to the Kubernetes actuator.

The API is described in ARCHITECTURE.md. This module speaks HTTP and translates its errors; it decides nothing.
"""

from __future__ import annotations

from urllib.parse import quote

import httpx

from forecaster.actuators.contract import FIELD_MANAGER, ActuatorUnavailable, FloorRefused
from forecaster.scaling.types import HpaState

_FIELDS = ("operator_floor", "min_replicas", "max_replicas", "desired", "current", "ready")


class LocalCluster:
    """Reads and writes floors at `base_url` through an httpx client that the caller makes, times and closes."""

    def __init__(self, base_url: str, http: httpx.Client) -> None:
        self._base_url = base_url.rstrip("/")
        self._http = http

    def read(self, name: str) -> HpaState:
        """Return the autoscaler's state. Raises ActuatorUnavailable."""
        return _state(self._ask("GET", name, None))

    def write_floor(self, name: str, floor: int) -> HpaState:
        """Set min_replicas as field manager `tidegauge`. Raises ActuatorUnavailable or FloorRefused."""
        response = self._ask("PATCH", name, {"min_replicas": floor, "field_manager": FIELD_MANAGER})
        return _accepted(response, f"floor {floor} of {name}")

    def release(self, name: str) -> HpaState:
        """Restore the operator's floor. Raises ActuatorUnavailable or FloorRefused."""
        return _accepted(self._ask("PATCH", name, {"release": True}), f"release of {name}")

    def _ask(self, method: str, name: str, body: dict[str, object] | None) -> httpx.Response:
        url = f"{self._base_url}/hpas/{quote(name, safe='')}"
        try:
            return self._http.request(method, url, json=body)
        except httpx.HTTPError as error:
            raise ActuatorUnavailable(f"{method} {url}: {error or type(error).__name__}") from error


def _accepted(response: httpx.Response, what: str) -> HpaState:
    if response.status_code in (400, 409, 422):
        raise FloorRefused(f"{what}: {_reason(response)}")
    return _state(response)


def _state(response: httpx.Response) -> HpaState:
    request = f"{response.request.method} {response.request.url}"
    if response.status_code != httpx.codes.OK:
        raise ActuatorUnavailable(f"{request}: answered {response.status_code}, {_reason(response)}")
    try:
        body = response.json()
        operator_floor, floor, ceiling, desired, current, ready = (int(body[key]) for key in _FIELDS)
        return HpaState(operator_floor, floor, ceiling, desired, current, ready)
    except (ValueError, TypeError, KeyError) as error:
        expected = f"expected a JSON object with the integers {', '.join(_FIELDS)}"
        raise ActuatorUnavailable(f"{request}: {expected}, got {response.text[:200]!r}") from error


def _reason(response: httpx.Response) -> str:
    try:
        return str(response.json()["error"])
    except (ValueError, TypeError, KeyError):
        return response.text[:200] or "no reason given"
