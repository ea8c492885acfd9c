"""The capacity report: what a planner signs. Inputs in, document out; the same inputs give the same document. Pure."""

from __future__ import annotations

from forecaster.report.demand_sections import capacity_section, demand_chart, demand_section, peaks_section, peaks_table
from forecaster.report.digest import notes_of
from forecaster.report.document import (
    Block,
    Bullets,
    Cell,
    Document,
    KeyFigure,
    KeyFigures,
    Missing,
    Paragraph,
    Section,
    Signature,
    day,
    instant,
    money,
    number,
    percent,
)
from forecaster.report.findings import Findings, Peak, find
from forecaster.report.gather import CapacityInputs
from forecaster.report.measures import Growth
from forecaster.report.replicas import column_of
from forecaster.report.running_sections import (
    cost_section,
    gaps_section,
    method_section,
    quality_section,
    scaling_section,
    slo_section,
)
from forecaster.scaling.wording import counted

_PEAKS_ON_FIRST_PAGE = 5


def capacity_report(inputs: CapacityInputs) -> Document:
    """Return the whole report: the page to sign, the details, the method with its inputs and their hash."""
    found = find(inputs)
    notes, digest = notes_of(inputs.hashed())
    details = (
        demand_section(found),
        peaks_section(inputs, found),
        capacity_section(inputs, found),
        cost_section(inputs, found),
        slo_section(inputs),
        scaling_section(inputs, found),
        quality_section(inputs),
        gaps_section(inputs, found),
    )
    return Document(
        kind="capacity",
        service=inputs.service.name,
        title=f"Capacity report: {inputs.service.name}",
        subtitle=f"{_ahead(inputs)}, as of {instant(inputs.as_of).text}. {inputs.service.description}".strip(),
        as_of=inputs.as_of,
        sections=(_summary(inputs, found, details), *details, method_section(notes, digest)),
        digest=digest,
        inputs=notes,
    )


def _summary(inputs: CapacityInputs, found: Findings, details: tuple[Section, ...]) -> Section:
    blocks: list[Block] = [Paragraph(_verdict(inputs, found), strong=True), KeyFigures(_key_figures(inputs, found))]
    if found.outlook is not None:
        blocks.append(demand_chart(found, found.outlook))
    blocks.append(Bullets(_advice(inputs, found)))
    if found.peaks:
        blocks.append(peaks_table(found, sorted(found.peaks, key=lambda one: -_asked(one))[:_PEAKS_ON_FIRST_PAGE]))
    lost = [block for section in details for block in section.blocks if isinstance(block, Missing)]
    if lost:
        names = ", ".join(dict.fromkeys(_lowered(block.what) for block in lost))
        blocks.append(Missing("Not in this report, with reasons in the details", names))
    return Section("Summary", (*blocks, Signature(("Prepared by", "Approved by"))))


def _verdict(inputs: CapacityInputs, found: Findings) -> str:
    """Return the one sentence that somebody remembers."""
    span, scaling = f"the next {inputs.horizon.days} days", inputs.service.scaling
    if found.outlook is None:
        return f"Nothing can be said of {span}: {found.no_outlook}."
    if found.carried is None or scaling is None or found.outlook.passing is None:
        return f"Demand of {span} is forecast; what can be served is not known, for there is no scaling target."
    passing = found.outlook.passing
    most = f"the configured maximum of {counted(scaling.max_replicas, 'replica')}"
    if passing.probability < 0.1:
        chance = _chance(passing.probability)
        return f"{_sentence(most)} carries {span}: the chance that the busiest hour passes it is {chance}."
    if passing.probability < 0.5:
        return f"{_sentence(most)} probably carries {span}; with {passing.probability:.0%} the busiest hour passes it."
    date = day(passing.dates[0.5]).text
    sure = "almost surely" if passing.probability >= 0.99 else f"with {passing.probability:.0%}"
    return f"{_sentence(most)} is not enough for {span}: it is passed by {date} at p50, and {sure} at some time."


