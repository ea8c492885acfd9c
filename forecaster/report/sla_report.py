"""The SLA report of a calendar month: every SLO, and every route against the service's promises. Pure.

What it is composed of is read by `sla_inputs`. A month that is not over is counted up to `as_of` and says so.
"""

from __future__ import annotations

from datetime import UTC, datetime

from collector.slo.objectives import budget_left, burn_rate, sli
from collector.slo.windows import MINUTE, overlap
from forecaster.report.digest import notes_of
from forecaster.report.document import (
    Block,
    Cell,
    Chart,
    Document,
    KeyFigure,
    KeyFigures,
    Line,
    Missing,
    Paragraph,
    Section,
    Signature,
    Style,
    Table,
    count,
    day,
    instant,
    percent,
    plain,
)
from forecaster.report.running_sections import method_section
from forecaster.report.sla_inputs import Judged, SlaInputs

_WHOLE = 0.999  # a month with this coverage is in the record
_METHOD = (
    "An SLI is good requests / valid requests, from counts; without valid requests there is none: nothing is kept.",
    "Availability: good is a status under 500. Latency: valid is every answered request whose duration is known, good"
    " one within the threshold; before the days whose events are kept, the threshold snaps down to its bucket's edge.",
    "Minutes that a marker excludes (maintenance) count for nothing, and are listed.",
    "Coverage is the share of the month's minutes, without excluded ones, of which anything is recorded.",
    "A route is judged by the promises made for the whole service, and by those made for it.",
)


def sla_report(inputs: SlaInputs) -> Document:
    """Return the report: the page to sign, SLOs, routes, days, maintenance, the method with its inputs. Pure."""
    notes, digest = notes_of(inputs.hashed())
    name = f"{inputs.first:%B %Y}"
    open_month = inputs.until < inputs.whole_end
    until = instant(datetime.fromtimestamp(inputs.until, UTC)).text
    ends = f"counted up to {until}: the month is not over" if open_month else "the whole month"
    return Document(
        kind="sla",
        service=inputs.service.name,
        title=f"SLA report: {inputs.service.name}, {name}",
        subtitle=f"{name} in {inputs.service.timezone}, {ends}. {inputs.service.description}".strip(),
        as_of=datetime.fromtimestamp(inputs.until, UTC),
        sections=(
            _summary(inputs),
            _routes_section(inputs),
            _days_section(inputs),
            _maintenance_section(inputs),
            method_section(notes, digest, method=_METHOD),
        ),
        digest=digest,
        inputs=notes,
    )


def _coverage(inputs: SlaInputs) -> float | None:
    expected = (inputs.until - inputs.since - overlap(inputs.exclusions, inputs.since, inputs.until)) // MINUTE
    return inputs.recorded_minutes / expected if expected > 0 else None


def _summary(inputs: SlaInputs) -> Section:
    if not inputs.promises:
        why = "tidegauge.yaml promises none for this service"
        return Section("Summary", (Missing("SLOs", why),))
    known = [(one, ratio) for one in inputs.promises if (ratio := sli(one.counts)) is not None]
    kept = sum(ratio >= one.slo.target for one, ratio in known)
    excluded = overlap(inputs.exclusions, inputs.since, inputs.until)
    figures = (
        KeyFigure("SLOs kept", Cell(f"{kept} of {len(known)}" if known else "not known", kept if known else None)),
        KeyFigure("Routes seen", count(len({one.slo.route for one in inputs.routes}))),
        KeyFigure("Coverage", percent(_coverage(inputs)), "minutes with a record"),
        KeyFigure("Maintenance excluded", Cell(f"{excluded / 3600:.1f} h", excluded)),
    )
    missed = [one.slo.name for one, ratio in known if ratio < one.slo.target]
    verdict = (
        f"Not kept: {', '.join(missed)}." if missed else "Every promise with valid requests was kept." if known else
        "There were no valid requests: nothing was kept or missed."
    )  # fmt: skip
    coverage = _coverage(inputs)
    if coverage == 0:
        verdict += " No minute of the month is in the record."
    elif coverage is not None and coverage < _WHOLE:
        verdict += f" Only {coverage:.1%} of the month's minutes are in the record."
    table = Table("The month", _COLUMNS, tuple(_row(one) for one in inputs.promises))
    blocks: list[Block] = [Paragraph(verdict, strong=True), KeyFigures(figures), table, _burn_chart(inputs)]
    silent = [one.slo.name for one in inputs.promises if sli(one.counts) is None]
    if silent:
        blocks.append(Missing(", ".join(silent), "no valid requests in the month"))
    return Section("Summary", (*blocks, Signature(("Prepared by", "Approved by"))))


