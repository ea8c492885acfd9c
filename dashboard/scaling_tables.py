"""Decisions, plans and verdicts as rows to be read, pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import pandas as pd

from collector.catalog import Cost
from dashboard.words import NONE, clock_time, minutes
from forecaster.forecast.types import Forecast
from forecaster.scaling.plan import PLAN_SPAN
from forecaster.store import StoredDecision


def decision_table(found: Sequence[StoredDecision]) -> pd.DataFrame:
    """Return one row per decision, in their order."""
    return pd.DataFrame(
        [
            {
                "at": clock_time(stored.decision.at),
                "floor": _change(stored),
                "done": _done(stored),
                "needed at": NONE if stored.decision.needed_at is None else f"{stored.decision.needed_at:%H:%M}",
                "why": ". ".join(_sentence(reason) for reason in stored.decision.reasons),
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


def _sentence(reason: str) -> str:
    return reason[:1].upper() + reason[1:]


def plan_table(stored: StoredDecision) -> pd.DataFrame:
    """Return the floors that a decision plans."""
    return pd.DataFrame(
        [
            {"from": clock_time(step.starts_at), "floor": step.floor, "because": _sentence(step.reason)}
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
            row["cost"] = f"{hours * cost.replica_hour:,.2f} {cost.currency}"
        rows.append(row)
    return pd.DataFrame(rows)
