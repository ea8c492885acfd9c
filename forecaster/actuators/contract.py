"""What the decision needs of whoever holds the floor: read it, set it, or say why not.

One module per kind of autoscaler implements it (`local`; `memory` is the fake), and all pass the same contract test.
Deciding which floor is right is not theirs.
"""

from __future__ import annotations

from typing import Protocol

from forecaster.scaling.types import HpaState

FIELD_MANAGER = "tidegauge"


class ActuatorUnavailable(Exception):  # noqa: N818 (the name says the state of the world, as the glossary has it)
    """The autoscaler could not be read or written; the floor is whatever it was. Try again at the next tick."""


class FloorRefused(Exception):  # noqa: N818 (the name says what happened, as the glossary has it)
    """The autoscaler answered, and would not take this floor. The message is its own reason."""


class FloorConflict(FloorRefused):
    """Another field manager holds the floor. It is never taken by force; the message says how it can be handed over."""


class Actuator(Protocol):
    """The HorizontalPodAutoscaler, as far as a forecaster may touch it."""

    def read(self, name: str) -> HpaState:
        """Return the autoscaler's state. Raises ActuatorUnavailable."""
        ...

    def write_floor(self, name: str, floor: int) -> HpaState:
        """Set the floor (replicas) and return the state after it. Raises ActuatorUnavailable or FloorRefused."""
        ...

    def release(self, name: str) -> HpaState:
        """Give the operator's own floor back; return the state after it. Raises ActuatorUnavailable or FloorRefused."""
        ...
