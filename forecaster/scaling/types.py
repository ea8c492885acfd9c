"""The words of a scaling decision: what it sees (Situation), what it says (Decision). Rates are of the clock in use."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from collector.catalog import Mode, Scaling
from forecaster.forecast.types import Forecast, NoForecast
from forecaster.scaling.pacing import Pace


@dataclass(frozen=True, slots=True)
class Capacity:
    """Requests/s of the clock in use that one replica serves within its SLO, as an interval; source says who knows."""

    low_rps: float
    high_rps: float
    source: str
    id: str | None = None  # of the measurement, in the audit; None: declared


@dataclass(frozen=True, slots=True)
class HpaState:
    """The autoscaler as read from the cluster. operator_floor is the floor the operator set; floor is in force now.

    room: replicas that the cluster could still start beside the current ones, pending: those that wait for room.
    reverts: how often another field manager has set our floor back, in a row (Kubernetes: in the last half hour);
    reverted_at: when (real time) as far as the actuator saw it, None where it sees no such thing.
    paused: who stopped all changes there (a label, an annotation) and why; blocked: why no floor can be written there.
    """

    operator_floor: int
    floor: int
    ceiling: int
    desired: int
    current: int
    ready: int
    room: int | None = None  # None = nobody can say
    pending: int = 0
    reverts: int = 0
    reverted_at: tuple[datetime, ...] | None = None
    resource_version: str | None = None
    paused: str | None = None
    blocked: str | None = None


@dataclass(frozen=True, slots=True)
class Skill:
    """How the service's stored forecasts did lately at the lead time, against what came.

    skill: pinball loss relative to the seasonal-naive's (under 1 is better); coverage: share of steps that stayed under
    the quantile `asked`; steps: how many were scored.
    """

    skill: float
    asked: float
    coverage: float
    steps: int


@dataclass(frozen=True, slots=True)
class Caller:
    """A service that calls this one: its forecast, and how many requests here one of its own makes."""

    service: str
    forecast: Forecast | NoForecast
    calls_per_request: float


@dataclass(frozen=True, slots=True)
class Situation:
    """Everything a decision may look at. last_lowered_at, last_raised_at: when we last did; None = never.

    refresh: time until the next decision, which this one must see to; stopping short of it would miss the lead.
    paused: who stopped all changes and why; burning: the SLOs that page now; budget_left: the least share of an error
    budget that is left (may be negative); lead: measured from our own changes, None until enough are known;
    most_useful: replicas beyond which a shared bottleneck makes more of them useless, by the measured scaling law;
    planned_at: when a decision last had grounds for a plan, None where nobody remembers; day_plan: false leaves out the
    plan and the warnings of the day ahead, which no floor depends on (a replay reads neither). pace: what the last plan
    took and what came of it, None before any; read only where scaling.paced. demand_now: requests/s of the newest
    PRESENT, None where nobody counts so finely; planned_floor: the last decision's, None where nobody remembers.
    """

    now: datetime
    service: str
    scaling: Scaling
    mode: Mode
    forecast: Forecast | NoForecast
    capacity: Capacity | None
    hpa: HpaState | None
    metric_at: datetime | None  # end of the newest step of demand, recorded or imported
    last_lowered_at: datetime | None
    backtest_passed: bool
    refresh: timedelta = timedelta(minutes=5)
    last_raised_at: datetime | None = None
    paused: str | None = None
    burning: tuple[str, ...] = ()
    budget_left: float | None = None
    lead: timedelta | None = None
    skill: Skill | None = None
    changes_today: int = 0
    most_useful: int | None = None
    callers: tuple[Caller, ...] = ()
    planned_at: datetime | None = None
    day_plan: bool = True
    pace: Pace | None = None
    demand_now: float | None = None
    planned_floor: int | None = None


@dataclass(frozen=True, slots=True)
class PlannedFloor:
    """From `starts_at` on the plan wants `floor` replicas, because."""

    starts_at: datetime
    floor: int
    reason: str


WarningKind = Literal[
    "ceiling_breach",  # demand is likely to pass what the ceiling carries
    "no_room",  # the cluster cannot start what is needed
    "bottleneck",  # more replicas than most_useful would not help
    "reverted",  # somebody else sets our floor back
    "change_budget",  # the day's changes are used up
    "forecast_skill",  # the forecasts do no better than the seasonal naive ones, or cover too little
    "blind",  # no grounds for a plan for so long that the floor decays
]


@dataclass(frozen=True, slots=True)
class PlanWarning:
    """What people should be told now: an alert condition, which lasts while decisions carry it.

    text: whole, with its numbers. expected_at: when what it warns of begins; None = now. probability: 0..1, None where
    nothing is uncertain about it.
    """

    kind: WarningKind
    text: str
    expected_at: datetime | None = None
    probability: float | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """outcome: raise, lower, keep (the plan wants what is), or no_plan (looked, changed nothing, because).

    floor_wanted is what the plan asked for before the guardrails; apply is true only in mode act with a change to make.
    needed_at: first instant at which the forecast needs more than floor_before; None when it never does.
    warnings: what people should be told, whatever the outcome.
    """

    at: datetime
    service: str
    mode: Mode
    outcome: Literal["raise", "lower", "keep", "no_plan"]
    floor_before: int
    floor_wanted: int
    floor_after: int
    apply: bool
    reasons: tuple[str, ...]
    needed_at: datetime | None
    plan: tuple[PlannedFloor, ...]
    warnings: tuple[PlanWarning, ...] = ()
    quantile: float | None = None  # at which it was planned, after costs and budget; None without a plan
    guardrails: tuple[str, ...] = ()  # the names of those that changed the floor, in their order
    lead: timedelta | None = None  # that was planned with; None without a plan
    # floor_after without what the present demand added; None without a plan. The process remembers it, no store does.
    planned_floor: int | None = field(default=None, compare=False)
    # By what share of what replicas carry the present may be above that until there are more; likewise.
    overload: float = field(default=0.0, compare=False)
