"""What people read in a terminal: tables and a small chart. The commands' `--json` is in `api.shapes`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import pandas as pd
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from forecaster.answers import Answer
from forecaster.forecast.skill import SkillReport
from forecaster.forecast.types import Forecast, NoForecast
from forecaster.scaling.types import Decision
from forecaster.scores.drift import Drift
from forecaster.scores.score import Summary
from forecaster.store import StoredDecision
from forecaster.store.instants import text_of
from forecaster.store.outcomes import Outcome, Patch

_BLOCKS = "▁▂▃▄▅▆▇█"
_CHART_COLUMNS = 72
_MOST_ROWS = 24
_SHOWN_LEVELS = (0.1, 0.5, 0.9, 0.95, 0.99)  # a scaled service has more than a terminal is wide; --json has all
_BRANCHES = ("with_us", "without_us")


def show_answer(console: Console, answer: Answer) -> None:
    """Print each forecast as an hourly table and a chart of its median and its highest quantile."""
    for forecast in answer.forecasts:
        if isinstance(forecast, NoForecast):
            console.print(f"{answer.series} from {text_of(forecast.origin)}: no forecast, because {forecast.reason}")
        else:
            console.print(_forecast_view(forecast, unit=answer.unit))
            for note in forecast.notes:
                console.print(f"  - {note}")


def show_decision(console: Console, decision: Decision) -> None:
    """Print what would be decided now, why, and the floors of the next day."""
    console.print(
        f"{decision.service} at {text_of(decision.at)}, mode {decision.mode}: {decision.outcome},"
        f" floor {decision.floor_before} -> {decision.floor_after} (wanted {decision.floor_wanted})"
    )
    for reason in decision.reasons:
        console.print(f"  - {reason}")
    if decision.needed_at is not None:
        console.print(f"  - more than the present floor is needed from {text_of(decision.needed_at)}")
    if decision.plan:
        rows = [(f"{step.starts_at:%a %H:%M}", str(step.floor), step.reason) for step in decision.plan]
        console.print(_table("Floors ahead (UTC)", ("from", "floor", "because"), rows))


def show_decisions(
    console: Console, service: str, decisions: Sequence[StoredDecision], outcomes: Mapping[str, Outcome]
) -> None:
    """Print past decisions, newest first, with what came of them by their ids."""
    if not decisions:
        console.print(f"{service}: no decision has been taken in this time")
        return
    rows = [
        (
            stored.id[:8],
            text_of(stored.decision.at),
            stored.decision.mode,
            stored.decision.outcome,
            f"{stored.decision.floor_before} -> {stored.decision.floor_after}",
            "yes" if stored.applied else (f"failed: {stored.error}" if stored.error else "no"),
            _enough(outcomes.get(stored.id)),
            stored.actor + (" (forced)" if stored.forced else ""),
            "; ".join(stored.decision.reasons),
        )
        for stored in decisions
    ]
    headings = ("id", "at", "mode", "outcome", "floor", "applied", "enough", "by", "because")
    console.print(_table(f"Decisions for {service}", headings, rows))


def show_releases(console: Console, releases: Sequence[Patch]) -> None:
    """Print when people had the operator's floor back, newest first; nothing when they never had."""
    for one in releases:
        what = f"{one.floor_before} -> {one.floor_after}" if one.applied else f"failed: {one.error}"
        console.print(f"released at {text_of(one.at)} by {one.actor}: {what} ({one.reason})", markup=False)


def show_weeks(console: Console, answer: dict[str, Any]) -> None:
    """Print week by week what was and what would have been (the answer of `scale saved`)."""
    if not answer["weeks"]:
        console.print(f"{answer['service']}: no day with a floor of ours has been weighed yet")
        return
    rows = [
        (
            week["starts_on"],
            f"{week['days']}",
            f"{week['acted_seconds'] / 3600:,.1f}",
            *(
                f"{week[branch][figure] * factor:,.1f}"
                for figure, factor in (("under_provisioned_seconds", 1 / 60), ("replica_hours", 1))
                for branch in ("with_us", "without_us")
            ),
            *("-" if week[branch]["cost"] is None else f"{week[branch]['cost']:,.2f}" for branch in _BRANCHES),
        )
        for week in answer["weeks"]
    ]
    money = answer["currency"] or "cost"
    headings = (
        "week of", "days", "hours acted", "missing min with us", "without", "replica-hours with us", "without ",
        f"{money} with us", "without  ",
    )  # fmt: skip
    console.print(_table(f"{answer['service']}: with our floors, and played without them", headings, rows))


def _enough(outcome: Outcome | None) -> str:
    if outcome is None:
        return "not yet"
    if outcome.enough is None:
        return "unknown"
    return f"{'yes' if outcome.enough else 'NO'}: {outcome.ready} of {outcome.replicas_needed}"


