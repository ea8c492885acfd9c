"""Two policies compared at equal cost, from their risk curves, with intervals from days drawn again.

A point between two settings of a curve is their mixture in time: cost and short minutes lie on the line between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from forecaster.judging.report import front
from forecaster.scaling.backtest.contest import OURS, REACTIVE, Contest, Entry

Array = npt.NDArray[Any]
LEVELS = 8
RESAMPLES = 2000
HPA_TARGET = 0.7
SHORT_ENOUGH = 0.001  # of the time: with less there is nothing to divide by


def mixed(curve: Sequence[Entry], hours: float) -> tuple[Array, Array] | None:
    """Return (short minutes, surplus hours) by day and in all of the mixture that costs so much; None off the curve."""
    costs = [one.toll.replica_hours for one in curve]
    if not costs or not costs[0] - 1e-9 <= hours <= costs[-1] + 1e-9:
        return None
    right = min(max(int(np.searchsorted(costs, hours)), 1), len(costs) - 1) if len(costs) > 1 else 0
    left = max(right - 1, 0)
    width = costs[right] - costs[left]
    share = 0.0 if width <= 0 else (hours - costs[left]) / width
    low, high = curve[left], curve[right]
    minutes = (1 - share) * low.under_minutes_by_day + share * high.under_minutes_by_day
    surplus = (1 - share) * low.toll.over_replica_hours + share * high.toll.over_replica_hours
    return minutes, np.array(surplus)


def against_reactive(contest: Contest) -> dict[str, float | None]:
    """Return ours over the autoscaler at HPA_TARGET: short minutes at its cost, surplus hours at its short minutes."""
    hpa = next(one for one in contest.of(REACTIVE) if one.setting == HPA_TARGET).toll
    curve = front(contest.of(OURS))
    same_cost = mixed(curve, min(max(hpa.replica_hours, curve[0].toll.replica_hours), curve[-1].toll.replica_hours))
    reaches = curve[0].toll.replica_hours <= hpa.replica_hours
    minutes = float(same_cost[0].sum()) if same_cost is not None and reaches else None
    short = np.array([one.toll.under_provisioned_minutes for one in curve])[::-1]
    surplus = np.array([one.toll.over_replica_hours for one in curve])[::-1]
    same_short = None
    if short[0] <= hpa.under_provisioned_minutes:
        same_short = float(np.interp(hpa.under_provisioned_minutes, short, surplus))
    return {
        "hpa_share": hpa.under_provisioned_minutes / hpa.minutes,
        "hpa_replica_hours": hpa.replica_hours,
        "hpa_under_provisioned_minutes": hpa.under_provisioned_minutes,
        "our_under_provisioned_minutes": minutes,
        "under_ratio": minutes / hpa.under_provisioned_minutes
        if minutes is not None and hpa.under_provisioned_minutes > 0
        else None,
        "over_ratio": same_short / hpa.over_replica_hours if same_short is not None else None,
    }


def against(contests: Sequence[Contest], other: str, *, seed: int) -> dict[str, Any]:
    """Return ours minus `other` at LEVELS matched costs, the mean over the traces, with its 95 % interval.

    The costs are spread evenly (by ratio) over what both curves of a trace reach; a trace without any is left out.
    below, above: how many intervals lie wholly below or above 0.
    """
    random = np.random.default_rng(seed)
    parts = [(contest, part) for contest in contests if (part := _matched(contest, other)) is not None]
    drawn = [random.integers(0, len(one.minutes_by_day), (RESAMPLES, len(one.minutes_by_day))) for one, _ in parts]
    levels = []
    for level in range(LEVELS):
        shares = [part[level].sum() / one.minutes_by_day.sum() for one, part in parts]
        again = [
            part[level][days].sum(axis=1) / np.maximum(one.minutes_by_day[days].sum(axis=1), 1e-9)
            for (one, part), days in zip(parts, drawn, strict=True)
        ]
        low, high = np.quantile(np.mean(again, axis=0), [0.025, 0.975]) if parts else (0.0, 0.0)
        levels.append({"difference": float(np.mean(shares)) if parts else 0.0, "low": float(low), "high": float(high)})
    return {
        "traces": [contest.series for contest, _ in parts],
        "levels": levels,
        "below": sum(level["high"] < 0 for level in levels),
        "above": sum(level["low"] > 0 for level in levels),
    }


def _matched(contest: Contest, other: str) -> Array | None:
    """Return (levels, days) of short minutes, ours minus theirs; None where the curves share no cost."""
    ours, theirs = front(contest.of(OURS)), front(contest.of(other))
    cheapest = max(ours[0].toll.replica_hours, theirs[0].toll.replica_hours)
    dearest = min(ours[-1].toll.replica_hours, theirs[-1].toll.replica_hours)
    if not cheapest < dearest:
        return None
    rows = []
    for hours in np.geomspace(cheapest, dearest, LEVELS):
        mine, yours = mixed(ours, float(hours)), mixed(theirs, float(hours))
        if mine is None or yours is None:
            return None
        rows.append(mine[0] - yours[0])
    return np.array(rows)


def realised(contests: Sequence[Contest]) -> list[dict[str, Any]]:
    """Return by risk of ours the share of the time that was short, by trace, and its gaps to the risk.

    plans: by trace what the plans themselves said of their floors, beside what came (`backtest.stated`).
    """
    rows = []
    for risk in sorted({one.setting for contest in contests for one in contest.of(OURS)}, reverse=True):
        found = {
            contest.series: one.toll.under_provisioned_minutes / one.toll.minutes
            for contest in contests
            for one in contest.of(OURS)
            if one.setting == risk
        }
        gaps = [share - risk for share in found.values()]
        rows.append(
            {
                "asked": risk,
                "by_trace": found,
                "mean_gap": float(np.mean(gaps)),
                "largest_gap": float(max(gaps, key=abs)),
                "plans": {
                    contest.series: {key: round(value, 6) for key, value in asdict(one.stated).items()}
                    for contest in contests
                    for one in contest.of(OURS)
                    if one.setting == risk and one.stated is not None
                },
            }
        )
    return rows
