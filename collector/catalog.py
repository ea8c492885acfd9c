"""What Tidegauge watches: `tidegauge.yaml`, read once at the edge into frozen values.

Every package reads services, SLOs and scaling targets from here. Reading and checking is this module's whole job; what
the numbers mean is decided by those who use them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Literal

Mode = Literal["observe", "recommend", "act"]


class CatalogError(ValueError):
    """tidegauge.yaml is not as expected: says file, line, key, what was expected and what came."""


@dataclass(frozen=True, slots=True)
class Slo:
    """One objective. kind `availability`: good = status < 500; `latency`: good = answered within `threshold`."""

    name: str
    kind: Literal["availability", "latency"]
    target: float
    window: timedelta
    threshold: timedelta | None = None
    route: str | None = None
    region: str | None = None


@dataclass(frozen=True, slots=True)
class ClassicRule:
    """By route over `window`: breached when the mean response time or the error ratio is exceeded."""

    window: timedelta
    mean_response: timedelta
    error_ratio: float


@dataclass(frozen=True, slots=True)
class Reactive:
    """The HorizontalPodAutoscaler's own settings, for the local kind and for simulations."""

    target_rps_per_replica: float
    sync: timedelta = timedelta(seconds=15)
    tolerance: float = 0.1
    scale_down_stabilization: timedelta = timedelta(seconds=300)


@dataclass(frozen=True, slots=True)
class Scaling:
    """Where and how a service may be scaled. `capacity_rps` is (low, high) per replica, in real requests/s."""

    kind: Literal["local"]
    name: str
    mode: Mode
    min_replicas: int
    max_replicas: int
    capacity_rps: tuple[float, float]
    quantile: float
    lead: timedelta
    largest_step: int
    cool_down: timedelta
    reactive: Reactive


@dataclass(frozen=True, slots=True)
class Cost:
    """Price of one replica for one hour."""

    replica_hour: float
    currency: str


@dataclass(frozen=True, slots=True)
class Service:
    """One watched service."""

    name: str
    description: str
    source: Literal["events", "prometheus", "import"]
    timezone: str
    slos: tuple[Slo, ...]
    classic_rule: ClassicRule | None
    scaling: Scaling | None
    cost: Cost | None
    country: str | None


@dataclass(frozen=True, slots=True)
class Catalog:
    """All watched services, by name."""

    services: dict[str, Service]

    def service(self, name: str) -> Service:
        """Return a service; raises CatalogError naming the known ones."""
        if name not in self.services:
            raise CatalogError(f"no service {name!r}; known: {', '.join(sorted(self.services)) or 'none'}")
        return self.services[name]


def read_catalog(path: Path) -> Catalog:
    """Read and check tidegauge.yaml. Raises CatalogError (file, line, key, expected, got)."""
    raise NotImplementedError
