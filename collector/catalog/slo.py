"""The SLOs and the classic rule of a service, as tidegauge.yaml has them: a part of collector.catalog."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, cast
from zoneinfo import ZoneInfo

from collector.checked_yaml import Block, CatalogError


@dataclass(frozen=True, slots=True)
class Calendar:
    """A window that begins anew with each period of the local calendar; weeks begin on Mondays."""

    period: Literal["week", "month", "quarter"]
    timezone: str


# What a calendar window is taken to last where no instant is known; collector.slo.windows knows the real length.
PERIODS = {"week": timedelta(days=7), "month": timedelta(days=30), "quarter": timedelta(days=91)}


@dataclass(frozen=True, slots=True)
class Slo:
    """One objective. kind `availability`: good = status < 500; `latency`: good = answered within `threshold`.

    window: the last so long (rolling), or with a `calendar` the nominal length of its period.
    """

    name: str
    kind: Literal["availability", "latency"]
    target: float
    window: timedelta
    threshold: timedelta | None = None
    route: str | None = None
    region: str | None = None
    version: str | None = None
    calendar: Calendar | None = None


@dataclass(frozen=True, slots=True)
class ClassicRule:
    """By route over `window`: breached when the mean response time or the error ratio is exceeded."""

    window: timedelta
    mean_response: timedelta
    error_ratio: float


def read_ratio(block: Block) -> float:
    """Return a ratio between 0 and 1. Raises CatalogError."""
    return block.number("a ratio between 0 and 1, both excluded", lambda value: 0 < value < 1)


def read_timezone(block: Block) -> str:
    """Return the name of an IANA time zone. Raises CatalogError."""
    name = block.text()
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        block.refuse("an IANA time zone like Europe/Berlin")
    return name


def read_slos(block: Block, timezone: str) -> tuple[Slo, ...]:
    """Check the list `slos` of a service in this time zone. Raises CatalogError."""
    slos = tuple(_slo(each, timezone) for each in block.sequence())
    names = [slo.name for slo in slos]
    if len(set(names)) != len(names):
        block.refuse("a name of its own for every SLO", f"the names {', '.join(names)}")
    return slos


def _slo(block: Block, timezone: str) -> Slo:
    block.only("name", "kind", "target", "window", "timezone", "threshold", "route", "region", "version")
    kind = block.required("kind").one_of("availability", "latency")
    threshold = block.optional("threshold", Block.duration)
    if (kind == "latency") != (threshold is not None):
        block.refuse("a threshold for a latency SLO and none for an availability SLO", f"kind {kind}")
    calendar = _calendar(block, timezone)
    return Slo(
        name=block.required("name").text(),
        kind=cast("Literal['availability', 'latency']", kind),
        target=read_ratio(block.required("target")),
        window=_rolling(block.required("window")) if calendar is None else PERIODS[calendar.period],
        threshold=threshold,
        route=block.optional("route", Block.text),
        region=block.optional("region", Block.text),
        version=block.optional("version", Block.text),
        calendar=calendar,
    )


def _calendar(block: Block, timezone: str) -> Calendar | None:
    period = block.required("window").text()
    named = block.optional("timezone", read_timezone)
    if period not in PERIODS:
        if named is not None:
            block.required("timezone").refuse("a time zone only with a window of week, month or quarter")
        return None
    return Calendar(cast("Literal['week', 'month', 'quarter']", period), named or timezone)


def _rolling(block: Block) -> timedelta:
    try:
        window = block.duration()
    except CatalogError:
        block.refuse("a duration like 30d, or week, month or quarter")
    if window < timedelta(minutes=1) or window % timedelta(minutes=1):
        block.refuse("a window of whole minutes")
    return window


def read_classic_rule(block: Block) -> ClassicRule:
    """Check `classic_rule`. Raises CatalogError."""
    block.only("window", "mean_response", "error_ratio")
    return ClassicRule(
        window=block.required("window").duration(),
        mean_response=block.required("mean_response").duration(),
        error_ratio=read_ratio(block.required("error_ratio")),
    )
