"""A chart as a drawing: SVG for pages, PNG for print. The only importer of matplotlib; no screen, no global state.

Told apart by dash as well as by colour (Okabe and Ito's), on white. The same chart gives the same bytes.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import matplotlib as mpl
from matplotlib import dates
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from forecaster.report.document import Chart, Line

BLUE, ORANGE, GREEN, RED, PURPLE, GREY = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#6f6f6f"
_SIZE = (7.6, 2.75)  # inches: the width of an A4 page within its margins
_DPI = 220
_FEW = 31
_ROW = 0.08  # of the axis' height: a row of names
_LETTER = 0.0082  # of the axis' width: a letter of a name
_NEAR = 3.0  # times the highest value drawn
_STYLES: dict[str, dict[str, Any]] = {
    "past": {"color": GREY, "linewidth": 1.0, "linestyle": (0, (3, 1.5))},
    "peak": {"color": "#333333", "linewidth": 1.2},
    "median": {"color": BLUE, "linewidth": 1.6},
    "other": {"color": ORANGE, "linewidth": 1.4, "linestyle": (0, (4, 2))},
    "dotted": {"color": GREEN, "linewidth": 1.4, "linestyle": (0, (1, 1.2))},
    "dashdot": {"color": PURPLE, "linewidth": 1.4, "linestyle": (0, (5, 1.5, 1, 1.5))},
}
_SETTINGS: Any = {
    "svg.hashsalt": "tidegauge",
    "svg.fonttype": "none",
    "font.family": ["DejaVu Sans"],
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#b5b5b5",
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "axes.labelcolor": "#444444",
}


def svg_of(chart: Chart) -> str:
    """Return a chart as an `<svg>` element that stands in a page by itself."""
    with mpl.rc_context(_SETTINGS):
        out = io.StringIO()
        _drawn(chart).savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    return text[text.index("<svg") :].replace("<svg ", f'<svg role="img" aria-label="{_attribute(chart.name)}" ', 1)


def png_of(chart: Chart) -> bytes:
    """Return a chart as a picture, sharp enough for print."""
    with mpl.rc_context(_SETTINGS):
        out = io.BytesIO()
        _drawn(chart).savefig(out, format="png", dpi=_DPI, metadata={"Software": None})
    return out.getvalue()


def _attribute(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")


def _drawn(chart: Chart) -> Figure:
    figure = Figure(figsize=_SIZE, layout="constrained")
    axes = figure.add_subplot()
    for band in chart.bands:
        axes.fill_between(_xs(chart, band.x), band.low, band.high, color=BLUE, alpha=0.17, linewidth=0, label=band.name)
    for line in chart.lines:
        dots: dict[str, Any] = {"marker": ".", "markersize": 4} if len(line.x) <= _FEW else {}  # a lone day is no line
        axes.plot(_xs(chart, line.x), _ys(line), label=line.name, **_STYLES[line.style], **dots)
    _draw_levels(axes, chart)
    every = [x for line in chart.lines for x in line.x]
    if len(every) > 1:
        is_dotted = len(every) <= _FEW * len(chart.lines)  # then the last dot is to be drawn whole
        room = 0.01 * (max(every) - min(every)) if is_dotted else 0.0
        axes.set_xlim(*_xs(chart, (min(every) - room, max(every) + room)))
    rows = name_rows(chart.marks, width=max(every) - min(every) if len(every) > 1 else 0.0)
    axes.set_ylim(bottom=0, top=axes.get_ylim()[1] * (1.0 + _ROW * (max(rows, default=-1) + 1)))  # room for names
    _mark(axes, chart, rows)
    _label(axes, chart)
    handles, labels = axes.get_legend_handles_labels()
    if labels:
        figure.legend(
            handles, labels, loc="outside upper left", ncols=min(6, len(labels)), frameon=False, fontsize=7.5,
            columnspacing=1.2, handlelength=2.2,
        )  # fmt: skip
    return figure


def _draw_levels(axes: Any, chart: Chart) -> None:
    """Draw lines that are near what is drawn; one far above it would make a flat line of that, and is named instead."""
    highest = axes.get_ylim()[1]
    for name, value in chart.levels:
        if value <= _NEAR * highest:
            axes.axhline(value, color=RED, linewidth=1.3, linestyle=(0, (7, 2, 1.5, 2)), label=name)
        else:
            axes.plot(
                [], [], color=RED, linewidth=1.3, linestyle=(0, (7, 2, 1.5, 2)), label=f"{name} {value:,.4g}, above"
            )


def _xs(chart: Chart, x: tuple[float, ...]) -> Any:
    return [datetime.fromtimestamp(one, UTC) for one in x] if chart.x == "time" else list(x)


def _ys(line: Line) -> list[float]:
    return [float("nan") if one is None else one for one in line.y]


def name_rows(marks: Sequence[tuple[float, str]], *, width: float) -> list[int]:
    """Return for each name the first row in which it lies on no earlier one. width: of the axis, in units of x."""
    ends: list[float] = []  # of the last name of each row
    rows = []
    for x, text in marks:
        row = next((index for index, end in enumerate(ends) if end <= x), len(ends))
        ends[row : row + 1] = [x + width * _LETTER * (len(text) + 2)]
        rows.append(row)
    return rows


def _mark(axes: Any, chart: Chart, rows: Sequence[int]) -> None:
    top = axes.get_ylim()[1]
    for (x, text), row in zip(chart.marks, rows, strict=True):
        at = _xs(chart, (x,))[0]
        axes.axvline(at, color=GREEN, linewidth=0.8, alpha=0.8)
        height = top * (0.985 - _ROW * row * 0.85)
        axes.annotate(
            text, (at, height), xytext=(2, 0), textcoords="offset points", fontsize=6.5, color=GREEN, va="top"
        )


def _label(axes: Any, chart: Chart) -> None:
    axes.set_ylabel(chart.unit)
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.4g}"))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    if chart.x == "time":
        locator: Any = dates.AutoDateLocator
        formatter: Any = dates.ConciseDateFormatter
        axes.xaxis.set_major_locator(locator(minticks=4, maxticks=9, tz=UTC))
        axes.xaxis.set_major_formatter(formatter(axes.xaxis.get_major_locator(), tz=UTC))
    else:
        axes.set_xticks(range(0, 24, 3), [f"{hour:02}:00" for hour in range(0, 24, 3)])
