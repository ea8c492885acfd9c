"""What replicas carry, in the units of the clock in use, and the autoscaler's own settings in the same units.

A capacity is declared and measured in requests per real second; demand is counted per second of the clock in use. Who
compares the two converts here. Plans take it to lie anywhere in its interval (`replicas`); who judges what has been
takes the low end: a replica may carry more, it must not carry less.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta

from collector.catalog import Scaling
from collector.record.store import Capacity as Measured
from forecaster.scaling.hpa import HpaSpec
from forecaster.scaling.types import Capacity

_MEASURED_CAPACITY_HOLDS = timedelta(days=30)
_TRUST = {"load-test": 0, "live-traffic": 1}
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


def capacity_in_use(
    scaling: Scaling, measured: Sequence[Measured], *, running: str | None, speed: float, now: datetime
) -> Capacity:
    """Return one replica's capacity in requests/s of the clock in use, from whoever is to be trusted most.

    In that order: a load test, live traffic, any other measurement, and what tidegauge.yaml declares; of one kind the
    newest. A measurement holds for a month at most, and for the build it was made on: `running` is the version that
    serves now, None where the record names none (then its age alone decides).
    """
    fresh = [
        one for one in measured
        if now - one.measured_at < _MEASURED_CAPACITY_HOLDS and (running is None or one.version == running)
    ]  # fmt: skip
    if not fresh:
        return declared_capacity(scaling, speed=speed)
    best = min(fresh, key=lambda one: (_TRUST.get(one.source, len(_TRUST)), now - one.measured_at))
    low, high = in_clock_units((best.low_rps, best.high_rps), speed)
    build = f", version {best.version}" if best.version else ""
    id_ = f"{best.source}/{best.version}@{best.measured_at:%Y-%m-%dT%H:%M:%SZ}"
    return Capacity(low, high, f"measured {best.measured_at:%Y-%m-%d} ({best.source}{build})", id_)


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
