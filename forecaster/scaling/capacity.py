"""What replicas carry, in the units of the clock in use, and the autoscaler's own settings in the same units.

A capacity is declared and measured in requests per real second; demand is counted per second of the clock in use. Who
compares the two converts here. Plans use the low end of the interval: a replica may carry more, it must not carry less.
"""

from __future__ import annotations

import math

from collector.catalog import Scaling
from forecaster.scaling.hpa import HpaSpec
from forecaster.scaling.types import Capacity

_ROUNDING = 1e-9  # 36 rps at 12 each is 3 replicas, however the division rounds


def in_clock_units(capacity_rps: tuple[float, float], speed: float) -> tuple[float, float]:
    """Return (low, high) in requests/s of a clock that runs `speed` times as fast. Raises ValueError on nonsense."""
    low, high = capacity_rps
    if not (0 < low <= high and speed > 0):
        raise ValueError(f"expected 0 < low <= high and speed > 0, got capacity {capacity_rps} at speed {speed}")
    return low / speed, high / speed


def declared_capacity(scaling: Scaling, *, speed: float) -> Capacity:
    """Return the capacity that tidegauge.yaml declares, in requests/s of the clock in use."""
    low, high = in_clock_units(scaling.capacity_rps, speed)
    return Capacity(low_rps=low, high_rps=high, source="declared")


def replicas_for(rps: float, capacity: Capacity) -> int:
    """Return how many replicas carry `rps` for sure: counted at the low end of the capacity."""
    return math.ceil(max(0.0, rps) / capacity.low_rps - _ROUNDING)


def reactive_spec(scaling: Scaling, *, speed: float) -> HpaSpec:
    """Return the autoscaler that tidegauge.yaml describes, with its target in requests/s of the clock in use."""
    reactive = scaling.reactive
    return HpaSpec(
        min_replicas=scaling.min_replicas,
        max_replicas=scaling.max_replicas,
        target_per_replica=reactive.target_rps_per_replica / speed,
        sync=reactive.sync,
        tolerance=reactive.tolerance,
        scale_down_stabilization=reactive.scale_down_stabilization,
    )
