"""What a plan stands on: fresh demand, a forecast that is fresh and any good, a capacity, the autoscaler's state.

Without grounds there is no plan, and the reason says which of them is missing and since when.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from forecaster.forecast.types import Forecast, NoForecast
from forecaster.scaling.types import Capacity, HpaState, Situation
from forecaster.scaling.wording import clock, span

STALE_AFTER_STEPS = 3
HIGHEST_ASKED_FOR = 0.99
SCORED_STEPS = 100  # fewer say nothing about a forecast's skill


@dataclass(frozen=True, slots=True)
class Grounds:
    """All that a plan stands on."""

    forecast: Forecast
    capacity: Capacity
    hpa: HpaState


@dataclass(frozen=True, slots=True)
class NoGrounds:
    """Why there can be no plan, and since when what is missing is missing; None = nobody knows."""

    reason: str
    since: datetime | None = None
    no_skill: bool = False


def lead_of(situation: Situation) -> timedelta:
    """Return how long before its demand a raise must be made: as measured, else as configured."""
    return situation.lead if situation.lead is not None else situation.scaling.lead


def grounds_of(situation: Situation) -> Grounds | NoGrounds:
    """Return what a plan stands on, or what it lacks."""
    if situation.hpa is None:
        return NoGrounds("the autoscaler's state is unknown", situation.planned_at)
    if isinstance(situation.forecast, NoForecast):
        return NoGrounds(f"no forecast: {situation.forecast.reason}", situation.planned_at)
    if situation.capacity is None or not situation.capacity.low_rps > 0:
        return NoGrounds("the capacity of a replica is unknown", situation.planned_at)
    lacking = _stale(situation, situation.forecast) or _of_no_use(situation, situation.forecast)
    return lacking or Grounds(situation.forecast, situation.capacity, situation.hpa)


def _stale(situation: Situation, forecast: Forecast) -> NoGrounds | None:
    now, at, allowed = situation.now, situation.metric_at, STALE_AFTER_STEPS * forecast.step
    if at is None:
        return NoGrounds("no demand has been recorded", situation.planned_at)
    if now - at > allowed:
        return NoGrounds(f"demand is stale: the newest is of {clock(at)}, more than {span(allowed)} ago", at)
    patience = max(allowed, 3 * situation.refresh)
    if now - forecast.origin > patience:
        why = f"the forecast is stale: its origin {clock(forecast.origin)} is more than {span(patience)} ago"
        return NoGrounds(why, forecast.origin)
    end = forecast.origin + len(forecast.frame) * forecast.step
    if end < now + lead_of(situation):
        why = f"the forecast ends at {clock(end)}, before a raise of now would be ready"
        return NoGrounds(why, situation.planned_at)
    return None


def _of_no_use(situation: Situation, forecast: Forecast) -> NoGrounds | None:
    wanted, skill = situation.scaling.quantile, situation.skill
    if situation.scaling.paced:
        wanted = min(wanted, HIGHEST_ASKED_FOR)  # its risk moves; what lies beyond is the tail's
    if forecast.quantiles[-1] < wanted - 1e-9:
        known = ", ".join(f"{level:g}" for level in forecast.quantiles)
        return NoGrounds(f"the forecast has no quantile {wanted:g} or above, only {known}", situation.planned_at)
    if skill is not None and skill.steps >= SCORED_STEPS and skill.skill >= 1:
        why = f"the last {skill.steps} steps' forecasts lost {skill.skill:.2f} times what the seasonal naive ones did"
        return NoGrounds(f"{why}: the autoscaler is on its own", situation.planned_at, no_skill=True)
    return None
