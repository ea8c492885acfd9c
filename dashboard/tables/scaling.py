"""Decisions, plans and verdicts as rows to be read, pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import pandas as pd

from collector.catalog import Cost
from dashboard.words import NONE, clock_time, minutes, money, rps, with_local
from forecaster.forecast.types import Forecast
from forecaster.scaling.plan import PLAN_SPAN
from forecaster.scaling.simulator.simulate import SimulationResult
from forecaster.store import StoredDecision

_RPS, _GUARDRAIL = re.compile(r"\brps\b"), re.compile(r"[a-z]+(_[a-z]+)+")


def decision_table(found: Sequence[StoredDecision], zone: str | None = None) -> pd.DataFrame:
    """Return one row per decision, in their order."""
    return pd.DataFrame(
        [
            {
                "at": clock_time(stored.decision.at, zone),
                "floor": _change(stored),
                "done": _done(stored),
                "needed at": clock_time(stored.decision.needed_at, zone),
                "why": ". ".join(reasons(stored, zone)),
            }
            for stored in found
        ]
    )


def _change(stored: StoredDecision) -> str:
    before, after = stored.decision.floor_before, stored.decision.floor_after
    if before == after:
        return f"= {after}"
    return f"{'▲' if after > before else '▼'} {before} → {after}"


def _done(stored: StoredDecision) -> str:
    if stored.applied:
        return "yes"
    if stored.error:
        return f"failed: {stored.error}"
    return NONE if stored.decision.floor_before == stored.decision.floor_after else f"no, mode {stored.decision.mode}"


def reasons(stored: StoredDecision, zone: str | None = None) -> list[str]:
    """Return why a decision is as it is, a sentence each, with the viewer's time beside UTC."""
    return [_sentence(with_local(reason, stored.decision.at, zone)) for reason in stored.decision.reasons]


def _sentence(reason: str) -> str:
    name, colon, rest = reason.partition(":")
    said = f"{name.replace('_', ' ')}{colon}{rest}" if _GUARDRAIL.fullmatch(name) else reason
    said = _RPS.sub("requests/s", said)
    return said[:1].upper() + said[1:]


def decision_text(stored: StoredDecision, zone: str | None = None, *, head: str) -> str:
    """Return a decision as a paragraph of Markdown: what it changed, when, on what, why, and what became of it."""
    decision = stored.decision
    rested = f"the forecast of {clock_time(stored.forecast_origin, zone)}" if stored.forecast_origin else "no forecast"
    facts = [f"on {rested}"]
    if stored.model:
        facts.append(f"model {stored.model}, quantile {stored.quantile:g}")
    if stored.capacity is not None:
        facts.append(f"a replica carrying {rps(stored.capacity.low_rps)} requests/s")
    done = {"yes": "applied"}.get(_done(stored), _done(stored))
    lines = "\n".join(f"- {reason}" for reason in reasons(stored, zone))
    ended = "" if done == NONE else f"; {done}"
    return f"**{head}** (decided {clock_time(decision.at, zone)}, {', '.join(facts)}{ended})\n{lines}"


def plan_table(stored: StoredDecision, zone: str | None = None) -> pd.DataFrame:
    """Return the floors that a decision plans."""
    return pd.DataFrame(
        [
            {
                "from": clock_time(step.starts_at, zone),
                "floor": step.floor,
                "because": _sentence(with_local(step.reason, step.starts_at, zone)),
            }
            for step in stored.decision.plan
        ]
    )


def planned(stored: StoredDecision, *, now: datetime, until: datetime) -> pd.DataFrame:
    """Return `ds, replicas`: the planned floors from now until an instant, each holding until the next.

    until: no later than the plan looks (see planned_until).
    """
    steps = [(max(step.starts_at, now), step.floor) for step in stored.decision.plan if step.starts_at < until]
    if not steps:
        return pd.DataFrame({"ds": pd.Series(dtype="datetime64[us, UTC]"), "replicas": []})
    steps.append((until, steps[-1][1]))
    times = pd.to_datetime(pd.Series([at for at, _ in steps]), utc=True).dt.as_unit("us")
    frame = pd.DataFrame({"ds": times, "replicas": [floor for _, floor in steps]})
    return frame.drop_duplicates("ds", keep="last", ignore_index=True)


def planned_until(forecast: Forecast | None, *, now: datetime, until: datetime, lead: timedelta) -> datetime:
    """Return up to when a plan on a forecast says anything: a lead before the forecast ends, and a day at most."""
    if forecast is None or forecast.frame.empty:
        return now
    end = forecast.origin + len(forecast.frame) * forecast.step
    return max(now, min(until, now + PLAN_SPAN, end - lead))


def verdict_table(report: Mapping[str, Any], cost: Cost | None) -> pd.DataFrame:
    """Return what the backtest measured with our floor and with the autoscaler alone; empty when it holds nothing."""
    names = {"with our floor": "predictive", "autoscaler alone": "reactive_only"}
    rows = []
    for label, name in names.items():
        toll = report.get(name)
        if not isinstance(toll, Mapping) or "replica_seconds" not in toll:
            return pd.DataFrame()
        hours = toll["replica_seconds"] / 3600
        row = {
            "": label,
            "under-provisioned": minutes(timedelta(seconds=toll["under_provisioned_seconds"])),
            "replica-hours": f"{hours:,.0f}",
        }
        if cost is not None:
            row["cost"] = money(hours * cost.replica_hour, cost.currency)
        rows.append(row)
    return pd.DataFrame(rows)


def outcome_table(
    needed: pd.DataFrame,
    states: pd.DataFrame,
    alone: SimulationResult | None,
    *,
    step: timedelta,
    cost: Cost | None,
) -> pd.DataFrame:
    """Return what the range's demand met: minutes with too few replicas ready, replica-hours and cost; empty: unknown.

    needed: `ds, replicas` per `step`; states: `ts, ready, current`. A step without demand or without a state counts for
    nothing. alone: the simulation of the autoscaler without us.
    """
    if needed.empty or states.empty or alone is None:
        return pd.DataFrame()
    seen = states[["ts", "ready", "current"]].rename(columns={"ts": "ds"}).sort_values("ds")
    seen = seen.assign(ds=seen["ds"].dt.as_unit("us"))
    both = pd.merge_asof(
        needed.dropna(subset="replicas"),
        seen,
        on="ds",
        direction="backward",
        tolerance=max(step, pd.Timedelta(minutes=10)),
    ).dropna(subset="ready")
    if both.empty:
        return pd.DataFrame()
    short = timedelta(seconds=float((both["replicas"] > both["ready"] + 1e-9).sum()) * step.total_seconds())
    hours = float(both["current"].sum()) * step / timedelta(hours=1)
    rows = [
        ("with us", short, hours),
        ("without us", timedelta(seconds=alone.under_provisioned_seconds), alone.replica_seconds / 3600),
    ]
    return pd.DataFrame(
        [
            {
                "": label,
                "under-provisioned": minutes(span),
                "replica-hours": f"{spent:,.1f}",
                **({} if cost is None else {"cost": money(spent * cost.replica_hour, cost.currency)}),
            }
            for label, span, spent in rows
        ]
    )
