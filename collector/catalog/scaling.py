"""The `scaling` and `depends_on` of a service, as tidegauge.yaml has them: a part of collector.catalog.

What is refused here is what can be seen in the file alone. Which floor follows from the numbers is the forecaster's.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, cast

from cronsim import CronSim, CronSimError

from collector.catalog.slo import read_ratio, read_timezone
from collector.checked_yaml import Block

Mode = Literal["observe", "recommend", "act"]
TargetKind = Literal["local", "kubernetes", "keda"]

CHANGE_BUDGET = 100


@dataclass(frozen=True, slots=True)
class Cost:
    """Price of one replica for one hour. monthly_budget: what a calendar month may cost; None = nobody said."""

    replica_hour: float
    currency: str
    monthly_budget: float | None = None


@dataclass(frozen=True, slots=True)
class Reactive:
    """The HorizontalPodAutoscaler's own settings, for the local kind and for simulations."""

    target_rps_per_replica: float
    sync: timedelta = timedelta(seconds=15)
    tolerance: float = 0.1
    scale_down_stabilization: timedelta = timedelta(seconds=300)


@dataclass(frozen=True, slots=True)
class Risk:
    """The risk as costs give it: replica_hour / violation_cost, both in the currency of the service's `cost`.

    violation_cost: of one replica that is missing for one hour. budget_pacing: more careful while little of an error
    budget is left, less so while all of it is.
    """

    replica_hour: float
    violation_cost: float
    budget_pacing: bool = True


@dataclass(frozen=True, slots=True)
class BoundsWindow:
    """From each time of `cron` (local times of `timezone`) on, for `length`: bounds of our floor. None = none."""

    cron: str
    length: timedelta
    timezone: str
    min_replicas: int | None
    max_replicas: int | None
    name: str = ""


@dataclass(frozen=True, slots=True)
class Scaling:
    """Where and how a service may be scaled. `capacity_rps` is (low, high) per replica, in real requests/s.

    namespace, context (of the kubeconfig; None = the current one): for the kinds kubernetes and keda. quantile: as
    written, or 1 - the risk that the costs give. lead: until our own changes have been measured. change_budget: floor
    changes in a day. paced: the risk follows what came, so that the share of the time that is short is the one asked.
    """

    kind: TargetKind
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
    namespace: str | None = None
    context: str | None = None
    risk: Risk | None = None
    bounds: tuple[BoundsWindow, ...] = ()
    change_budget: int = CHANGE_BUDGET
    paced: bool = False

    @property
    def address(self) -> str:
        """Return what tells this target from every other of a configuration; of a local one that is its name."""
        if self.kind == "local":
            return self.name
        return "/".join((self.kind, self.context or "", self.namespace or "", self.name))


@dataclass(frozen=True, slots=True)
class Dependency:
    """Another service that this one calls: so many requests there for one here."""

    service: str
    calls_per_request: float


def read_positive(block: Block) -> float:
    """Return a finite number above 0. Raises CatalogError."""
    return block.number("a number above 0", lambda value: 0 < value < float("inf"))


def read_cost(block: Block) -> Cost:
    """Check `cost`. Raises CatalogError."""
    block.only("replica_hour", "currency", "monthly_budget")
    return Cost(
        read_positive(block.required("replica_hour")),
        block.required("currency").text(),
        block.optional("monthly_budget", read_positive),
    )


def read_dependencies(block: Block, service: str, known: Collection[str]) -> tuple[Dependency, ...]:
    """Check the list `depends_on` of a service; known: all services of the file. Raises CatalogError."""
    found: list[Dependency] = []
    for each in block.sequence():
        each.only("service", "calls_per_request")
        called = each.required("service").text()
        if called == service or called not in known:
            each.required("service").refuse(f"another service of this file ({', '.join(sorted({*known} - {service}))})")
        if called in {one.service for one in found}:
            each.required("service").refuse("each called service once", f"{called!r} twice")
        found.append(Dependency(called, read_positive(each.required("calls_per_request"))))
    return tuple(found)


