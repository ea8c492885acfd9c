"""SLOs as rows to be read, pure: the promise, what was measured, the budget, the burn rates, and the state in words."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import pandas as pd

from collector.alerts.backtest import Backtest
from collector.catalog import ClassicRule, Slo
from collector.slo.objectives import BURN_PAIRS, BurnPair, ClassicStatus, Exhaustion, SloStatus, burning_pairs
from dashboard.words import NONE, burns, clock_time, duration, percent, roughly, share_of, target, window

NO_DATA = "no data"


def state(status: SloStatus) -> str:
    """Return how an SLO stands in words, with a shape: colour alone tells too few."""
    if status.sli is None or status.budget_left is None:
        return f"○ {NO_DATA}"
    burning = burning_pairs(status)
    if status.budget_left < 0:
        return "◆ budget spent, burning" if burning else "◆ budget spent"
    return "▲ burning" if burning else "● kept"


def worst_first(statuses: Sequence[SloStatus]) -> list[SloStatus]:
    """Return the statuses by budget left; those without data last."""
    return sorted(statuses, key=lambda status: (status.budget_left is None, status.budget_left or 0.0))


def slo_table(statuses: Sequence[SloStatus]) -> pd.DataFrame:
    """Return one row per SLO. Where there were no valid requests it says so: never 0 or 1."""
    return pd.DataFrame(
        [
            {
                "SLO": status.slo.name,
                "of": status.slo.route or status.slo.region or "all requests",
                "state": state(status),
                "promised": promise(status.slo),
                "measured": NO_DATA if status.sli is None else percent(status.sli, 3),
                "budget left": percent(status.budget_left, 1),
                "spent in": exhaustion_text(status.exhaustion),
                "coverage": NONE if status.measured is None else share_of(status.measured.coverage),
                "requests": f"{status.counts.valid:,}" if status.counts.valid else NONE,
                "bad": f"{status.counts.valid - status.counts.good:,}" if status.counts.valid else NONE,
                "counted within": duration(status.effective_threshold),
            }
            for status in statuses
        ]
    )


def exhaustion_text(exhaustion: Exhaustion) -> str:
    """Return when a budget is spent if the present burn goes on."""
    if exhaustion.state == "burning" and exhaustion.after is not None:
        return roughly(exhaustion.after)
    return {"spent": "already spent", "lasts": "lasts", "unknown": NONE, "burning": NONE}[exhaustion.state]


def burn_table(statuses: Sequence[SloStatus]) -> pd.DataFrame:
    """Return one row per SLO with its burn rates over the long and the short window of each pair."""
    return pd.DataFrame(
        [
            {
                "SLO": status.slo.name,
                **{pair_name(pair): _burns(status, pair) for pair in BURN_PAIRS},
            }
            for status in statuses
        ]
    )


def _burns(status: SloStatus, pair: BurnPair) -> str:
    text = burns(status.burn_rates[pair.long], status.burn_rates[pair.short])
    return f"▲ {text}" if pair in burning_pairs(status) else text


def promise(slo: Slo) -> str:
    """Return what an SLO promises, like `95 % within 2 s over 30 d`."""
    within = "" if slo.threshold is None else f" within {duration(slo.threshold)}"
    return f"{target(slo.target)}{within} over {window(slo.window)}"


def pair_name(pair: BurnPair) -> str:
    """Return the head of a pair's column, like `1 h / 5 min, burning above 14.4`."""
    return f"{window(pair.long)} / {window(pair.short)}, burning above {pair.factor:g}"


def classic_table(statuses: Sequence[ClassicStatus], rule: ClassicRule) -> pd.DataFrame:
    """Return one row per route, the breached first."""
    said = {
        "mean_response": f"mean over {duration(rule.mean_response)}",
        "error_ratio": f"errors over {target(rule.error_ratio)}",
    }
    ordered = sorted(statuses, key=lambda status: (not status.exceeded, -status.requests))
    return pd.DataFrame(
        [
            {
                "route": status.route,
                "state": "▲ " + ", ".join(said[name] for name in status.exceeded) if status.exceeded else "● kept",
                "requests": f"{status.requests:,}",
                "mean response": duration(status.mean_response),
                "errors": percent(status.error_ratio),
            }
            for status in ordered
        ]
    )


def judgement_table(result: Backtest) -> pd.DataFrame:
    """Return how the alerts of each severity met the incidents of a replay."""
    return pd.DataFrame(
        [
            {
                "severity": each.severity,
                "alerts": str(each.alerts),
                "precision": percent(each.precision, 0),
                "recall": percent(each.recall, 0),
                "told after (mean)": NONE if each.detection is None else roughly(each.detection),
                "ended after (mean)": NONE if each.reset is None else roughly(each.reset),
            }
            for each in result.judgements
        ]
    )


def replay_table(result: Backtest, zone: str | None = None) -> pd.DataFrame:
    """Return the incidents and the alerts of a replay in the order in which they began."""
    told: list[tuple[datetime, str, datetime | None, str]] = [
        (each.starts_at, "incident", each.ends_at, f"{each.bad:,} bad, {percent(each.budget_share, 1)} of the budget")
        for each in result.incidents
    ]
    told += [(each.fired_at, each.severity, each.ended_at, "burn-rate alert") for each in result.fired]
    return pd.DataFrame(
        [
            {
                "from": clock_time(at, zone),
                "to": "fires still" if end is None else clock_time(end, zone),
                "what": what,
                "told": text,
            }
            for at, what, end, text in sorted(told, key=lambda each: each[0])
        ]
    )