def _burn_chart(inputs: SlaInputs) -> Chart | Missing:
    """Return each day's burn rate by SLO; a day without valid requests is a gap. Of many: who spent the most."""
    if all(sli(one.counts) is None for one in inputs.promises):
        return Missing("Burn rate by day", "no valid requests in the month")
    noons = tuple(datetime(one.year, one.month, one.day, 12, tzinfo=UTC).timestamp() for one in inputs.days)
    styles: tuple[Style, ...] = ("median", "other", "peak", "past", "dotted", "dashdot")
    spent = {one.slo.name: burn_rate(one.counts, one.slo.target) or 0.0 for one in inputs.promises}
    drawn = sorted(inputs.promises, key=lambda one: -spent[one.slo.name])[: len(styles)]
    lines = tuple(
        Line(one.slo.name, noons, tuple(burn_rate(counts, one.slo.target) for counts in one.days), style)
        for one, style in zip(drawn, styles, strict=False)
    )
    name = "Burn rate by day: failed share of the day's requests over the error budget"
    name += f" (the {len(styles)} SLOs that spent the most)" if len(drawn) < len(inputs.promises) else ""
    return Chart(name, "time", "x", lines, (), (("exactly the budget:", 1.0),))


_COLUMNS = ("SLO", "Target", "SLI", "Kept", "Budget left", "Good", "Valid", "Bad")


def _row(one: Judged, *, first: str | None = None) -> tuple[Cell, ...]:
    slo, counts, ratio = one.slo, one.counts, sli(one.counts)
    within = f" within {slo.threshold.total_seconds():g} s" if slo.threshold else ""
    scope = "".join(f", {part}" for part in (slo.route, slo.region, slo.version) if part) if first is None else ""
    left = budget_left(counts, slo.target)
    none = Cell("no valid requests", None)
    return (
        plain(first or f"{slo.name}{scope}{within}"),
        percent(slo.target, digits=3),
        none if ratio is None else percent(ratio, digits=3),
        none if ratio is None else plain("yes" if ratio >= slo.target else "NO"),
        none if left is None else percent(left),
        count(counts.good),
        count(counts.valid),
        count(counts.valid - counts.good),
    )


def _routes_section(inputs: SlaInputs) -> Section:
    if not inputs.routes:
        return Section(
            "By route", (Missing("By route", "no requests are recorded in the month, or nothing is promised"),)
        )
    tables = []
    names = dict.fromkeys((one.slo.name, one.slo.threshold, one.slo.target) for one in inputs.routes)
    for name, threshold, target in names:
        own = [
            one
            for one in inputs.routes
            if (one.slo.name, one.slo.threshold, one.slo.target) == (name, threshold, target)
        ]
        within = f", within {threshold.total_seconds():g} s" if threshold else ""
        rows = tuple(_row(one, first=one.slo.route) for one in own)
        tables.append(Table(f"{name}{within}, by route", ("Route", *_COLUMNS[1:]), rows))
    return Section("By route", tuple(tables))


def _days_section(inputs: SlaInputs) -> Section:
    rows = tuple(
        (day(one), *(_day_cell(judged, index) for judged in inputs.promises)) for index, one in enumerate(inputs.days)
    )
    columns = ("Day", *(one.slo.name for one in inputs.promises))
    if not inputs.promises:
        return Section("By day", (Missing("By day", "tidegauge.yaml promises nothing for this service"),))
    if all(sli(one.counts) is None for one in inputs.promises):
        return Section("By day", (Missing("By day", "no valid requests in the month"),))
    note = (
        f"SLI of each day of {inputs.service.timezone}; a * stands where it was under the target. -: no valid requests."
    )
    return Section("By day", (Table("SLI by day", columns, rows, note=note),))


def _day_cell(judged: Judged, index: int) -> Cell:
    ratio = sli(judged.days[index])
    if ratio is None:
        return Cell("-", None)
    return Cell(f"{ratio * 100:.3f}%{' *' if ratio < judged.slo.target else ''}", ratio)


def _maintenance_section(inputs: SlaInputs) -> Section:
    if not inputs.markers:
        return Section("Maintenance", (Paragraph("No marker excludes any of this month."),))
    rows = tuple(
        (plain(mark.kind), instant(mark.starts_at), instant(mark.ends_at), plain(mark.text)) for mark in inputs.markers
    )
    return Section("Maintenance", (Table("Excluded from SLOs", ("Kind", "From", "To", "Text"), rows),))