def _ahead(inputs: CapacityInputs) -> str:
    return f"The next {inputs.horizon.days} days"


def _lowered(text: str) -> str:
    """Return words for the middle of a sentence; an abbreviation stays as it is."""
    return text[0].lower() + text[1:] if text[1:2].islower() else text


def _asked(peak: Peak) -> float:
    return peak.high * (peak.factor or 1.0)


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def _chance(probability: float) -> str:
    return "under 1%" if probability < 0.01 else f"{probability * 100:.0f}%"


def _key_figures(inputs: CapacityInputs, found: Findings) -> tuple[KeyFigure, ...]:
    none = f"not in {inputs.horizon.days} days"
    figures = [_busiest(found), _highest(found)]
    if found.carried is not None and inputs.service.scaling is not None:
        figures.append(
            KeyFigure(
                "Carried by max",
                number(found.carried, unit="requests/s"),
                counted(inputs.service.scaling.max_replicas, "replica"),
            )
        )
    top = _top(found)
    if top is not None and found.carried:
        figures.append(KeyFigure("Headroom at that peak", percent(1 - top / found.carried), "of what max carries"))
    if found.outlook is not None and found.outlook.passing is not None:
        passing = found.outlook.passing
        chance = f"chance within: {_chance(passing.probability)}"
        figures.append(KeyFigure("max passed, p50", day(passing.dates[0.5], none=none), chance))
        figures.append(KeyFigure("max passed, p90", day(passing.dates[0.9], none=none)))
    cost = inputs.service.cost
    if cost is not None:
        figures.append(KeyFigure("Cost per month, now", money(found.cost_now, cost.currency), _looked_at(found)))
        then = found.cost_ahead.monthly if found.cost_ahead else None
        figures.append(
            KeyFigure(
                "Cost per month, then",
                money(then[0.5] if then else None, cost.currency),
                f"p90: {money(then[0.9], cost.currency).text}" if then else "",
            )
        )
        if cost.monthly_budget is not None and found.cost_ahead is not None:
            figures.append(KeyFigure("Budget passed, p50", day(found.cost_ahead.passed[0.5], none=none)))
    figures += [_slo_figure(inputs)] if inputs.statuses else []
    return tuple(figures)


def _busiest(found: Findings) -> KeyFigure:
    label = "Busiest hour, 30 days"
    if found.busiest is None:
        return KeyFigure(label, number(None))
    return KeyFigure(
        label, number(found.busiest[1], unit="requests/s"), f"{found.busiest[0].astimezone(found.zone):%a %d %b %H:00}"
    )


def _looked_at(found: Findings) -> str:
    seen = found.observed
    if seen is None:
        return "nobody looked"
    return "last 30 days" if seen.coverage >= 0.99 else f"seen {seen.coverage:.0%} of 30 days"


def _top(found: Findings) -> float | None:
    return None if found.outlook is None else float(found.outlook.peak[:, column_of(found.outlook, 0.9)].max())


def _highest(found: Findings) -> KeyFigure:
    top = _top(found)
    if top is None:
        return KeyFigure("Highest p90 ahead", number(None))
    peak = max(found.peaks, key=lambda one: one.high)
    return KeyFigure("Highest p90 ahead", number(top, unit="requests/s"), day(peak.day).text)


def _slo_figure(inputs: CapacityInputs) -> KeyFigure:
    judged = [status for status in inputs.statuses if status.sli is not None]
    kept = sum(status.sli is not None and status.sli >= status.slo.target for status in judged)
    if not judged:
        return KeyFigure("SLOs kept", Cell("not known", None), "no valid requests")
    silent = len(inputs.statuses) - len(judged)
    note = f"{silent} without requests" if silent else ""
    return KeyFigure("SLOs kept", Cell(f"{kept} of {len(judged)}", kept / len(judged)), note)


