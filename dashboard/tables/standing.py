"""How a service stands in one row, and which is worst, pure. What is not known is said so, and is never a zero."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import pandas as pd

from collector.slo.objectives import Exhaustion, SloStatus, burning_pairs
from dashboard.tables.slo import exhaustion_text
from dashboard.words import NONE, percent, roughly, rps

HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Standing:
    """One service now. None: nobody knows. peak_rps: stays under it for an hour, at the quantile that scaling asks.

    silent_for: since when no request is recorded, where that is longer than it may be; None while they come.
    """

    service: str
    statuses: tuple[SloStatus, ...] = ()
    rps: float | None = None
    error_ratio: float | None = None
    p95_seconds: float | None = None
    ready: int | None = None
    desired: int | None = None
    floor: int | None = None
    peak_rps: float | None = None
    alerts: int = 0
    recent_rps: tuple[float, ...] = ()
    silent_for: timedelta | None = None

    @property
    def known(self) -> tuple[SloStatus, ...]:
        """The SLOs that have data."""
        return tuple(each for each in self.statuses if each.budget_left is not None)

    @property
    def budget_left(self) -> float | None:
        """The least of its error budgets that is left."""
        return min((each.budget_left for each in self.known if each.budget_left is not None), default=None)

    @property
    def burn(self) -> float | None:
        """The highest burn rate of the last hour."""
        rates = [each.burn_rates.get(HOUR) for each in self.known]
        return max((rate for rate in rates if rate is not None), default=None)

    @property
    def exhaustion(self) -> Exhaustion | None:
        """Of its SLOs the one that is spent first."""
        order = {"spent": 0, "burning": 1, "lasts": 2, "unknown": 3}
        found = [each.exhaustion for each in self.known]
        return min(found, key=lambda each: (order[each.state], each.after or timedelta.max), default=None)

    @property
    def burning(self) -> int:
        """How many SLOs burn in both windows of a pair."""
        return sum(1 for each in self.known if burning_pairs(each))

    @property
    def spent(self) -> int:
        """How many SLOs have no budget left."""
        return sum(1 for each in self.known if each.budget_left is not None and each.budget_left < 0)

    def rank(self) -> tuple[bool, bool, bool, float, str]:
        """Return what puts the worst first: those that burn, are spent, fell silent, by budget; without data last."""
        left = float("inf") if self.budget_left is None else self.budget_left
        return (not self.burning, not self.spent, not (self.known and self.silent_for), left, self.service)

    def state(self) -> str:
        """Return it in words, with a shape: colour alone tells too few."""
        if not self.statuses:
            return "○ no SLOs"
        if not self.known:
            return "○ no data"
        if self.burning:
            return f"▲ {self.burning} of {len(self.statuses)} burning"
        if self.spent:
            return f"◆ {self.spent} of {len(self.statuses)} spent"
        return "● healthy" if self.silent_for is None else f"○ silent for {roughly(self.silent_for)}"

    def sentence(self) -> str:
        """Return how it stands as one sentence."""
        if not self.known:
            why = "it promises nothing" if not self.statuses else "none of its SLOs has data"
            return f"How {self.service} stands nobody can say: {why}."
        kept = sum(1 for each in self.known if not burning_pairs(each) and (each.budget_left or 0) >= 0)
        verdict = "is healthy" if kept == len(self.known) else "is not healthy"
        silent = len(self.statuses) - len(self.known)
        more = f", {silent} without data" if silent else ""
        least = f"at least {percent(self.budget_left, 1)} of every error budget is left"
        fires = f"; {self.alerts} {'alert fires' if self.alerts == 1 else 'alerts fire'}" if self.alerts else ""
        head = f"{self.service} {verdict}"
        if self.silent_for is not None:
            head = f"No request of {self.service} is recorded for {roughly(self.silent_for)}; before"
        return f"{head}: {kept} of {len(self.known)} SLOs kept{more}; {least}{fires}."


def worst_first(standings: Sequence[Standing]) -> list[Standing]:
    """Return the services, the worst first."""
    return sorted(standings, key=Standing.rank)


def standing_table(standings: Sequence[Standing]) -> pd.DataFrame:
    """Return one row per service, in their order."""
    return pd.DataFrame(
        [
            {
                "service": each.service,
                "state": each.state(),
                "budget left": percent(each.budget_left, 1),
                "burn, 1 h": NONE if each.burn is None else f"{each.burn:.2f}",
                "budget spent in": NONE if each.exhaustion is None else exhaustion_text(each.exhaustion),
                "requests/s": rps(each.rps),
                "trend": list(each.recent_rps),
                "errors": percent(each.error_ratio),
                "p95, ms": NONE if each.p95_seconds is None else f"{each.p95_seconds * 1000:,.0f}",
                "replicas": NONE if each.ready is None else f"{each.ready} of {each.desired}",
                "floor": NONE if each.floor is None else str(each.floor),
                "next hour, peak": rps(each.peak_rps),
                "alerts": each.alerts,
            }
            for each in standings
        ]
    )
