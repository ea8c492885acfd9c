"""The HorizontalPodAutoscaler's algorithm, pure: what the real controller would recommend, one sync at a time.

The simulator and the local cluster's reactive loop both run this code. Kubernetes runs its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

SelectPolicy = Literal["Max", "Min", "Disabled"]

# What a requests-per-second metric is averaged over before the autoscaler sees it: the rate over two minutes of
# prometheus-adapter's customary rules. The local cluster and the simulator both use it.
METRIC_WINDOW = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class ScalingPolicy:
    """At most `value` replicas (kind `pods`) or `value` percent of them (kind `percent`) per `period`."""

    kind: str
    value: int
    period: timedelta


@dataclass(frozen=True, slots=True)
class HpaSpec:
    """spec of a HorizontalPodAutoscaler with one metric of kind Pods (averageValue). Defaults: Kubernetes'."""

    min_replicas: int
    max_replicas: int
    target_per_replica: float
    sync: timedelta = timedelta(seconds=15)
    tolerance: float = 0.1
    scale_up_stabilization: timedelta = timedelta(0)
    scale_down_stabilization: timedelta = timedelta(seconds=300)
    scale_up_policies: tuple[ScalingPolicy, ...] = (
        ScalingPolicy("percent", 100, timedelta(seconds=15)),
        ScalingPolicy("pods", 4, timedelta(seconds=15)),
    )
    scale_down_policies: tuple[ScalingPolicy, ...] = (ScalingPolicy("percent", 100, timedelta(seconds=15)),)
    scale_up_select: SelectPolicy = "Max"
    scale_down_select: SelectPolicy = "Max"
    scale_up_tolerance: float | None = None  # None: tolerance, as it is for the other direction
    scale_down_tolerance: float | None = None


@dataclass(frozen=True, slots=True)
class HpaMemory:
    """What the controller remembers between syncs: (time, recommendation) and (time, replicas added or removed)."""

    recommendations: tuple[tuple[datetime, int], ...] = ()
    scale_events: tuple[tuple[datetime, int], ...] = ()


@dataclass(frozen=True, slots=True)
class HpaReading:
    """What one sync sees. metric_per_replica: mean over ready replicas; None = metrics are down.

    ready: those that are ready and have a metric; missing: those that should have one and have none. The rest of the
    current ones are starting.
    """

    current: int
    ready: int
    metric_per_replica: float | None
    missing: int = 0


@dataclass(frozen=True, slots=True)
class HpaRecommendation:
    """desired replicas, why, and what to remember for the next sync."""

    desired: int
    reason: str
    memory: HpaMemory


def recommend(spec: HpaSpec, memory: HpaMemory, reading: HpaReading, *, now: datetime) -> HpaRecommendation:
    """Return what the controller would set now (kubernetes pkg/controller/podautoscaler/horizontal.go).

    `reading.current` counts every replica the autoscaler asked for, starting ones too. The memory returned holds the
    change from current to desired as a scale event: a caller that could not apply it passes the old memory again.
    """
    if not memory.recommendations:  # a controller that has just started remembers what it found
        memory = HpaMemory(((now, reading.current),), memory.scale_events)
    if reading.current == 0 and spec.min_replicas != 0:
        return HpaRecommendation(0, "scaled to zero by hand: scaling is disabled", memory)
    # The two branches that need no metric: they hold while metrics are down, and no policy slows them.
    if reading.current > spec.max_replicas:
        return _rescaled(spec, memory, reading, spec.max_replicas, "current is above the most allowed", now)
    if reading.current < spec.min_replicas:
        return _rescaled(spec, memory, reading, spec.min_replicas, "current is below the floor", now)
    if reading.metric_per_replica is None or reading.ready <= 0:
        return HpaRecommendation(reading.current, "no metrics: keeping what is", memory)
    wanted, reason = _wanted_by_metric(spec, reading, reading.metric_per_replica)
    stabilized = _stabilized(spec, memory, reading.current, wanted, now)
    if stabilized != wanted:
        reason += f"; stabilized from {wanted} to {stabilized}"
    memory = _with_recommendation(spec, memory, wanted, now)
    desired = _within_rates(spec, memory, reading.current, stabilized, now)
    if desired != stabilized:
        reason += f"; limited from {stabilized} to {desired}"
    return _rescaled(spec, memory, reading, desired, reason, now)


