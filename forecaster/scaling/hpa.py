"""The HorizontalPodAutoscaler's algorithm, pure: what the real controller would recommend, one sync at a time.

The simulator and the local cluster's reactive loop both run this code. Kubernetes runs its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class ScalingPolicy:
    """At most `value` replicas (kind `pods`) or `value` percent of them (kind `percent`) per `period`."""

    kind: str
    value: int
    period: timedelta


@dataclass(frozen=True, slots=True)
class HpaSpec:
    """spec of a HorizontalPodAutoscaler with one per-replica metric (kind Pods, averageValue). Defaults: Kubernetes'."""

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


@dataclass(frozen=True, slots=True)
class HpaMemory:
    """What the controller remembers between syncs: (time, recommendation) and (time, replicas added or removed)."""

    recommendations: tuple[tuple[datetime, int], ...] = ()
    scale_events: tuple[tuple[datetime, int], ...] = ()


@dataclass(frozen=True, slots=True)
class HpaReading:
    """What one sync sees. metric_per_replica: mean over ready replicas; None = metrics are down."""

    current: int
    ready: int
    metric_per_replica: float | None


@dataclass(frozen=True, slots=True)
class HpaRecommendation:
    """desired replicas, why, and what to remember for the next sync."""

    desired: int
    reason: str
    memory: HpaMemory


def recommend(spec: HpaSpec, memory: HpaMemory, reading: HpaReading, *, now: datetime) -> HpaRecommendation:
    """Return what the controller would set now (kubernetes pkg/controller/podautoscaler/horizontal.go)."""
    raise NotImplementedError
