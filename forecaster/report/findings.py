"""What a capacity report says, as values: computed once from its inputs, worded by the sections. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from forecaster.calendar.sources import zone_of
from forecaster.calendar.types import Event
from forecaster.forecast.types import DemandSeries
from forecaster.outlook.daily import Days, days_of
from forecaster.outlook.outlook import Outlook
from forecaster.report.gather import LAST, CapacityInputs
from forecaster.report.measures import (
    Gap,
    Growth,
    Hours,
    Month,
    Season,
    gaps_of,
    growth_of,
    hours_of,
    months_of,
    weekday_seasons,
)
from forecaster.report.replicas import (
    MONTH_HOURS,
    Observed,
    Recommended,
    budget_passed,
    column_of,
    observed_replicas,
    recommended,
    replica_hours_ahead,
)
from forecaster.store.instants import floored

MOST_PEAKS = 8
MONTHS_SHOWN = 12
COST_LEVELS = (0.5, 0.9)
LEAST_LOOKED_AT = 0.5  # of a month's days so far, for its cost to count as known


@dataclass(frozen=True, slots=True)
class Peak:
    """One of the busiest days ahead: its busiest hour at p50, p90 and the level floors rest on, and what is on."""

    day: date
    middle: float
    high: float
    level: float
    passed: float | None  # probability that max was passed by then
    events: tuple[str, ...]
    factor: float | None  # declared, of that day's events together


@dataclass(frozen=True, slots=True)
class CostAhead:
    """By level of COST_LEVELS: per month of the last 30 days of the horizon, and when the budget is passed."""

    monthly: dict[float, float]
    passed: dict[float, date | None]
    spent: float | None  # since the month's first; None: nobody looked at most of it


@dataclass(frozen=True, slots=True)
class Findings:
    """None: cannot be said. busiest: the busiest hour of LAST, as (when, requests/s). carried: by max, low end."""

    zone: ZoneInfo
    days: Days | None
    months: tuple[Month, ...]
    growth: Growth | None
    weekdays: dict[int, Season]
    hours: Hours | None
    gaps: tuple[Gap, ...]
    known_share: float | None
    busiest: tuple[datetime, float] | None
    outlook: Outlook | None
    no_outlook: str
    peaks: tuple[Peak, ...]
    carried: float | None
    recommended: Recommended | None
    observed: Observed | None
    cost_now: float | None
    cost_ahead: CostAhead | None


def find(inputs: CapacityInputs) -> Findings:
    """Compute every figure of a capacity report."""
    zone = zone_of(inputs.service.timezone)
    demand, outlook = inputs.demand, inputs.outlook if isinstance(inputs.outlook, Outlook) else None
    end = inputs.as_of
    days = days_of(demand, zone, until=end) if demand else None
    hours = hours_of(demand, zone, until=end) if demand else None
    observed = observed_replicas(inputs.states, since=end - LAST, until=end) if len(inputs.states) else None
    scaling, cost = inputs.service.scaling, inputs.service.cost
    advice = None
    if outlook and hours and inputs.capacity and scaling:
        advice = recommended(
            outlook, hours, per_replica=inputs.capacity.low_rps, level=scaling.quantile,
            factors=_factors(inputs.events, zone),
        )  # fmt: skip
    recent = demand.frame[demand.frame["ds"] >= end - LAST] if demand else None
    return Findings(
        zone=zone,
        days=days,
        months=_months(demand, end, zone) if demand else (),
        growth=growth_of(days) if days else None,
        weekdays=weekday_seasons(days) if days else {},
        hours=hours,
        gaps=gaps_of(demand, since=end - max(LAST, inputs.horizon), until=end - timedelta(hours=1)) if demand else (),
        known_share=float(recent["y"].notna().sum()) / (LAST // demand.step) if demand and recent is not None else None,
        busiest=_busiest(recent),
        outlook=outlook,
        no_outlook="" if isinstance(inputs.outlook, Outlook) else inputs.outlook.reason,
        peaks=_peaks(outlook, inputs, zone) if outlook else (),
        carried=inputs.capacity.low_rps * scaling.max_replicas if inputs.capacity and scaling else None,
        recommended=advice,
        observed=observed,
        cost_now=observed.mean * MONTH_HOURS * cost.replica_hour if observed and cost else None,
        cost_ahead=_cost_ahead(inputs, outlook, hours, zone) if outlook and hours else None,
    )


def _months(demand: DemandSeries, end: datetime, zone: ZoneInfo) -> tuple[Month, ...]:
    return months_of(demand, zone, since=_months_before(end, zone), until=floored(end, demand.step))


def _months_before(end: datetime, zone: ZoneInfo) -> datetime:
    local = end.astimezone(zone)
    index = local.year * 12 + local.month - MONTHS_SHOWN
    return datetime(index // 12, index % 12 + 1, 1, tzinfo=zone)


def _busiest(recent: pd.DataFrame | None) -> tuple[datetime, float] | None:
    if recent is None or not recent["y"].notna().any():
        return None
    index = int(np.nanargmax(recent["y"].to_numpy(dtype=np.float64)))
    return recent["ds"].iloc[index].to_pydatetime(), float(recent["y"].iloc[index])


def _on(events: tuple[Event, ...], one: date, zone: ZoneInfo) -> list[Event]:
    """Return the events that overlap a local day."""
    return [
        event
        for event in events
        if event.starts_at.astimezone(zone).date()
        <= one
        <= (event.ends_at - timedelta(seconds=1)).astimezone(zone).date()
    ]


def _factors(events: tuple[Event, ...], zone: ZoneInfo) -> dict[date, float]:
    """Return the declared factors by day; of several on one day the product."""
    found: dict[date, float] = {}
    for event in events:
        if event.factor is not None:
            one = event.starts_at.astimezone(zone).date()
            found[one] = found.get(one, 1.0) * event.factor
    return found


def _peaks(outlook: Outlook, inputs: CapacityInputs, zone: ZoneInfo) -> tuple[Peak, ...]:
    """Return the busiest days by p90, at most two of each week, and every day of an event; in order of time."""
    high = outlook.peak[:, column_of(outlook, 0.9)]
    factors = _factors(inputs.events, zone)
    level = inputs.service.scaling.quantile if inputs.service.scaling else 0.95
    busy: list[int] = []
    weeks: dict[int, int] = {}
    for index in np.argsort(-high, kind="stable").tolist():
        week = index // 7
        if weeks.get(week, 0) < 2 and len(busy) < MOST_PEAKS:
            busy.append(index)
            weeks[week] = weeks.get(week, 0) + 1
    days = [outlook.first + timedelta(days=index) for index in range(len(high))]
    eventful = [index for index, one in enumerate(days) if _on(inputs.events, one, zone)][:MOST_PEAKS]
    return tuple(
        Peak(
            day=days[index],
            middle=float(outlook.peak[index, column_of(outlook, 0.5)]),
            high=float(high[index]),
            level=float(outlook.peak[index, column_of(outlook, level)]),
            passed=outlook.passing.by_day[index] if outlook.passing else None,
            events=tuple(event.name or event.kind for event in _on(inputs.events, days[index], zone)),
            factor=factors.get(days[index]),
        )
        for index in sorted({*busy, *eventful})
    )


def _cost_ahead(inputs: CapacityInputs, outlook: Outlook, hours: Hours, zone: ZoneInfo) -> CostAhead | None:
    scaling, cost = inputs.service.scaling, inputs.service.cost
    if scaling is None or cost is None:
        return None
    per_replica = scaling.reactive.target_rps_per_replica / inputs.speed
    spent = _spent(inputs, zone)
    monthly: dict[float, float] = {}
    passed: dict[float, date | None] = {}
    for level in COST_LEVELS:
        by_day = {
            one: amount * cost.replica_hour
            for one, amount in replica_hours_ahead(
                outlook, hours, level=level, per_replica=per_replica, least=scaling.min_replicas
            ).items()
        }
        last = list(by_day.values())[-30:]
        monthly[level] = sum(last) / len(last) / 24 * MONTH_HOURS
        if cost.monthly_budget is not None:
            passed[level] = budget_passed(by_day, cost.monthly_budget, spent=spent or 0.0)
    return CostAhead(monthly, passed, spent)


def _spent(inputs: CapacityInputs, zone: ZoneInfo) -> float | None:
    """Return the cost from the month's first to the first day ahead, extended over what nobody saw; None: unknown."""
    local = inputs.as_of.astimezone(zone)
    first = datetime(local.year, local.month, 1, tzinfo=zone)
    today = datetime(local.year, local.month, local.day, tzinfo=zone)
    if today == first:
        return 0.0
    seen = observed_replicas(inputs.states, since=first, until=today) if len(inputs.states) else None
    if seen is None or seen.coverage < LEAST_LOOKED_AT or inputs.service.cost is None:
        return None
    return seen.mean * ((today - first) / timedelta(hours=1)) * inputs.service.cost.replica_hour
