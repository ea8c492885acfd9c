"""The `reports` of tidegauge.yaml: which report is made when, in which format, and where it goes. Sending is elsewhere.

Mail servers and their passwords are never in the file: see the forecaster's settings.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal, cast

from cronsim import CronSim, CronSimError

from collector.alerts.receivers import ReceiverSettings, read_heartbeat
from collector.catalog.slo import read_timezone
from collector.checked_yaml import Block

ReportKind = Literal["capacity", "sla"]
ReportFormat = Literal["html", "pdf", "md", "csv", "json"]
LONGEST_DAYS = 366
_ADDRESS = re.compile(r"[^\s@<>,;]+@[^\s@<>,;]+")


@dataclass(frozen=True, slots=True)
class ReportSettings:
    """One report. cron: at local times of `timezone` (None = the service's). horizon: of a capacity report.

    Exactly one of file (a path, or a folder when it ends in /), webhook and email is given. An SLA report is of the
    month before.
    """

    name: str
    service: str
    kind: ReportKind
    format: ReportFormat
    cron: str
    timezone: str | None
    horizon: timedelta
    file: str | None = None
    webhook: ReceiverSettings | None = None
    email: tuple[str, ...] = ()


def read_reports(block: Block, services: Collection[str]) -> tuple[ReportSettings, ...]:
    """Check the list `reports`; services: those that are watched. Raises CatalogError."""
    reports = tuple(_report(each, services) for each in block.sequence())
    names = [each.name for each in reports]
    if len(set(names)) != len(names):
        block.refuse("a name of its own for every report", f"the names {', '.join(names)}")
    return reports


def _report(block: Block, services: Collection[str]) -> ReportSettings:
    block.only("name", "service", "kind", "horizon", "cron", "timezone", "format", "to")
    service = block.required("service")
    if service.text() not in services:
        service.refuse(f"a service of this file ({', '.join(sorted(services))})")
    name = block.required("name").text()
    kind = cast("ReportKind", block.optional("kind", lambda each: each.one_of("capacity", "sla")) or "capacity")
    horizon = block.optional("horizon", _days)
    if kind == "sla" and horizon is not None:
        block.required("horizon").refuse("no horizon for a report of the month before")
    form = block.optional("format", lambda each: each.one_of("html", "pdf", "md", "csv", "json"))
    whole = ReportSettings(
        name=name,
        service=service.text(),
        kind=kind,
        format=cast("ReportFormat", form or "pdf"),
        cron=_cron(block.required("cron")),
        timezone=block.optional("timezone", read_timezone),
        horizon=horizon or timedelta(days=90),
    )
    return _to(block.required("to"), whole)


def _to(block: Block, report: ReportSettings) -> ReportSettings:
    block.only("file", "webhook", "email")
    named = list(block.entries())
    if len(named) != 1:
        block.refuse("exactly one of file, webhook and email", ", ".join(named) or "none")
    target = block.required(named[0])
    if named[0] == "file":
        return replace(report, file=target.text())
    if named[0] == "webhook":
        return replace(report, webhook=replace(_webhook(target), name=f"report {report.name}"))
    email = tuple(_address(one) for one in target.sequence())
    return replace(report, email=email or target.refuse("at least one address", "an empty list"))


def _webhook(block: Block) -> ReceiverSettings:
    block.only("url", "url_env", "secret_env", "allow_networks")
    return read_heartbeat(block).receiver  # the same keys and the same checks


def _address(block: Block) -> str:
    if _ADDRESS.fullmatch(block.text()) is None:
        block.refuse("an e-mail address like capacity@example.com")
    return block.text()


def _days(block: Block) -> timedelta:
    match = re.fullmatch(r"([1-9]\d{0,2})d", block.text())
    if match is None or int(match[1]) > LONGEST_DAYS:
        block.refuse(f"days such as 30d or 90d, at most {LONGEST_DAYS}d")
    return timedelta(days=int(match[1]))


def _cron(block: Block) -> str:
    try:
        CronSim(block.text(), datetime(2026, 1, 1, tzinfo=UTC))
    except CronSimError:
        block.refuse("a cron expression such as 0 7 * * 1 (Mondays at 7)")
    return block.text()
