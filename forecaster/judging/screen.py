"""What people read of a policy backtest: one line per setting, and a service's verdict."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from collector.catalog import Cost
from forecaster.scaling.backtest.contest import REACTIVE, Contest, Entry
from forecaster.scaling.backtest.counterfactual import WeekApart
from forecaster.scaling.backtest.gate import PolicyBacktest
from forecaster.scaling.types import Capacity
from forecaster.store.instants import text_of

_HEADINGS = (
    "policy", "setting", "short min", "asked", "was", "depth", "SLO", "replica-h", "cost", "over", "margin", "events",
    "flips",
)  # fmt: skip
_LEGEND = (
    "short: minutes with demand above what ready replicas carry; asked, was: share of the time, requested and realised;"
    " depth: worst share of the demand that was too much; SLO: share of requests that the queue dropped or let wait;"
    " over: replica-hours above the need, as a share of the oracle's hours; margin: minutes that enough were ready"
    " before the need rose (5th percentile)."
)


def show_contest(console: Console, contest: Contest, capacity: Capacity, price: Cost | None) -> None:
    """Print every setting of every policy. price: of a replica, for the costs; None: they are left out."""
    oracle = contest.of("oracle")
    least = oracle[0].toll.replica_hours if oracle else None
    start, end = contest.window
    table = Table(title=f"{contest.series}, {text_of(start)} to {text_of(end)}", title_justify="left", box=None)
    for heading in _HEADINGS:
        table.add_column(heading, justify="left" if heading == "policy" else "right", no_wrap=True)
    last = None
    for entry in contest.entries:
        table.add_row(entry.name if entry.name != last else "", *_cells(entry, least, price))
        last = entry.name
    console.print(table)
    console.print(_LEGEND)
    console.print(f"One replica carries {capacity.low_rps:.4g} requests/s ({capacity.source}).")
    console.print(f"forecasts {contest.fit_seconds:.1f} s (0: stored ones), play {contest.play_seconds:.1f} s")


def show_apart(console: Console, weeks: Sequence[WeekApart]) -> None:
    """Print what each week since the first floor would have been without us; nothing when there is none."""
    if not weeks:
        return
    title = "Since our first floor: minutes under-provisioned and replica-hours, both simulated on the demand that came"
    table = Table(title=title, title_justify="left", box=None)
    for heading in ("week from", "short with us", "without", "hours with us", "without"):
        table.add_column(heading, justify="left" if heading == "week from" else "right")
    for week in weeks:
        figures = (
            week.with_us_minutes,
            week.without_us_minutes,
            week.with_us_replica_hours,
            week.without_us_replica_hours,
        )
        table.add_row(text_of(week.starts_at), *(f"{figure:,.1f}" for figure in figures))
    console.print(table)


def show_verdict(console: Console, verdict: PolicyBacktest) -> None:
    """Print whether a service's own policy may act, and why."""
    start, end = verdict.window
    answer = "passed" if verdict.passed else "not passed"
    console.print(f"{answer} on {text_of(start)} to {text_of(end)}: {verdict.reason}")


def _cells(entry: Entry, least: float | None, price: Cost | None) -> tuple[str, ...]:
    toll = entry.toll
    share = toll.under_provisioned_minutes / toll.minutes if toll.minutes else 0.0
    return (
        f"{entry.setting:g}",
        f"{toll.under_provisioned_minutes:,.1f}",
        f"{asked(entry):.1%}" if asked(entry) is not None else "-",
        f"{share:.2%}",
        f"{toll.worst_depth:.0%}",
        f"{toll.violating_ratio:.2%}",
        f"{toll.replica_hours:,.1f}",
        f"{toll.replica_hours * price.replica_hour:,.2f} {price.currency}" if price else "-",
        f"{toll.over_replica_hours / least:.0%}" if least else "-",
        "-" if toll.lead_margin_minutes is None else f"{toll.lead_margin_minutes:.1f}",
        f"{toll.scale_events:,}",
        f"{toll.flips:,}",
    )


def asked(entry: Entry) -> float | None:
    """Return the share of the time that a setting allows to be short; None for a target utilisation."""
    if entry.name == REACTIVE:
        return None
    return entry.setting if entry.name in ("tidegauge", "oracle") else 1 - entry.setting
