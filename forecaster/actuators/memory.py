"""The actuator's fake: autoscalers in memory. It passes the contract test that the real ones pass."""

from __future__ import annotations

from dataclasses import replace

from forecaster.actuators.contract import ActuatorUnavailable, FloorRefused
from forecaster.scaling.types import HpaState


class MemoryCluster:
    """Holds autoscalers by name. `unavailable` set to a reason makes every call fail with it."""

    def __init__(self, hpas: dict[str, HpaState]) -> None:
        self.hpas = dict(hpas)
        self.unavailable: str | None = None
        self.written: list[tuple[str, int]] = []

    def read(self, name: str) -> HpaState:
        """Return the autoscaler's state. Raises ActuatorUnavailable."""
        if self.unavailable is not None:
            raise ActuatorUnavailable(self.unavailable)
        if name not in self.hpas:
            raise ActuatorUnavailable(f"no autoscaler {name!r}; known: {', '.join(sorted(self.hpas)) or 'none'}")
        return self.hpas[name]

    def write_floor(self, name: str, floor: int) -> HpaState:
        """Set the floor; desired follows it upwards, as an HPA's would. Raises ActuatorUnavailable or FloorRefused."""
        state = self.read(name)
        if not 1 <= floor <= state.ceiling:
            raise FloorRefused(f"floor {floor} of {name}: expected 1 to {state.ceiling}")
        self.hpas[name] = replace(state, floor=floor, desired=max(state.desired, floor))
        self.written.append((name, floor))
        return self.hpas[name]

    def release(self, name: str) -> HpaState:
        """Restore the operator's floor. Raises ActuatorUnavailable."""
        state = self.read(name)
        self.hpas[name] = replace(state, floor=state.operator_floor)
        self.written.append((name, state.operator_floor))
        return self.hpas[name]