def _wanted_by_metric(spec: HpaSpec, reading: HpaReading, metric: float) -> tuple[int, str]:
    """calcPlainMetricReplicas: what has no metric counts against the change, whichever direction that is.

    Starting replicas are idle when scaling up, and not there at all when scaling down. Replicas whose metric is missing
    are idle when scaling up, and exactly at the target when scaling down.
    """
    ratio = metric / spec.target_per_replica
    starting = max(0, reading.current - reading.ready - reading.missing)
    idle = starting if ratio > 1.0 else 0
    if not idle and not reading.missing:
        if _within_tolerance(spec, ratio):
            return reading.current, f"ratio {ratio:.2f}: within tolerance"
        return math.ceil(ratio * reading.ready), f"ratio {ratio:.2f}"
    load = ratio * reading.ready + (reading.missing if ratio < 1.0 else 0)
    counted = load / (reading.ready + reading.missing + idle)
    reason = f"ratio {counted:.2f} counting starting replicas" + (" and missing metrics" if reading.missing else "")
    turned = (ratio < 1.0 < counted) or (counted < 1.0 < ratio)
    if turned or _within_tolerance(spec, counted):
        return reading.current, f"{reason}: within tolerance"
    wanted = math.ceil(load)
    if (counted < 1.0 and wanted > reading.current) or (counted > 1.0 and wanted < reading.current):
        return reading.current, f"{reason}: it would turn the direction"
    return wanted, reason


def _within_tolerance(spec: HpaSpec, ratio: float) -> bool:
    up = spec.tolerance if spec.scale_up_tolerance is None else spec.scale_up_tolerance
    down = spec.tolerance if spec.scale_down_tolerance is None else spec.scale_down_tolerance
    return 1.0 - down <= ratio <= 1.0 + up


def _stabilized(spec: HpaSpec, memory: HpaMemory, current: int, wanted: int, now: datetime) -> int:
    """stabilizeRecommendationWithBehaviors: up to the lowest, down to the highest, of each window."""
    lowest = highest = wanted
    up_cutoff, down_cutoff = now - spec.scale_up_stabilization, now - spec.scale_down_stabilization
    for at, recommendation in memory.recommendations:
        if at > up_cutoff:
            lowest = min(lowest, recommendation)
        if at > down_cutoff:
            highest = max(highest, recommendation)
    return min(max(current, lowest), highest)


def _within_rates(spec: HpaSpec, memory: HpaMemory, current: int, desired: int, now: datetime) -> int:
    """convertDesiredReplicasWithBehaviorRate: the policy that allows the most change counts, or the least, or none."""
    if desired > current:
        limits = [_up_limit(policy, memory, current, now) for policy in spec.scale_up_policies]
        return min(desired, spec.max_replicas, max(current, _selected(spec.scale_up_select, limits, current, up=True)))
    if desired < current:
        limits = [_down_limit(policy, memory, current, now) for policy in spec.scale_down_policies]
        allowed = _selected(spec.scale_down_select, limits, current, up=False)
        return max(desired, spec.min_replicas, min(current, allowed))
    return desired


def _selected(select: SelectPolicy, limits: list[int], current: int, *, up: bool) -> int:
    if select == "Disabled" or not limits:
        return current
    return max(limits) if (select == "Max") == up else min(limits)


def _up_limit(policy: ScalingPolicy, memory: HpaMemory, current: int, now: datetime) -> int:
    at_period_start = current - _changed(memory, now - policy.period)
    if policy.kind == "pods":
        return at_period_start + policy.value
    return math.ceil(at_period_start * (100 + policy.value) / 100)


def _down_limit(policy: ScalingPolicy, memory: HpaMemory, current: int, now: datetime) -> int:
    at_period_start = current - _changed(memory, now - policy.period)
    if policy.kind == "pods":
        return at_period_start - policy.value
    return at_period_start * (100 - policy.value) // 100


def _changed(memory: HpaMemory, cutoff: datetime) -> int:
    return sum(change for at, change in memory.scale_events if at > cutoff)


def _with_recommendation(spec: HpaSpec, memory: HpaMemory, wanted: int, now: datetime) -> HpaMemory:
    """Remember the recommendation as the metric gave it, before any floor, and forget what no window reaches."""
    cutoff = now - max(spec.scale_up_stabilization, spec.scale_down_stabilization)
    kept = tuple(entry for entry in memory.recommendations if entry[0] > cutoff)
    return HpaMemory((*kept, (now, wanted)), memory.scale_events)


def _rescaled(
    spec: HpaSpec, memory: HpaMemory, reading: HpaReading, desired: int, reason: str, now: datetime
) -> HpaRecommendation:
    policies = spec.scale_up_policies + spec.scale_down_policies
    cutoff = now - max((policy.period for policy in policies), default=timedelta(0))
    events = tuple(event for event in memory.scale_events if event[0] > cutoff)
    if desired != reading.current:
        events = (*events, (now, desired - reading.current))
    return HpaRecommendation(desired, reason, HpaMemory(memory.recommendations, events))