def show_status(console: Console, status: dict[str, Any]) -> None:
    """Print how a service stands (the overview that the API answers with)."""
    hpa, last, ordered = status["autoscaler"], status["last_decision"], status["mode_ordered"]
    console.print(f"{status['service']} at {status['now']}, mode {status['mode'] or 'none (no scaling target)'}")
    if ordered:
        forced = " by force" if ordered["forced"] else ""
        console.print(f"  mode ordered by {ordered['actor']}{forced}: {ordered['reason']}")
    if status["paused"]:
        console.print(f"  PAUSED: {status['paused']}")
    if hpa:
        console.print(
            f"  floor {hpa['floor']} (operator's {hpa['operator_floor']}, ceiling {hpa['ceiling']}),"
            f" desired {hpa['desired']}, current {hpa['current']}, ready {hpa['ready']}"
        )
    else:
        console.print(f"  autoscaler: {status['autoscaler_error'] or 'none'}")
    if hpa and hpa["blocked"]:
        # As it is, unwrapped: there are commands and pieces of manifests in it, to be taken from the screen.
        console.print(f"  NO FLOOR CAN BE WRITTEN: {hpa['blocked']}", soft_wrap=True, markup=False)
    console.print(f"  last forecast: {status['forecast_origin'] or 'none'} {status['model'] or ''}".rstrip())
    if last:
        console.print(
            f"  last decision: {last['at']} {last['outcome']}, {last['floor_before']} -> {last['floor_after']}"
        )
    for reason in status["why"]:
        console.print(f"  - {reason}")


def show_skill(console: Console, report: SkillReport) -> None:
    """Print each model's scores as ratios to the yardstick, and how much of the truth lay under its quantiles."""
    levels = list(report.models[0].coverage)

    def ratio(value: float | None) -> str:
        return "-" if value is None else f"{value:.3f}"

    rows = [
        (
            skill.model,
            ratio(skill.relative_mase),
            ratio(skill.relative_wql),
            ratio(skill.relative_mase_near),
            *(f"{skill.coverage[level]:.1%}" for level in levels),
        )
        for skill in report.models
    ]
    title = (
        f"{report.series}: {report.points:,} truths up to {report.horizon} after {len(report.origins)} origins,"
        f" errors as ratios to {report.yardstick}"
    )
    headings = ("model", "error", "quantile loss", "error to 1 h", *(f"under q{level}" for level in levels))
    console.print(_table(title, headings, rows))


def show_scores(console: Console, service: str, summaries: Sequence[Summary], drift: Drift) -> None:
    """Print how good stored forecasts were, by bucket of horizons, and what has drifted."""
    if not summaries:
        console.print(f"{service}: no forecast of this time has come true yet")
        return
    known = sorted({level for summary in summaries for level in summary.coverage})
    levels = [level for level in known if level in _SHOWN_LEVELS] or known

    def of(value: float | None) -> str:
        return "-" if value is None else f"{value:.3f}"

    rows = [
        (
            f"to {summary.bucket}",
            f"{summary.origins:,}",
            f"{summary.points:,}",
            of(summary.skill),
            of(summary.relative_error),
            of(summary.quantile_loss),
            *(f"{summary.coverage[level]:.1%}" if level in summary.coverage else "-" for level in levels),
        )
        for summary in summaries
    ]
    headings = ("ahead", "forecasts", "truths", "skill", "error / naive", "quantile loss")
    title = f"{service}: stored forecasts by what came; under each quantile, the share of truths that were"
    console.print(_table(title, (*headings, *(f"q{level:g}" for level in levels)), rows))
    for reason in drift.reasons:
        console.print(f"drift: {reason}")


def _forecast_view(forecast: Forecast, *, unit: str) -> RenderableType:
    columns = list(forecast.frame.columns.drop("ds"))
    span = len(forecast.frame) * forecast.step
    hours = max(1, -(-span // (timedelta(hours=1) * _MOST_ROWS)))
    bucket = max(timedelta(hours=hours), forecast.step) if span > timedelta(hours=3) else forecast.step
    groups = forecast.frame.groupby((forecast.frame["ds"] - forecast.origin) // bucket)
    rows = [
        (f"{group['ds'].iloc[0]:%a %d %b %H:%M}", *(f"{group[column].mean():,.4g}" for column in columns))
        for _, group in groups
    ]
    title = f"{forecast.name} from {text_of(forecast.origin)} ({forecast.model}), mean {unit}"
    middle = min(zip(forecast.quantiles, columns, strict=True), key=lambda pair: abs(pair[0] - 0.5))[1]
    return Group(
        _table(title, ("from (UTC)", *columns), rows),
        *(
            _chart(forecast.frame, column, top=float(forecast.frame[columns[-1]].max()))
            for column in (columns[-1], middle)
        ),
    )


def _chart(frame: pd.DataFrame, column: str, *, top: float) -> Text:
    """Return one line of blocks, from 0 to `top`."""
    values = frame[column].to_numpy(dtype=float)
    count = min(_CHART_COLUMNS, len(values))
    highest = [values[len(values) * i // count : len(values) * (i + 1) // count].max() for i in range(count)]
    scale = (len(_BLOCKS) - 1) / top if top > 0 else 0.0
    return Text(f"{column:>6} {''.join(_BLOCKS[round(max(0.0, value) * scale)] for value in highest)}")


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 or column in ("because", "mode", "outcome") else "right")
    for row in rows:
        table.add_row(*row)
    return table
