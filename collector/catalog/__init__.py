"""What Tidegauge watches: `tidegauge.yaml`, read once at the edge into frozen values.

Every package reads services, SLOs and scaling targets from here. Reading and checking is this module's whole job; what
the numbers mean is decided by those who use them.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Literal, cast

from collector.alerts.settings import AlertSettings, read_alert_settings
from collector.catalog.calendar import CalendarSource, read_calendar_block
from collector.catalog.reports import ReportSettings, read_reports
from collector.catalog.scaling import (
    BoundsWindow,
    Cost,
    Dependency,
    Mode,
    Reactive,
    Risk,
    Scaling,
    read_cost,
    read_dependencies,
    read_scaling,
)
from collector.catalog.slo import (
    PERIODS,
    Calendar,
    ClassicRule,
    Slo,
    read_classic_rule,
    read_slos,
    read_timezone,
)
from collector.checked_yaml import Block, CatalogError, read_root
from collector.exporters.settings import ExporterSettings, read_exporters

__all__ = [
    "PERIODS",
    "BoundsWindow",
    "Calendar",
    "Catalog",
    "CatalogError",
    "ClassicRule",
    "Cost",
    "Dependency",
    "Mode",
    "PrometheusSource",
    "Reactive",
    "Risk",
    "Scaling",
    "Service",
    "Slo",
    "parse_catalog",
    "read_catalog",
]


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
    depends_on: tuple[Dependency, ...] = ()


@dataclass(frozen=True, slots=True)
class Catalog:
    """All watched services, by name, how alerts are raised, whom else metrics are told, and which reports are due."""

    services: dict[str, Service]
    alerts: AlertSettings = field(default_factory=AlertSettings)
    exporters: tuple[ExporterSettings, ...] = ()
    reports: tuple[ReportSettings, ...] = ()

    def service(self, name: str) -> Service:
        """Return a service; raises CatalogError naming the known ones."""
        if name not in self.services:
            raise CatalogError(f"no service {name!r}; known: {', '.join(sorted(self.services)) or 'none'}")
        return self.services[name]

    def callers_of(self, name: str) -> tuple[tuple[str, float], ...]:
        """Return the services that say they call this one, with how many requests here one of theirs makes."""
        return tuple(
            (service.name, dependency.calls_per_request)
            for service in self.services.values()
            for dependency in service.depends_on
            if dependency.service == name
        )


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
    root.only("version", "services", "alerts", "exporters", "reports")
    if root.required("version").whole_number() != 1:
        root.required("version").refuse("1, the only version there is")
    blocks = root.required("services").entries()
    services = {key: _service(key, block, blocks) for key, block in blocks.items()}
    return Catalog(
        services,
        root.optional("alerts", read_alert_settings) or AlertSettings(),
        root.optional("exporters", read_exporters) or (),
        root.optional("reports", lambda block: read_reports(block, services)) or (),
    )


def _service(name: str, block: Block, known: Collection[str]) -> Service:
    block.only(
        "description", "source", "timezone", "slos", "classic_rule", "scaling", "cost", "calendar", "prometheus",
        "depends_on",
    )  # fmt: skip
    timezone = block.optional("timezone", read_timezone) or "UTC"
    slos = block.optional("slos", lambda each: read_slos(each, timezone)) or ()
    cost = block.optional("cost", read_cost)
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
        scaling=block.optional("scaling", lambda each: read_scaling(each, cost=cost, timezone=timezone)),
        cost=cost,
        calendar=block.optional("calendar", read_calendar_block) or CalendarSource(),
        prometheus=prometheus,
        depends_on=block.optional("depends_on", lambda each: read_dependencies(each, name, known)) or (),
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
