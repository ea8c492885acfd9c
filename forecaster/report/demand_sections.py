"""The sections about demand: so far, growth and seasons, days ahead, capacity. Findings in, sections out. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import numpy as np

from forecaster.outlook.outlook import Outlook
from forecaster.report.document import (
    Band,
    Block,
    Cell,
    Chart,
    Line,
    Missing,
    Paragraph,
    Section,
    Style,
    Table,
    count,
    day,
    number,
    percent,
    plain,
)
from forecaster.report.findings import Findings, Peak
from forecaster.report.gather import CapacityInputs
from forecaster.report.measures import Season, hour_seasons
from forecaster.report.replicas import column_of
from forecaster.scaling.wording import counted

WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_PAST_DAYS = 90


def demand_section(found: Findings) -> Section:
    """Return what demand was, by month, with its growth and its seasons."""
    if not found.months:
        why = "no demand has been recorded or imported"
        return Section("Demand so far", (Missing("Demand so far", why),))
    rows = tuple(
        (
            Cell(f"{month.first:%b %Y}", month.first.isoformat()),
            number(month.requests),
            number(month.mean),
            number(month.peak),
            Cell(f"{month.peak_at.astimezone(found.zone):%a %d %b %H:00}", f"{month.peak_at:%Y-%m-%dT%H:%M:%SZ}"),
            percent(month.coverage),
        )
        for month in found.months
    )
    months = Table(
        "Demand by month",
        ("Month", "Requests", "Mean, requests/s", "Busiest hour, requests/s", "When", "Known"),
        rows,
        note=f"Local months and hours of {found.zone.key}. Only known steps count, without load tests and what is"
        " masked; nothing is filled in.",
    )
    return Section("Demand so far", (months, *_growth(found), *_seasons(found)))


def _growth(found: Findings) -> tuple[Block, ...]:
    growth = found.growth
    if growth is None:
        return (Missing("Growth", "it takes four whole weeks, most days of each known"),)
    month = 30 / 7
    per_month = [(1 + one) ** month - 1 for one in (growth.per_week, growth.low, growth.high)]
    year = (
        percent(growth.year, signed=True)
        if growth.year is not None
        else Cell("not known: the same four weeks a year ago are not in the record", None)
    )
    rows = (
        (
            plain("Per week"),
            *(percent(one, signed=True, digits=2) for one in (growth.per_week, growth.low, growth.high)),
        ),
        (plain("Per 30 days"), *(percent(one, signed=True) for one in per_month)),
    )
    table = Table(
        "Growth",
        ("Of weekly means", "Estimate", "90 % from", "90 % to"),
        rows,
        note=f"Of the last {growth.weeks} known weeks. The last four against the same four a year before: {year.text}.",
    )
    return (table,)


def _seasons(found: Findings) -> tuple[Block, ...]:
    if not found.weekdays:
        return (Missing("Seasons", "it takes a whole known week"),)
    rows = tuple((plain(WEEKDAYS[weekday]), *_season_cells(season)) for weekday, season in found.weekdays.items())
    note = "A day's mean over the mean day of its week: median of the last weeks, and where 90 % of them lay."
    table = Table("Weekdays", ("Day", "Median", "90 % from", "90 % to", "Weeks"), rows, note=note)
    if found.hours is None:
        return (table, Missing("Hours of the day", "it takes two weeks of demand known by the hour"))
    return (table, _hours_chart(found))


def _season_cells(season: Season) -> tuple[Cell, ...]:
    ratios = (number(value, digits=3) for value in (season.middle, season.low, season.high))
    return (*ratios, count(season.seen))


def _hours_chart(found: Findings) -> Chart:
    lines: list[Line] = []
    bands: list[Band] = []
    kinds: tuple[tuple[bool, str, Style], ...] = (
        (False, "Monday to Friday", "median"),
        (True, "Saturday, Sunday", "other"),
    )
    assert found.hours is not None  # noqa: S101 (its one caller has looked)
    for weekend, name, style in kinds:
        seasons = hour_seasons(found.hours, weekend=weekend)
        known = [(float(hour), season) for hour, season in enumerate(seasons) if season is not None]
        if not known:
            continue
        x = tuple(hour for hour, _ in known)
        lines.append(Line(name, x, tuple(100 * season.middle for _, season in known), style))
        if not weekend:
            low, high = (tuple(100 * getattr(season, end) for _, season in known) for end in ("low", "high"))
            bands.append(Band("90 % of these days", x, low, high))
    return Chart(
        f"Hours of the day ({found.zone.key}): share of the day's busiest hour", "hour", "%", tuple(lines), tuple(bands)
    )


def peaks_section(inputs: CapacityInputs, found: Findings) -> Section:
    """Return the days ahead: the chart, the busiest ones with their events, and what the outlook rests on."""
    outlook = found.outlook
    title = f"The next {inputs.horizon.days} days"
    if outlook is None:
        return Section(title, (Missing("Peaks ahead", found.no_outlook), *_unread(inputs)))
    notes = tuple(Paragraph(f"The outlook {note}.") for note in outlook.notes)
    return Section(title, (_ahead_chart(found, outlook), peaks_table(found, found.peaks), *notes, *_unread(inputs)))


def peaks_table(found: Findings, peaks: Sequence[Peak]) -> Table:
    """Return busy days ahead, in order of time, with what is on."""
    rows = tuple(
        (
            day(peak.day),
            number(peak.middle),
            number(peak.high),
            number(peak.high * peak.factor) if peak.factor else Cell("", None),
            percent(peak.passed, digits=0),
            plain(", ".join(peak.events)),
        )
        for peak in sorted(peaks, key=lambda one: one.day)
    )
    every = len(peaks) == len(found.peaks)
    shown = "Two days of each week at most, and every day with an event." if every else "The highest."
    return Table(
        "Peaks ahead",
        ("Day", "Busiest hour p50", "p90", "p90 x declared factor", "max passed by then", "Events"),
        rows,
        note=f"requests/s. {shown} The outlook itself holds no single events; a declared factor is what people expect,"
        " not what was learnt.",
    )


def _unread(inputs: CapacityInputs) -> tuple[Missing, ...]:
    return tuple(Missing("A calendar", why) for why in inputs.amiss)


def _ahead_chart(found: Findings, outlook: Outlook) -> Chart:
    """Return the days ahead alone: the mean and the busiest hour with their bands."""
    whole = demand_chart(found, outlook)
    ahead = whole.bands[0].x
    middle = tuple(outlook.mean[:, column_of(outlook, 0.5)].tolist())
    lines = (whole.lines[-1], Line("mean of the day, p50", ahead, middle, "past"))
    return dataclasses.replace(whole, name="Days ahead", lines=lines)


def demand_chart(found: Findings, outlook: Outlook) -> Chart:
    """Return days past and ahead: the mean, the busiest hour, its quantiles, what max carries, the events."""
    lines: list[Line] = []
    if found.days is not None:
        start = max(0, len(found.days.mean) - _PAST_DAYS)
        past = [found.days.day(index) for index in range(start, len(found.days.mean))]
        x = tuple(_noon(one) for one in past)
        lines.append(Line("busiest hour", x, _with_gaps(found.days.peak[start:]), "peak"))
        lines.append(Line("mean of the day", x, _with_gaps(found.days.mean[start:]), "past"))
    ahead = tuple(_noon(outlook.first + timedelta(days=index)) for index in range(len(outlook.peak)))
    middle = outlook.peak[:, column_of(outlook, 0.5)]
    lines.append(Line("busiest hour, p50", ahead, tuple(middle.tolist()), "median"))
    low, high = outlook.peak[:, column_of(outlook, 0.1)], outlook.peak[:, column_of(outlook, 0.9)]
    band = Band("p10 to p90", ahead, tuple(low.tolist()), tuple(high.tolist()))
    levels = (("max carries", found.carried),) if found.carried is not None else ()
    marks = tuple((_noon(peak.day), peak.events[0]) for peak in found.peaks if peak.events)
    return Chart("Demand by the day", "time", "requests/s", tuple(lines), (band,), levels, marks)


def _noon(one: date) -> float:
    return datetime(one.year, one.month, one.day, 12, tzinfo=UTC).timestamp()


def _with_gaps(values: np.ndarray) -> tuple[float | None, ...]:
    return tuple(float(value) if np.isfinite(value) else None for value in values)


def capacity_section(inputs: CapacityInputs, found: Findings) -> Section:
    """Return what can be served, how much of it is left, when it is passed, and the replicas to ask for."""
    scaling, capacity = inputs.service.scaling, inputs.capacity
    title = "Capacity, headroom and recommended replicas"
    if scaling is None or capacity is None or found.carried is None:
        return Section(title, (Missing("Capacity", "the configuration names no scaling target"),))
    now = found.busiest[1] if found.busiest else None
    rows = [
        (plain("One replica"), number(capacity.low_rps), plain(f"to {capacity.high_rps:.4g}; {capacity.source}")),
        (
            plain(f"max = {counted(scaling.max_replicas, 'replica')}"),
            number(found.carried),
            plain("counted at the low end"),
        ),
        (
            plain("Headroom over the busiest hour of the last 30 days"),
            percent(1 - now / found.carried) if now is not None else percent(None),
            plain(f"{now:,.4g} requests/s" if now is not None else "no demand is known"),
        ),
    ]
    if found.outlook is not None:
        top = float(found.outlook.peak[:, column_of(found.outlook, 0.9)].max())
        label = f"Headroom over the highest p90 of the next {inputs.horizon.days} days"
        rows.append((plain(label), percent(1 - top / found.carried), plain(f"{top:,.4g} requests/s")))
    table = Table("Capacity", ("What", "requests/s or share", "Of"), tuple(rows))
    return Section(title, (table, *_passing(inputs, found), *_floors(inputs, found)))


def _passing(inputs: CapacityInputs, found: Findings) -> tuple[Block, ...]:
    passing = found.outlook.passing if found.outlook else None
    if passing is None:
        return (Missing("The day on which max is passed", found.no_outlook or "no capacity is known"),)
    none = f"not within {inputs.horizon.days} days"
    rows = tuple(
        (Cell(f"p{level * 100:g}", level), day(passing.dates[level], none=none)) for level in sorted(passing.dates)
    )
    note = (
        "The first day by which the busiest hour has been above what max carries, with that probability."
        f" Within the horizon it happens with {passing.probability:.0%}."
    )
    return (Table("The day on which max is passed", ("Probability", "Day"), rows, note=note),)


def _floors(inputs: CapacityInputs, found: Findings) -> tuple[Block, ...]:
    scaling, advice = inputs.service.scaling, found.recommended
    if scaling is None or advice is None:
        why = found.no_outlook or "it takes two weeks of demand known by the hour"
        return (Missing("Recommended replicas", why),)
    ends = Table(
        "Recommended min and max",
        ("", "Now", "Recommended", "Because"),
        (
            (
                plain("min"), count(scaling.min_replicas), count(advice.least),
                plain("the floor of the quietest hour, never under two"),
            ),
            (
                plain("max"), count(scaling.max_replicas), count(advice.most),
                plain(f"carries {advice.peak_rps:,.4g} requests/s: the highest p99 ahead, with declared factors"),
            ),
        ),
    )  # fmt: skip
    grid = Table(
        "Recommended floor by hour of the week",
        ("", *(f"{hour:02}" for hour in range(24))),
        tuple((plain(WEEKDAYS[row]), *(count(int(value)) for value in advice.floors[row])) for row in range(7)),
        note=f"Replicas, local hours of {found.zone.key}, at p{scaling.quantile * 100:g} of the highest of the next"
        f" {inputs.horizon.days} days. In mode act floors follow the forecast of the hours ahead.",
        dense=True,
    )
    return (ends, grid)
