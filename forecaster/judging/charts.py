"""Risk curves of policies as one SVG drawing: minutes too short over replica-hours, a line per policy."""

from __future__ import annotations

from html import escape

import numpy as np

from forecaster.charts import HEIGHT, WIDTH, svg_of
from forecaster.judging.report import front
from forecaster.scaling.backtest.contest import OURS, Contest
from forecaster.store.instants import text_of

_COLOURS = (
    "#0b62a4", "#c33333", "#d98300", "#6a8f00", "#7a4fa3", "#00838f", "#a0527a", "#8d6e63", "#444444",
)  # fmt: skip
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 170, 40, 40
_MOST_COST = 3.0  # times the cheapest of the oracle's (or of all): what is dearer is not drawn


def contest_svg(contest: Contest) -> str:
    """Draw each policy's risk curve; lower and further left is better. Minutes are drawn as their square roots."""
    names = list(dict.fromkeys(entry.name for entry in contest.entries))
    curves = {
        name: [(one.toll.replica_hours, one.toll.under_provisioned_minutes) for one in front(contest.of(name))]
        for name in names
    }
    points = np.array([point for curve in curves.values() for point in curve])
    low = float(points[:, 0].min()) * 0.98
    right = max(min(float(points[:, 0].max()), low * _MOST_COST), low + 1e-9)
    top = max(float(points[points[:, 0] <= right, 1].max()), 1e-9)

    def at(hours: float, minutes: float) -> str:
        x = _LEFT + (WIDTH - _LEFT - _RIGHT) * (hours - low) / (right - low)
        y = _TOP + (HEIGHT - _TOP - _BOTTOM) * (1 - np.sqrt(minutes / top))
        return f"{x:.1f},{y:.1f}"

    marks = _axes(low, right, top)
    for index, (name, curve) in enumerate(curves.items()):
        colour, width = _COLOURS[index % len(_COLOURS)], 3 if name == OURS else 1.5
        shown = [at(*point) for point in curve if point[0] <= right]
        marks.append(f"<polyline fill='none' stroke='{colour}' stroke-width='{width}' points='{' '.join(shown)}'/>")
        marks += [f"<circle cx='{p.split(',')[0]}' cy='{p.split(',')[1]}' r='2.5' fill='{colour}'/>" for p in shown]
        y = _TOP + 18 * index
        marks.append(f"<rect x='{WIDTH - _RIGHT + 15}' y='{y - 9}' width='10' height='10' fill='{colour}'/>")
        marks.append(f"<text x='{WIDTH - _RIGHT + 32}' y='{y}'>{escape(name)}</text>")
    start, end = contest.window
    title = f"{contest.series}: minutes under-provisioned over replica-hours, {text_of(start)} to {text_of(end)}"
    return svg_of(title, marks)


def _axes(low: float, right: float, top: float) -> list[str]:
    bottom, end = HEIGHT - _BOTTOM, WIDTH - _RIGHT
    return [
        f"<line class='axis' x1='{_LEFT}' x2='{end}' y1='{bottom}' y2='{bottom}'/>",
        f"<line class='axis' x1='{_LEFT}' x2='{_LEFT}' y1='{_TOP}' y2='{bottom}'/>",
        f"<text x='8' y='{_TOP + 5}'>{top:,.4g} min</text><text x='8' y='{bottom}'>0</text>",
        f"<text x='{_LEFT}' y='{bottom + 20}'>{low:,.5g} replica-hours</text>",
        f"<text x='{end}' y='{bottom + 20}' text-anchor='end'>{right:,.5g}</text>",
    ]
