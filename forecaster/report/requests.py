"""What may be asked for, and its answer: read, compose, render. Commands, the API and the schedule all call this."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal

import httpx

from collector.catalog import Service
from collector.clickhouse import Client
from forecaster.calendar.reader import FeedTexts, fetch_calendar
from forecaster.calendar.sources import zone_of
from forecaster.report.capacity_report import capacity_report
from forecaster.report.formats import Format, Rendered, render
from forecaster.report.gather import read_capacity_inputs
from forecaster.report.sla_inputs import read_sla_inputs
from forecaster.report.sla_report import sla_report
from forecaster.settings import Settings
from tidegauge.clock import Clock

LONGEST_DAYS = 366
FEED_SECONDS = 10.0
Kind = Literal["capacity", "sla"]


class ReportError(ValueError):
    """A report was asked for amiss: says what was expected and what came."""


@dataclass(frozen=True, slots=True)
class ReportRequest:
    """horizon: of a capacity report. month: the first of an SLA report's, None = the one before. as_of: None = now."""

    kind: Kind
    format: Format
    horizon: timedelta = timedelta(days=90)
    month: date | None = None
    as_of: datetime | None = None


def parse_horizon(text: str) -> timedelta:
    """Return the days that `30d` or `90d` names. Raises ReportError."""
    match = re.fullmatch(r"\s*(\d{1,3})d\s*", text)
    if match is None or not 1 <= int(match[1]) <= LONGEST_DAYS:
        raise ReportError(f"expected 1d to {LONGEST_DAYS}d, such as 30d or 90d, got {text!r}")
    return timedelta(days=int(match[1]))


def month_before(now: datetime, timezone: str) -> date:
    """Return the first of the last month that is over, in a time zone."""
    first = now.astimezone(zone_of(timezone)).date().replace(day=1)
    return (first - timedelta(days=1)).replace(day=1)


def report_of(client: Client, service: Service, asked: ReportRequest, *, clock: Clock, settings: Settings) -> Rendered:
    """Return the report asked for. Raises ReportError, MonthError, CalendarError, StoreError."""
    now = clock.now().replace(microsecond=0)
    if asked.as_of is not None and asked.as_of > now:
        raise ReportError(f"expected an instant up to now, {now:%Y-%m-%dT%H:%M:%SZ}, got {asked.as_of.isoformat()}")
    as_of = asked.as_of or now
    if asked.kind == "sla":
        month = asked.month or month_before(as_of, service.timezone)
        return render(sla_report(read_sla_inputs(client, service, month, as_of=as_of)), asked.format)
    with httpx.Client(timeout=FEED_SECONDS) as http:
        feeds = FeedTexts(lambda address: fetch_calendar(address, http), time.monotonic)
        inputs = read_capacity_inputs(
            client, service, as_of=as_of, horizon=asked.horizon, speed=clock.speed_now(), settings=settings, feeds=feeds
        )
    return render(capacity_report(inputs), asked.format)
