"""Forecasts and scores as one SVG drawing, alone or in an HTML page that needs nothing else. Numbers in, text out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from html import escape
from pathlib import Path

import numpy as np

from forecaster.answers import Answer
from forecaster.forecast.skill import SkillReport
from forecaster.forecast.types import Forecast
from forecaster.store.instants import text_of

WIDTH, HEIGHT = 960, 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 20, 40, 40
_PAST_PER_HORIZON = 2.0  # how much of the past is drawn beside the horizon
_MOST_POINTS = 1500
_STYLE = (
    "text{font:12px sans-serif;fill:#333}.title{font-size:14px;font-weight:bold}.axis{stroke:#bbb}"
    ".past{fill:none;stroke:#555}.median{fill:none;stroke:#0b62a4;stroke-width:2}.band{fill:#0b62a4;fill-opacity:.14}"
    ".bar{fill:#0b62a4}.mark{stroke:#c33;stroke-dasharray:4}"
)


class ChartError(ValueError):
    """The drawing cannot be made: says what was expected and what came."""


def write_chart(path: Path, svg: str) -> None:
    """Write a drawing; an .html file is a page around it. Raises ChartError on another ending, OSError."""
    if path.suffix == ".svg":
        path.write_text(svg, encoding="utf-8")
    elif path.suffix == ".html":
        page = f"<!doctype html><html lang='en'><meta charset='utf-8'><title>Tidegauge</title><body>{svg}</body></html>"
        path.write_text(page, encoding="utf-8")
    else:
        raise ChartError(f"--chart: expected a file ending in .svg or .html, got {str(path)!r}")


def answer_svg(answer: Answer) -> str:
    """Draw the last forecast of an answer after the history it rests on: bands between quantiles, and the median."""
    forecasts = [one for one in answer.forecasts if isinstance(one, Forecast)]
    if not forecasts:
        raise ChartError(f"--chart: expected a forecast to draw, got none of {answer.series}")
    forecast = forecasts[-1]
    ahead = _seconds(forecast)
    past_x, past_y = _past(answer, forecast, until=ahead[0], span=(ahead[-1] - ahead[0]) * _PAST_PER_HORIZON)
    columns = forecast.frame.drop(columns="ds").to_numpy(dtype=np.float64)
    highest = float(max(columns.max(), np.nanmax(past_y, initial=0.0))) or 1.0
    low = float(past_x[0]) if len(past_x) else float(ahead[0])
    plane = _Plane(low, float(ahead[-1]), highest)
    middle = int(np.argmin(np.abs(np.array(forecast.quantiles) - 0.5)))
    bands = [plane.band(ahead, columns[:, index], columns[:, -1 - index]) for index in range(len(columns[0]) // 2)]
    title = f"{answer.series} from {text_of(forecast.origin)} ({forecast.model}), {answer.unit}"
    levels = ", ".join(f"{level:g}" for level in forecast.quantiles)
    return svg_of(
        title,
        [
            *plane.axes(f"quantiles {levels}"),
            *bands,
            plane.line(past_x, past_y, "past"),
            plane.line(ahead, columns[:, middle], "median"),
            plane.upright(float(ahead[0])),
        ],
    )


def skill_svg(report: SkillReport) -> str:
    """Draw each model's quantile loss as a ratio to the yardstick's: shorter is better, the line is the yardstick."""
    known = [(skill.model, skill.relative_wql) for skill in report.models if skill.relative_wql is not None]
    if not known:
        raise ChartError(f"--chart: expected a score to draw, got none of {report.series}")
    most = max(1.0, *(ratio for _, ratio in known))
    wide, row = WIDTH - 200, (HEIGHT - _TOP - _BOTTOM) / len(known)
    marks = []
    for index, (name, ratio) in enumerate(known):
        y = _TOP + index * row
        marks.append(f"<text x='10' y='{y + row * 0.6:.1f}'>{escape(name)}</text>")
        marks.append(
            f"<rect class='bar' x='130' y='{y + row * 0.2:.1f}' width='{wide * ratio / most:.1f}'"
            f" height='{row * 0.6:.1f}'/>"
            f"<text x='{135 + wide * ratio / most:.1f}' y='{y + row * 0.6:.1f}'>{ratio:.3f}</text>"
        )
    x = 130 + wide / most
    marks.append(f"<line class='mark' x1='{x:.1f}' x2='{x:.1f}' y1='{_TOP}' y2='{HEIGHT - _BOTTOM}'/>")
    return svg_of(f"{report.series}: quantile loss to {report.horizon} ahead, over that of {report.yardstick}", marks)


class _Plane:
    """From seconds and values to points of the drawing."""

    def __init__(self, first: float, last: float, highest: float) -> None:
        self._first, self._span, self._highest = first, max(last - first, 1.0), highest

    def line(self, xs: np.ndarray, ys: np.ndarray, kind: str) -> str:
        """Return a line with holes where a value is unknown."""
        runs: list[list[str]] = [[]]
        for x, y in zip(xs, ys, strict=True):
            if np.isfinite(y):
                runs[-1].append(self._at(x, y))
            elif runs[-1]:
                runs.append([])
        return "".join(f"<polyline class='{kind}' points='{' '.join(run)}'/>" for run in runs if run)

    def band(self, xs: np.ndarray, low: np.ndarray, high: np.ndarray) -> str:
        """Return the area between two lines."""
        there = [self._at(x, y) for x, y in zip(xs, low, strict=True)]
        back = [self._at(x, y) for x, y in zip(xs[::-1], high[::-1], strict=True)]
        return f"<polygon class='band' points='{' '.join([*there, *back])}'/>"

    def upright(self, x: float) -> str:
        """Return the line at which the forecast begins."""
        at = self._at(x, 0).split(",")[0]
        return f"<line class='mark' x1='{at}' x2='{at}' y1='{_TOP}' y2='{HEIGHT - _BOTTOM}'/>"

    def axes(self, note: str) -> list[str]:
        """Return the frame with the highest value, zero, and the first and last day."""
        bottom = HEIGHT - _BOTTOM
        days = [np.datetime64(round(at), "s") for at in (self._first, self._first + self._span)]
        return [
            f"<line class='axis' x1='{_LEFT}' x2='{WIDTH - _RIGHT}' y1='{bottom}' y2='{bottom}'/>",
            f"<line class='axis' x1='{_LEFT}' x2='{_LEFT}' y1='{_TOP}' y2='{bottom}'/>",
            f"<text x='8' y='{_TOP + 5}'>{self._highest:,.4g}</text><text x='8' y='{bottom}'>0</text>",
            f"<text x='{_LEFT}' y='{bottom + 20}'>{days[0]}Z</text>",
            f"<text x='{WIDTH - _RIGHT}' y='{bottom + 20}' text-anchor='end'>{days[1]}Z</text>",
            f"<text x='{WIDTH / 2}' y='{bottom + 35}' text-anchor='middle'>{escape(note)}</text>",
        ]

    def _at(self, x: float, y: float) -> str:
        wide, high = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM
        return f"{_LEFT + wide * (x - self._first) / self._span:.1f},{_TOP + high * (1 - y / self._highest):.1f}"


def _past(answer: Answer, forecast: Forecast, *, until: float, span: float) -> tuple[np.ndarray, np.ndarray]:
    if answer.history is None:
        return np.zeros(0), np.zeros(0)
    frame = answer.history.frame
    since = forecast.origin - timedelta(seconds=span)
    seen = frame[(frame["ds"] >= since) & (frame["ds"] < forecast.origin)]
    every = max(1, len(seen) // _MOST_POINTS)
    seconds = seen["ds"].dt.tz_convert(None).to_numpy(dtype="datetime64[s]").astype(np.int64)[::every]
    return seconds[seconds < until], seen["y"].to_numpy(dtype=np.float64)[::every][seconds < until]


def _seconds(forecast: Forecast) -> np.ndarray:
    seconds: np.ndarray = forecast.frame["ds"].dt.tz_convert(None).to_numpy(dtype="datetime64[s]").astype(np.int64)
    return seconds


def svg_of(title: str, marks: Sequence[str]) -> str:
    """Return a drawing with its title."""
    head = f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' width='{WIDTH}' height='{HEIGHT}'>"
    return "\n".join(
        [
            head,
            f"<style>{_STYLE}</style>",
            f"<text class='title' x='10' y='20'>{escape(title)}</text>",
            *marks,
            "</svg>",
        ]
    )
