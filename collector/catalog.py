"""What Tidegauge watches: `tidegauge.yaml`, read once at the edge into frozen values.

Every package reads services, SLOs and scaling targets from here. Reading and checking is this module's whole job; what
the numbers mean is decided by those who use them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Literal, cast

from collector.alerts.settings import AlertSettings, read_alert_settings
from collector.calendar_block import CalendarSource, read_calendar_block
from collector.catalog_slo import (
    PERIODS,
    Calendar,
    ClassicRule,
    Slo,
    read_classic_rule,
    read_ratio,
    read_slos,
    read_timezone,
)
from collector.checked_yaml import Block, CatalogError, read_root
from collector.exporters.settings import ExporterSettings, read_exporters

Mode = Literal["observe", "recommend", "act"]


__all__ = [
    "PERIODS",
    "Calendar",
    "Catalog",
    "CatalogError",
    "ClassicRule",
    "Cost",
    "Mode",
    "PrometheusSource",
    "Reactive",
    "Scaling",
    "Service",
    "Slo",
    "parse_catalog",
    "read_catalog",
]


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
    """Price of one replica for one hour. monthly_budget: what a calendar month may cost; None = nobody said."""

    replica_hour: float
    currency: str
    monthly_budget: float | None = None


@dataclass(frozen=True, slots=True)
class PrometheusSource:
    """Where a service's counters are (source `prometheus`): see collector.sources.prometheus for the meanings."""

    url: str
    requests_metric: str
    duration_metric: str | None
    match: tuple[tuple[str, str], ...]
    scrape_interval: timedelta


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
    calendar: CalendarSource = field(default_factory=CalendarSource)
    prometheus: PrometheusSource | None = None


@dataclass(frozen=True, slots=True)
class Catalog:
    """All watched services, by name, how alerts are raised, and whom else the record's metrics are told."""

    services: dict[str, Service]
    alerts: AlertSettings = field(default_factory=AlertSettings)
    exporters: tuple[ExporterSettings, ...] = ()

    def service(self, name: str) -> Service:
        """Return a service; raises CatalogError naming the known ones."""
        if name not in self.services:
            raise CatalogError(f"no service {name!r}; known: {', '.join(sorted(self.services)) or 'none'}")
        return self.services[name]


def read_catalog(path: Path) -> Catalog:
    """Read and check tidegauge.yaml. Raises CatalogError (file, line, key, expected, got)."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise CatalogError(f"{path}: expected a readable file, got: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise CatalogError(f"{path}: expected UTF-8 text, got: {error}") from error
    return parse_catalog(text, name=str(path))


def parse_catalog(text: str, *, name: str) -> Catalog:
    """Check the text of a catalog; `name` is the file named in errors. Raises CatalogError."""
    root = read_root(text, name=name)
    root.only("version", "services", "alerts", "exporters")
    if root.required("version").whole_number() != 1:
        root.required("version").refuse("1, the only version there is")
    services = {key: _service(key, block) for key, block in root.required("services").entries().items()}
    return Catalog(
        services,
        root.optional("alerts", read_alert_settings) or AlertSettings(),
        root.optional("exporters", read_exporters) or (),
    )


def _positive(block: Block) -> float:
    return block.number("a number above 0", lambda value: 0 < value < float("inf"))


def _service(name: str, block: Block) -> Service:
    block.only(
        "description", "source", "timezone", "slos", "classic_rule", "scaling", "cost", "calendar", "prometheus"
    )  # fmt: skip
    timezone = block.optional("timezone", read_timezone) or "UTC"
    slos = block.optional("slos", lambda each: read_slos(each, timezone)) or ()
    prometheus = block.optional("prometheus", _prometheus)
    if (block.required("source").text() == "prometheus") != (prometheus is not None):
        block.refuse("a prometheus block for the source prometheus, and for no other")
    return Service(
        name=name,
        description=block.optional("description", Block.text) or "",
        source=cast(
            "Literal['events', 'prometheus', 'import']",
            block.required("source").one_of("events", "prometheus", "import"),
        ),
        timezone=timezone,
        slos=slos,
        classic_rule=block.optional("classic_rule", read_classic_rule),
        scaling=block.optional("scaling", _scaling),
        cost=block.optional("cost", _cost),
        calendar=block.optional("calendar", read_calendar_block) or CalendarSource(),
        prometheus=prometheus,
    )


def _prometheus(block: Block) -> PrometheusSource:
    block.only("url", "requests_metric", "duration_metric", "match", "scrape_interval")
    match = block.optional("match", Block.entries) or {}
    return PrometheusSource(
        url=block.required("url").text(),
        requests_metric=block.required("requests_metric").text(),
        duration_metric=block.optional("duration_metric", Block.text),
        match=tuple((label, value.text()) for label, value in match.items()),
        scrape_interval=block.optional("scrape_interval", Block.duration) or timedelta(seconds=15),
    )


def _scaling(block: Block) -> Scaling:
    block.only(
        "target", "mode", "min_replicas", "max_replicas", "capacity_rps", "quantile", "lead", "largest_step",
        "cool_down", "reactive",
    )  # fmt: skip
    target = block.required("target")
    target.only("kind", "name")
    target.required("kind").one_of("local")
    least = block.required("min_replicas").whole_number(1)
    most = block.required("max_replicas").whole_number(1)
    if most < least:
        block.required("max_replicas").refuse(f"at least min_replicas ({least})")
    return Scaling(
        kind="local",
        name=target.required("name").text(),
        mode=cast("Mode", block.required("mode").one_of("observe", "recommend", "act")),
        min_replicas=least,
        max_replicas=most,
        capacity_rps=_interval(block.required("capacity_rps")),
        quantile=read_ratio(block.required("quantile")),
        lead=block.required("lead").duration(),
        largest_step=block.required("largest_step").whole_number(1),
        cool_down=block.required("cool_down").duration(),
        reactive=_reactive(block.required("reactive")),
    )


def _interval(block: Block) -> tuple[float, float]:
    ends = [_positive(end) for end in block.sequence()]
    if len(ends) != 2 or ends[0] > ends[1]:
        block.refuse("two numbers, [low, high]", str(ends))
    return ends[0], ends[1]


_DEFAULTS = Reactive(target_rps_per_replica=1.0)


def _reactive(block: Block) -> Reactive:
    block.only("target_rps_per_replica", "sync", "tolerance", "scale_down_stabilization")
    return Reactive(
        target_rps_per_replica=_positive(block.required("target_rps_per_replica")),
        sync=block.optional("sync", Block.duration) or _DEFAULTS.sync,
        tolerance=block.optional("tolerance", read_ratio) or _DEFAULTS.tolerance,
        scale_down_stabilization=block.optional("scale_down_stabilization", Block.duration)
        or _DEFAULTS.scale_down_stabilization,
    )


def _cost(block: Block) -> Cost:
    block.only("replica_hour", "currency", "monthly_budget")
    return Cost(
        _positive(block.required("replica_hour")),
        block.required("currency").text(),
        block.optional("monthly_budget", _positive),
    )
