"""An outlook for people and for programs: a table by week, and JSON by day."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from rich.console import Console
from rich.table import Table

from forecaster.outlook.outlook import NoOutlook, Outlook

_DAILY_UP_TO = 31


def outlook_json(found: Outlook | NoOutlook) -> dict[str, Any]:
    """Return an outlook by day; one that could not be made has no days, and a reason."""
    if isinstance(found, NoOutlook):
        return {"series": found.name, "reason": found.reason, "days": []}
    levels = [f"{level:g}" for level in found.quantiles]
    passing = found.passing
    return {
        "series": found.name,
        "notes": list(found.notes),
        "days": [
            {
                "day": (found.first + timedelta(days=index)).isoformat(),
                "mean": dict(zip(levels, found.mean[index].tolist(), strict=True)),
                "peak_hour": dict(zip(levels, found.peak[index].tolist(), strict=True)),
                **({"passed_probability": passing.by_day[index]} if passing else {}),
            }
            for index in range(len(found.mean))
        ],
        "passing": None
        if passing is None
        else {
            "capacity": passing.capacity,
            "probability": passing.probability,
            "dates": {f"p{level * 100:g}": day.isoformat() if day else None for level, day in passing.dates.items()},
        },
    }


def show_outlook(console: Console, found: Outlook) -> None:
    """Print the days (beyond a month: the highest day of each week) and when the capacity is passed."""
    every = 1 if len(found.mean) <= _DAILY_UP_TO else 7
    kind = "day" if every == 1 else "week, its highest figures"
    table = Table(title=f"{found.name}: demand by {kind} (mean, and the peak hour's)", title_justify="left")
    levels = [f"q{level:g}" for level in found.quantiles]
    for heading in ("from", *(f"mean {level}" for level in levels), *(f"peak {level}" for level in levels)):
        table.add_column(heading, justify="right")
    for start in range(0, len(found.mean), every):
        rows = (values[start : start + every].max(axis=0) for values in (found.mean, found.peak))
        figures = [f"{value:,.4g}" for row in rows for value in row]
        table.add_row((found.first + timedelta(days=start)).isoformat(), *figures)
    console.print(table)
    for note in found.notes:
        console.print(f"  - {note}")
    passing = found.passing
    if passing is not None:
        words = ", ".join(
            f"{level:.0%} by {day:%d %b %Y}" if day else f"{level:.0%} not within {len(found.mean)} days"
            for level, day in passing.dates.items()
        )
        console.print(
            f"The busiest hour passes {passing.capacity:,.4g} with {passing.probability:.0%} probability: {words}"
        )