def read_scaling(block: Block, *, cost: Cost | None, timezone: str) -> Scaling:
    """Check `scaling` of a service in this time zone. Raises CatalogError."""
    block.only(
        "target", "mode", "min_replicas", "max_replicas", "capacity_rps", "quantile", "risk", "lead", "largest_step",
        "cool_down", "bounds", "change_budget", "paced", "reactive",
    )  # fmt: skip
    kind, name, namespace, context = _target(block.required("target"))
    least = block.required("min_replicas").whole_number(1)
    most = block.required("max_replicas").whole_number(1)
    if most < least:
        block.required("max_replicas").refuse(f"at least min_replicas ({least})")
    quantile, risk = _risk_taken(block, cost)
    return Scaling(
        kind=kind,
        name=name,
        namespace=namespace,
        context=context,
        mode=cast("Mode", block.required("mode").one_of("observe", "recommend", "act")),
        min_replicas=least,
        max_replicas=most,
        capacity_rps=_interval(block.required("capacity_rps")),
        quantile=quantile,
        risk=risk,
        lead=block.required("lead").duration(),
        largest_step=block.required("largest_step").whole_number(1),
        cool_down=block.required("cool_down").duration(),
        bounds=block.optional("bounds", lambda each: _bounds(each, timezone, least, most)) or (),
        change_budget=block.optional("change_budget", lambda each: each.whole_number(1)) or CHANGE_BUDGET,
        paced=block.optional("paced", Block.flag) or False,
        reactive=_reactive(block.required("reactive")),
    )


def _target(block: Block) -> tuple[TargetKind, str, str | None, str | None]:
    block.only("kind", "name", "namespace", "context")
    kind = block.required("kind").one_of("local", "kubernetes", "keda")
    namespace, context = block.optional("namespace", Block.text), block.optional("context", Block.text)
    if (kind == "local") != (namespace is None) or (kind == "local" and context is not None):
        block.refuse("a namespace (and perhaps a context) for the kinds kubernetes and keda, none for local", kind)
    return cast("TargetKind", kind), block.required("name").text(), namespace, context


def _risk_taken(block: Block, cost: Cost | None) -> tuple[float, Risk | None]:
    quantile, costs = block.optional("quantile", read_ratio), block.optional("risk", lambda each: each)
    if quantile is not None and costs is None:
        return quantile, None
    if costs is None or quantile is not None:
        block.refuse("either a quantile or a risk", "neither" if costs is None else "both")
    costs.only("violation_cost", "budget_pacing")
    violation = costs.required("violation_cost")
    if cost is None:
        costs.refuse("a cost block beside it, for the price of a replica", "none")
    price = read_positive(violation)
    if price <= cost.replica_hour:
        violation.refuse(f"more than cost.replica_hour ({cost.replica_hour:g}): else no replica is worth its price")
    paced = costs.optional("budget_pacing", Block.flag)
    return 1 - cost.replica_hour / price, Risk(cost.replica_hour, price, True if paced is None else paced)


def _bounds(block: Block, timezone: str, least: int, most: int) -> tuple[BoundsWindow, ...]:
    return tuple(_window(each, timezone, least, most) for each in block.sequence())


def _window(block: Block, timezone: str, least: int, most: int) -> BoundsWindow:
    block.only("cron", "length", "timezone", "min_replicas", "max_replicas", "name")
    low = block.optional("min_replicas", lambda each: each.whole_number(1))
    high = block.optional("max_replicas", lambda each: each.whole_number(1))
    if low is None and high is None:
        block.refuse("min_replicas, max_replicas or both", "neither")
    if not least <= (low or least) <= (high or most) <= most:
        block.refuse(
            f"bounds within the service's own: {least} <= min_replicas <= max_replicas <= {most}",
            f"min_replicas {low or 'absent'}, max_replicas {high or 'absent'}",
        )
    return BoundsWindow(
        cron=_cron(block.required("cron")),
        length=block.required("length").duration(),
        timezone=block.optional("timezone", read_timezone) or timezone,
        min_replicas=low,
        max_replicas=high,
        name=block.optional("name", Block.text) or "",
    )


def _cron(block: Block) -> str:
    text = block.text()
    try:
        CronSim(text, datetime(2026, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        block.refuse("a cron expression of five fields like '0 8 * * 1-5' (0 and 7 are Sunday)", f"{text!r}: {error}")
    return text


def _interval(block: Block) -> tuple[float, float]:
    ends = [read_positive(end) for end in block.sequence()]
    if len(ends) != 2 or ends[0] > ends[1]:
        block.refuse("two numbers, [low, high]", str(ends))
    return ends[0], ends[1]


_DEFAULTS = Reactive(target_rps_per_replica=1.0)


def _reactive(block: Block) -> Reactive:
    block.only("target_rps_per_replica", "sync", "tolerance", "scale_down_stabilization")
    return Reactive(
        target_rps_per_replica=read_positive(block.required("target_rps_per_replica")),
        sync=block.optional("sync", Block.duration) or _DEFAULTS.sync,
        tolerance=block.optional("tolerance", read_ratio) or _DEFAULTS.tolerance,
        scale_down_stabilization=block.optional("scale_down_stabilization", Block.duration)
        or _DEFAULTS.scale_down_stabilization,
    )