def _advice(inputs: CapacityInputs, found: Findings) -> tuple[str, ...]:
    """Return what to do, and how far it may be believed."""
    return (
        *_grounds(found),  # what the rest stands on comes first
        *_replica_advice(inputs, found),
        *_money_advice(inputs, found),
        *_slo_advice(inputs),
        *_trust(inputs, found),
    )


def _replica_advice(inputs: CapacityInputs, found: Findings) -> list[str]:
    scaling, advice = inputs.service.scaling, found.recommended
    if scaling is None or advice is None:
        return []
    said = []
    for name, now, wanted in (("max", scaling.max_replicas, advice.most), ("min", scaling.min_replicas, advice.least)):
        if wanted == now:
            said.append(f"Keep {name} at {counted(now, 'replica')}.")
        elif name == "max" and wanted < now:
            said.append(f"Keep max at {counted(now, 'replica')}; {wanted} would carry the highest p99 ahead.")
        elif name == "max":
            on = f"{day(advice.peak_day).text}{_factor_words(found)}"
            why = f"{on} may ask for {advice.peak_rps:,.4g} requests/s (p99)"
            said.append(f"Raise max from {now} to {counted(wanted, 'replica')}: {why}.")
        else:
            verb = "Raise" if wanted > now else "Lower"
            said.append(
                f"{verb} min from {now} to {counted(wanted, 'replica')}: the floor of the quietest hour of the week."
            )
    return said


def _factor_words(found: Findings) -> str:
    """Return the events of the day that the recommended max is for, where their declared factor made it that day."""
    advice = found.recommended
    on = [one for one in found.peaks if advice is not None and one.day == advice.peak_day and one.factor]
    return f" ({', '.join(on[0].events)}, declared x{on[0].factor:g})" if on else ""


def _money_advice(inputs: CapacityInputs, found: Findings) -> list[str]:
    cost, ahead = inputs.service.cost, found.cost_ahead
    if cost is None or ahead is None or cost.monthly_budget is None:
        return []
    budget = money(cost.monthly_budget, cost.currency).text
    if ahead.passed[0.9] is None:
        return [f"The monthly budget of {budget} holds at p90."]
    if ahead.passed[0.5] is None:
        return [f"The monthly budget of {budget} holds at p50; at p90 it is passed on {day(ahead.passed[0.9]).text}."]
    return [f"The monthly budget of {budget} is passed on {day(ahead.passed[0.5]).text} at p50."]


def _slo_advice(inputs: CapacityInputs) -> list[str]:
    missed = [one.slo.name for one in inputs.statuses if one.sli is not None and one.sli < one.slo.target]
    return [f"Not kept: {', '.join(missed)}."] if missed else []


def _growth_words(growth: Growth) -> str:
    low, high = (percent(end, digits=2, signed=True).text for end in (growth.low, growth.high))
    verb = "grows" if growth.per_week >= 0 else "falls"
    sure = "" if growth.low * growth.high > 0 else ", which may be no change at all"
    return f"Demand {verb} by {abs(growth.per_week):.2%} per week (90 %: {low} to {high}){sure}."


def _grounds(found: Findings) -> list[str]:
    return [f"The outlook {note}." for note in found.outlook.notes] if found.outlook is not None else []


def _trust(inputs: CapacityInputs, found: Findings) -> list[str]:
    said = []
    if found.growth is not None:
        said.append(_growth_words(found.growth))
    if found.known_share is not None and found.known_share < 1:
        said.append(f"Demand of the last 30 days is known to {found.known_share:.1%}.")
    day_ahead = next((one for one in inputs.scores if one.bucket == "24h" and one.skill is not None), None)
    if day_ahead is not None and day_ahead.skill is not None:
        beats = "better" if day_ahead.skill > 0 else "worse"
        said.append(f"A day ahead, last month's forecasts were {abs(day_ahead.skill):.0%} {beats} than the naive one.")
    return said
