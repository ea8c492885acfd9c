"""An SLO's error budget over time: what was left of it at the end of each step, as `slo status` said it then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from collector.catalog import Slo
from collector.clickhouse import Client
from collector.slo.counts import read_counts_between
from collector.slo.objectives import Counts, budget_left, burn_rate, sli
from collector.slo.store import read_exclusions
from collector.slo.windows import MINUTE, end_of_minute, window_span

MOST_POINTS = 500


@dataclass(frozen=True, slots=True)
class BudgetPoint:
    """The budget at an instant. window: counts of the SLO's window up to it; step: of the step that ends there."""

    at: datetime
    window: Counts
    step: Counts
    sli: float | None
    budget_left: float | None
    burn_rate: float | None


def ends_of_steps(*, since: datetime, until: datetime, step: timedelta) -> list[int]:
    """Return where steps end in (since, until], the last at `until`. Raises ValueError for more than MOST_POINTS."""
    seconds = int(step.total_seconds())
    if seconds < MINUTE or seconds % MINUTE:
        raise ValueError(f"expected a step of whole minutes, got {step}")
    last = int(until.timestamp()) // MINUTE * MINUTE
    ends = list(range(last, int(since.timestamp()), -seconds))[::-1]
    if len(ends) > MOST_POINTS:
        raise ValueError(f"expected at most {MOST_POINTS} steps, got {len(ends)}: take a longer step")
    return ends


def read_budget_history(
    client: Client, service: str, slo: Slo, *, since: datetime, until: datetime, step: timedelta
) -> list[BudgetPoint]:
    """Return a point for the end of each step in (since, until]; where nothing was valid its numbers are None."""
    ends = ends_of_steps(since=since, until=until, step=step)
    windows = [window_span(slo, end) for end in ends]
    seconds = int(step.total_seconds())
    spans = [
        span for end, own in zip(ends, windows, strict=True) for span in ((own.start, own.end), (end - seconds, end))
    ]
    first = datetime.fromtimestamp(min((span[0] for span in spans), default=end_of_minute(until)), UTC)
    exclusions = read_exclusions(client, service, since=first, until=until)
    (counts,) = read_counts_between(client, service, [slo], [spans], exclusions=exclusions)
    points = []
    for end, own, window, within in zip(ends, windows, counts[::2], counts[1::2], strict=True):
        left = budget_left(window, slo.target, elapsed_share=own.elapsed_share)
        rate = burn_rate(within, slo.target)
        points.append(BudgetPoint(datetime.fromtimestamp(end, UTC), window, within, sli(window), left, rate))
    return points


def history_document(slo: Slo, points: Sequence[BudgetPoint]) -> Mapping[str, Any]:
    """Return the JSON of one SLO's history; ratios 0..1, null where there were no valid requests."""
    return {
        "slo": slo.name,
        "points": [
            {
                "at": point.at.isoformat(),
                "valid": point.window.valid,
                "good": point.window.good,
                "sli": point.sli,
                "budget_left": point.budget_left,
                "step_valid": point.step.valid,
                "step_good": point.step.good,
                "step_burn_rate": point.burn_rate,
            }
            for point in points
        ],
    }


def history_lines(slo: Slo, points: Sequence[BudgetPoint]) -> list[str]:
    """Return the history as lines for a terminal."""
    lines = [f"{slo.name}: budget left, SLI of the window, bad of the step's requests, the step's burn rate"]
    for point in points:
        if point.budget_left is None or point.sli is None:
            lines.append(f"  {point.at.isoformat()}  no valid requests in the window")
            continue
        bad = point.step.valid - point.step.good
        rate = "-" if point.burn_rate is None else f"x{point.burn_rate:.2f}"
        lines.append(
            f"  {point.at.isoformat()}  {point.budget_left:8.1%}  {point.sli:.5f}  {bad} of {point.step.valid}  {rate}"
        )
    return lines
