"""The sections about how it runs: cost, SLOs, what scaling did, forecast quality, gaps, and the method. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from collector.slo.objectives import SloStatus
from forecaster.report.document import (
    Block,
    Bullets,
    Cell,
    InputNote,
    Missing,
    Paragraph,
    Section,
    Table,
    count,
    day,
    instant,
    money,
    number,
    percent,
    plain,
)
from forecaster.report.findings import COST_LEVELS, Findings
from forecaster.report.gather import LAST, CapacityInputs
from forecaster.scaling.wording import counted
from forecaster.store import StoredBacktest, StoredDecision

_CHANGES_SHOWN = 12
_GAPS_SHOWN = 12
_BRANCHES = ("with", "without")
_TOLL = ("Policy", "Under-provisioned, s", "Replica-hours")
_METHOD = (
    "Demand is offered load by the hour, or the record's coarser step; masked spans and gaps are left out.",
    "Growth is the Theil-Sen slope of the logarithm of weekly means, with its 90 % interval from the ranks of pairwise"
    " slopes (Sen 1968).",
    "The outlook averages courses of the last weeks and of the last year by their errors in the past; around it lie its"
    " own past errors as whole courses, so that the day on which a limit is first passed has a probability.",
    "An hour ahead is its day's busiest hour times the hour's share of it: the median of the last eight weeks for cost,"
    " the quantile of the floors for floors. Replicas are counted at the low end of the capacity's interval.",
    "Cost ahead is what the autoscaler would run for the demand at its own target per replica, never under min, and not"
    " bounded by max; costs of a level's days are added up, which for p90 is on the dear side.",
    "SLIs are good requests / valid requests, from counts. Without valid requests there is none.",
    "Skill is 1 - quantile loss / that of the seasonal naive forecast: above 0 is better than last week repeated.",
)


def cost_section(inputs: CapacityInputs, found: Findings) -> Section:
    """Return the cost now and then, and when a budget is passed."""
    cost = inputs.service.cost
    if cost is None:
        return Section("Cost", (Missing("Cost", "tidegauge.yaml says no cost of this service"),))
    blocks: list[Block] = []
    seen, price = found.observed, f"at {cost.currency} {cost.replica_hour:g} per replica and hour"
    rows: list[tuple[Cell, ...]] = []
    if seen is None:
        blocks.append(Missing("Cost now", "nobody has looked at the replicas of the last 30 days"))
    else:
        words = f"{seen.mean:.2f} replicas on average, {price}; {seen.coverage:.0%} of the last 30 days were looked at"
        rows.append((plain("Now"), money(found.cost_now, cost.currency), plain(words)))
    if found.cost_ahead is None:
        why = found.no_outlook or "it takes a scaling target, and two weeks of demand known by the hour"
        blocks.append(Missing("Cost then", why))
    else:
        for level in COST_LEVELS:
            words = f"demand at p{level * 100:g}, mean of the last 30 days of the horizon, {price}"
            label = plain(f"In {inputs.horizon.days} days, p{level * 100:g}")
            rows.append((label, money(found.cost_ahead.monthly[level], cost.currency), plain(words)))
    if rows:
        blocks.insert(0, Table("Cost per month", ("When", "Per month", "Of"), tuple(rows)))
    return Section("Cost", (*blocks, *_budget(inputs, found)))


def _budget(inputs: CapacityInputs, found: Findings) -> tuple[Block, ...]:
    cost, ahead = inputs.service.cost, found.cost_ahead
    if cost is None or ahead is None:
        return ()
    if cost.monthly_budget is None:
        return (Missing("The day on which a budget is passed", "tidegauge.yaml says no monthly budget under cost"),)
    none = f"not within {inputs.horizon.days} days"
    rows = tuple((Cell(f"p{level * 100:g}", level), day(ahead.passed[level], none=none)) for level in COST_LEVELS)
    spent = (
        f"{money(ahead.spent, cost.currency).text} were spent this month up to today"
        if ahead.spent is not None
        else "what was spent this month is not known and counts as nothing: the first date may be too late"
    )
    note = f"Budget {money(cost.monthly_budget, cost.currency).text} per calendar month; {spent}."
    return (Table("The day on which the monthly budget is passed", ("Demand at", "Day"), rows, note=note),)


def slo_section(inputs: CapacityInputs) -> Section:
    """Return how every SLO stands, with what it was counted on."""
    if not inputs.statuses:
        return Section("SLO compliance", (Missing("SLO compliance", "tidegauge.yaml promises none for this service"),))
    table = Table(
        "SLO compliance",
        ("SLO", "Target", "SLI", "Kept", "Budget left", "Good", "Valid", "Window", "Coverage"),
        tuple(_slo_row(status) for status in inputs.statuses),
        note=f"Windows end with {instant(inputs.as_of).text}. Coverage is the share of the window's minutes of which"
        " anything is recorded; maintenance that markers exclude counts for nothing.",
    )
    return Section("SLO compliance", (table,))


def _slo_row(status: SloStatus) -> tuple[Cell, ...]:
    slo, measured = status.slo, status.measured
    within = f" within {slo.threshold.total_seconds():g} s" if slo.threshold else ""
    scope = "".join(f", {part}" for part in (slo.route, slo.region, slo.version) if part)
    unknown = Cell("no valid requests", None)
    kept = unknown if status.sli is None else plain("yes" if status.sli >= slo.target else "NO")
    return (
        plain(f"{slo.name}{scope}{within}"),
        percent(slo.target, digits=3),
        percent(status.sli, digits=3) if status.sli is not None else unknown,
        kept,
        percent(status.budget_left) if status.budget_left is not None else unknown,
        count(status.counts.good),
        count(status.counts.valid),
        plain(slo.calendar.period if slo.calendar else f"{slo.window / timedelta(days=1):g} days"),
        percent(measured.coverage if measured else None),
    )


def scaling_section(inputs: CapacityInputs, found: Findings) -> Section:
    """Return what scaling did in the last 30 days, and what it saved as far as anybody has compared."""
    scaling, title = inputs.service.scaling, "What scaling did, and what it saved"
    if scaling is None:
        return Section(title, (Missing("Scaling", "the configuration names no scaling target"),))
    applied = [one for one in inputs.decisions if one.applied]
    failed = [one for one in inputs.decisions if one.error]
    raised = sum(one.decision.floor_after > one.decision.floor_before for one in applied)
    rows = (
        (plain("Floors raised"), count(raised)),
        (plain("Floors lowered"), count(len(applied) - raised)),
        (plain("Changes that the cluster refused or did not answer"), count(len(failed))),
        (plain("Changes advised, not made"), count(len(inputs.decisions) - len(applied) - len(failed))),
    )
    if not inputs.decided:
        silent = Missing("Decisions of the last 30 days", "none is stored: no forecaster has decided for this service")
        return Section(title, (silent, *_saved(inputs, found)))
    table = Table("Decisions of the last 30 days", ("What", "Times"), rows, note=f"Mode now: {scaling.mode}.")
    return Section(title, (table, *_changes(applied), *_saved(inputs, found)))


def _changes(applied: Sequence[StoredDecision]) -> tuple[Block, ...]:
    if not applied:
        return ()
    rows = tuple(
        (
            instant(one.decision.at),
            Cell(f"{one.decision.floor_before} to {one.decision.floor_after}", one.decision.floor_after),
            plain("; ".join(one.decision.reasons)),
        )
        for one in applied[:_CHANGES_SHOWN]
    )
    note = f"The newest of {len(applied)}." if len(applied) > _CHANGES_SHOWN else ""
    return (Table("Changes of the floor", ("When", "Floor", "Because"), rows, note=note),)


def _saved(inputs: CapacityInputs, found: Findings) -> tuple[Block, ...]:
    blocks: list[Block] = []
    seen, cost = found.observed, inputs.service.cost
    if seen is None:
        blocks.append(Missing("Saved against a fixed number of replicas", "nobody has looked at the replicas"))
    else:
        fixed = seen.highest * (seen.seen / timedelta(hours=1))
        spared = fixed - seen.replica_hours
        worth = f", {money(spared * cost.replica_hour, cost.currency).text}" if cost else ""
        blocks.append(
            Paragraph(
                f"Against {counted(seen.highest, 'replica')} all the time, the most that ran at once, {spared:,.0f}"
                f" replica-hours were saved{worth} ({spared / fixed:.0%} of {fixed:,.0f}), in {seen.coverage:.0%} of"
                f" the last {LAST.days} days that were looked at."
            )
        )
    compared = _with_and_without(inputs) if inputs.days else _without_us(inputs.backtest)
    return (*blocks, *compared)


def _with_and_without(inputs: CapacityInputs) -> tuple[Block, ...]:
    """Return what the days of the last month would have been without our floors, by the simulator of the audit."""
    days, cost = inputs.days, inputs.service.cost
    under = [math.fsum(getattr(one, f"{branch}_under_provisioned_seconds") for one in days) for branch in _BRANCHES]
    hours = [math.fsum(getattr(one, f"{branch}_replica_seconds") for one in days) / 3600 for branch in _BRANCHES]
    rows = tuple(
        (
            plain(name),
            number(seconds, digits=6),
            number(paid, digits=6),
            money(paid * cost.replica_hour if cost else None, cost.currency if cost else ""),
        )
        for name, seconds, paid in zip(
            ("With our floors", "With the operator's floor alone"), under, hours, strict=True
        )
    )
    acted = sum((one.acted for one in days), timedelta()) / timedelta(hours=1)
    note = (
        f"{len(days)} of the last {LAST.days} days, in mode act; our floor was the higher one for {acted:,.0f} h. Both"
        f" rows are played by the same simulator: {under[1] - under[0]:,.0f} s fewer under-provisioned,"
        f" {hours[1] - hours[0]:+,.1f} replica-hours saved."
    )
    return (Table("Saved against the autoscaler alone", (*_TOLL, "Cost"), rows, note=note),)


def _without_us(backtest: StoredBacktest | None) -> tuple[Block, ...]:
    """Return the comparison with the autoscaler alone, of the newest stored backtest of the policy."""
    what = "Saved against the autoscaler alone"
    if backtest is None:
        return (Missing(what, "no backtest of the policy is stored; “tidegauge backtest policy” makes one"),)
    with_us, alone = backtest.report.get("predictive"), backtest.report.get("reactive_only")
    if not isinstance(with_us, dict) or not isinstance(alone, dict):
        return (Missing(what, "the stored backtest has another form than is known here"),)
    rows = tuple(
        _toll_row(name, toll) for name, toll in (("With floors set ahead", with_us), ("Autoscaler alone", alone))
    )
    window = f"{instant(backtest.window_from).text} to {instant(backtest.window_to).text}"
    note = f"The policy played on history, {window}: {backtest.report.get('reason', 'no verdict was stored')}."
    return (Table(what, _TOLL, rows, note=note),)


def _toll_row(name: str, toll: dict[str, Any]) -> tuple[Cell, ...]:
    under, paid = toll.get("under_provisioned_seconds"), toll.get("replica_seconds")
    return plain(name), number(under, digits=6), number(None if paid is None else paid / 3600, digits=6)


def quality_section(inputs: CapacityInputs) -> Section:
    """Return how good the stored forecasts of the last month were."""
    title = "Forecast quality of the last month"
    if not inputs.scores:
        return Section(title, (Missing(title, "no stored forecast has come true in the last 30 days"),))
    levels = sorted({level for summary in inputs.scores for level in summary.coverage})
    rows = tuple(
        (
            plain(f"to {summary.bucket}"),
            count(summary.origins),
            number(summary.skill, digits=3),
            number(summary.relative_error, digits=3),
            *(percent(summary.coverage.get(level)) for level in levels),
        )
        for summary in inputs.scores
    )
    headings = ("Ahead", "Forecasts", "Skill", "Error / naive", *(f"under p{level * 100:g}" for level in levels))
    note = "Skill above 0 beats the seasonal naive forecast. Under a quantile: the share of truths at or below it."
    return Section(title, (Table(title, headings, rows, note=note),))


def gaps_section(inputs: CapacityInputs, found: Findings) -> Section:
    """Return what the record does not hold, and what people have marked."""
    span = max(LAST, inputs.horizon)
    blocks: list[Block] = []
    if inputs.demand is None:
        blocks.append(Missing("Gaps", "the record holds no demand"))
    elif not found.gaps:
        blocks.append(Paragraph(f"No gap in what is known of the last {span.days} days."))
    else:
        longest = sorted(found.gaps, key=lambda gap: gap.starts_at - gap.ends_at)[:_GAPS_SHOWN]
        rows = tuple(
            (
                instant(gap.starts_at),
                instant(gap.ends_at),
                number((gap.ends_at - gap.starts_at) / timedelta(hours=1), unit="h"),
            )
            for gap in sorted(longest, key=lambda gap: gap.starts_at)
        )
        lost = sum((gap.ends_at - gap.starts_at for gap in found.gaps), timedelta()) / timedelta(hours=1)
        gaps = "1 gap" if len(found.gaps) == 1 else f"{len(found.gaps)} gaps"
        note = f"{gaps}, {lost:,.0f} h in all, in the last {span.days} days; the longest are shown."
        blocks.append(Table("Gaps in demand", ("From", "To", "Length"), rows, note=note))
    if inputs.demand is not None and (first := inputs.demand.frame["ds"].iloc[0]) > inputs.as_of - span:
        blocks.append(Paragraph(f"The record of demand begins {instant(first).text}; nothing is known before."))
    if inputs.markers:
        marks = tuple(
            (
                plain(mark.kind),
                instant(mark.starts_at),
                instant(mark.ends_at),
                plain(mark.text),
                plain(", ".join(_asks(mark.masks_history, mark.excludes_slo)) or "nothing"),
            )
            for mark in inputs.markers
        )
        blocks.append(Table("Markers", ("Kind", "From", "To", "Text", "Leaves out"), marks))
    return Section("Data gaps and markers", tuple(blocks))


def _asks(masks_history: bool, excludes_slo: bool) -> list[str]:
    return [word for word, asked in (("from forecasts", masks_history), ("from SLOs", excludes_slo)) if asked]


def method_section(inputs: Sequence[InputNote], digest: str, *, method: Sequence[str] = _METHOD) -> Section:
    """Return how the figures were made and what they rest on."""
    rows = tuple((plain(note.name), count(note.rows), plain(note.digest)) for note in inputs)
    table = Table("Inputs", ("Input", "Rows", "SHA-256 of its canonical JSON"), rows)
    words = f"SHA-256 over all inputs: {digest}. The same inputs give the same hash and the same document."
    return Section("Method and inputs", (Bullets(tuple(method)), table, Paragraph(words, strong=True)))
