"""A run as one HTML file that needs nothing else: verdict, thresholds, charts as inline SVG, routes. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from loadgen.results import Histogram, upper_edge_us

WIDTH, HEIGHT = 860, 220
LEFT, RIGHT, TOP, BOTTOM = 64, 12, 12, 30
MOST_POINTS = 400
STYLE = """
:root{color-scheme:light dark;--ink:#1c2430;--dim:#5b6777;--line:#d9dee5;--paper:#fff;--a:#1f6feb;--b:#d9822b;
--c:#c62f3b;--ok:#1a7f4b}
@media(prefers-color-scheme:dark){:root{--ink:#e4e8ee;--dim:#9aa6b5;--line:#333c48;--paper:#14181e;--a:#6aa5ff;
--b:#f0a95c;--c:#ff7b84;--ok:#57c78c}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:900px;margin:2rem auto;
padding:0 1rem}
h1{font-size:1.5rem;margin:0}h2{font-size:1.05rem;margin:2rem 0 .4rem}
.dim{color:var(--dim)}.pass{color:var(--ok)}.fail,.invalid{color:var(--c)}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
td,th{border-bottom:1px solid var(--line);padding:.3rem .5rem;text-align:right}
td:first-child,th:first-child{text-align:left}
th{font-weight:600;color:var(--dim)}svg{width:100%;height:auto}.scroll{overflow-x:auto}
svg text{fill:var(--dim);font-size:12px}.grid{stroke:var(--line)}
.a{stroke:var(--a);fill:none}.b{stroke:var(--b);fill:none}.c{stroke:var(--c);fill:none}
.bar{fill:var(--a)}.key{display:inline-block;width:.8em;height:.8em;margin:0 .3em 0 1em;border-radius:2px}
"""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a chart; None: no data there, and a gap."""

    name: str
    css: str
    values: Sequence[float | None]


def html_report(run: Mapping[str, Any], seconds: Sequence[Mapping[str, Any]]) -> str:
    """Return the page of a run: load.json and the lines of seconds.jsonl, in order."""
    verdict = run.get("verdict") or {"status": run["status"], "reasons": []}
    title = escape(f"{run['scenario']} on {run['target']}")
    reasons = "".join(f"<li>{escape(reason)}</li>" for reason in verdict["reasons"])
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        f"<meta name=viewport content='width=device-width,initial-scale=1'><title>{title}</title>",
        f"<style>{STYLE}</style><h1>{title}</h1>",
        f"<p class=dim>{escape(str(run['run_id']))}, {escape(str(run['started_at']))}, {run['seconds']:g} s, "
        f"{escape(str(run['status']))}</p>",
        f"<p><strong class={escape(verdict['status'])}>{escape(verdict['status']).upper()}</strong></p>",
        f"<ul>{reasons}</ul>" if reasons else "",
        _figures(run), _thresholds(run), *_charts(seconds), _distribution(run), _routes(run),
        "<p class=dim>Response counts from the intended start, service from when a request was sent. Charts: one point "
        "is the end of a log bucket, at most 9 % above the true quantile.</p></html>",
    ]  # fmt: skip
    return "\n".join(part for part in parts if part)


def _figures(run: Mapping[str, Any]) -> str:
    rate = "no data" if run.get("rps") is None else f"{run['rps']:.1f}/s"
    cells = [
        ("requests", f"{run['sent']:,}"), ("rate", rate), ("failed", f"{run['failed']:,}"),
        ("unsent", f"{run['unsent']:,}"), ("response p95", _ms(run["response_ms"]["p95"])),
        ("response p99", _ms(run["response_ms"]["p99"])), ("service p95", _ms(run["service_ms"]["p95"])),
        ("send lag p99", _ms(run["send_lag_ms"]["p99"])),
    ]  # fmt: skip
    heads, values = "".join(f"<th>{name}</th>" for name, _ in cells), "".join(f"<td>{value}</td>" for _, value in cells)
    return f"<div class=scroll><table><tr>{heads}</tr><tr>{values}</tr></table></div>"


def _thresholds(run: Mapping[str, Any]) -> str:
    rows = [
        f"<tr><td>{escape(one['threshold'])}</td><td>{_number(one['value'])}</td>"
        f"<td class={'pass' if one['held'] else 'fail'}>{'held' if one['held'] else 'crossed'}</td></tr>"
        for one in run.get("thresholds", [])
    ]
    rows += [
        f"<tr><td>check {escape(name)}</td><td>{one['passed']} of {one['passed'] + one['failed']}</td>"
        f"<td class={'fail' if one['failed'] else 'pass'}>{'failed' if one['failed'] else 'passed'}</td></tr>"
        for name, one in run.get("checks", {}).items()
    ]
    return f"<h2>Thresholds and checks</h2><div class=scroll><table>{''.join(rows)}</table></div>" if rows else ""


def _charts(seconds: Sequence[Mapping[str, Any]]) -> list[str]:
    if not seconds:
        return ["<p>No second of this run is on file.</p>"]
    width = math.ceil(len(seconds) / MOST_POINTS)
    groups = [seconds[start : start + width] for start in range(0, len(seconds), width)]
    at = [float(group[0]["second"] - seconds[0]["second"]) for group in groups]
    rates = [
        Line("sent", "a", [sum(one["sent"] for one in group) / len(group) for group in groups]),
        Line("failed", "c", [sum(one["failed"] for one in group) / len(group) for group in groups]),
        Line("unsent", "b", [sum(one["unsent"] for one in group) / len(group) for group in groups]),
    ]
    merged = [_merged(one["response_histogram"] for one in group) for group in groups]
    quantiles = [
        Line(name, css, [_milliseconds(histogram.quantile_us(q)) for histogram in merged])
        for name, css, q in (("p50", "a", 0.5), ("p95", "b", 0.95), ("p99", "c", 0.99))
    ]
    return [_chart("Requests per second", at, rates, ""), _chart("Response time", at, quantiles, " ms")]


def _merged(histograms: Any) -> Histogram:
    total = Histogram()
    for one in histograms:
        total.merge(Histogram.from_json(one))
    return total


def _milliseconds(us: float | None) -> float | None:
    return None if us is None else us / 1000


def _chart(title: str, at: Sequence[float], lines: Sequence[Line], unit: str) -> str:
    top = _round_up(max((value for line in lines for value in line.values if value is not None), default=1.0))
    span = max(at[-1], 1.0)

    def x(seconds: float) -> float:
        return LEFT + seconds / span * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM)

    drawn = [
        f"<line class=grid x1={LEFT} x2={WIDTH - RIGHT} y1={y(top * k / 4):.1f} y2={y(top * k / 4):.1f} />"
        f"<text x={LEFT - 6} y={y(top * k / 4) + 4:.1f} text-anchor=end>{top * k / 4:g}{unit}</text>"
        for k in range(5)
    ]
    drawn += [
        f"<text x={x(span * k / 4):.1f} y={HEIGHT - 8} text-anchor={'end' if k == 4 else 'middle'}>{span * k / 4:.0f} s"
        "</text>"
        for k in range(5)
    ]
    for line in lines:
        for piece in _pieces([(x(t), None if v is None else y(v)) for t, v in zip(at, line.values, strict=True)]):
            drawn.append(f"<polyline class={line.css} stroke-width=1.6 points='{piece}' />")
    keys = "".join(f"<span class=key style='background:var(--{line.css})'></span>{line.name}" for line in lines)
    return (
        f"<h2>{title}</h2><div class=dim>{keys}</div>"
        f"<svg viewBox='0 0 {WIDTH} {HEIGHT}' role=img aria-label='{title} over time'>{''.join(drawn)}</svg>"
    )


def _pieces(points: Sequence[tuple[float, float | None]]) -> list[str]:
    """Return the points of each unbroken line; a lone point is drawn as a short one."""
    pieces: list[list[str]] = [[]]
    for x, y in points:
        if y is None:
            pieces.append([])
        else:
            pieces[-1].append(f"{x:.1f},{y:.1f}")
    return [" ".join(piece if len(piece) > 1 else piece * 2) for piece in pieces if piece]


def _distribution(run: Mapping[str, Any]) -> str:
    counts = Histogram.from_json(run.get("response_histogram") or {}).counts
    if not counts:
        return ""
    first, last = min(counts), max(counts)
    buckets = range(first, last + 1)
    most, width = max(counts.values()), (WIDTH - LEFT - RIGHT) / len(buckets)
    drawn = []
    for place, bucket in enumerate(buckets):
        height = counts.get(bucket, 0) / most * (HEIGHT - TOP - BOTTOM)
        drawn.append(
            f"<rect class=bar x={LEFT + place * width:.1f} y={HEIGHT - BOTTOM - height:.1f} "
            f"width={max(width - 1, 0.5):.1f} height={height:.1f}>"
            f"<title>up to {upper_edge_us(bucket) / 1000:.3g} ms: {counts.get(bucket, 0):,}</title></rect>"
        )
    for k in range(5):
        bucket = first + (last - first) * k // 4
        drawn.append(
            f"<text x={LEFT + (bucket - first + 0.5) * width:.1f} y={HEIGHT - 8} "
            f"text-anchor={'end' if k == 4 else 'middle'}>{upper_edge_us(bucket) / 1000:.3g} ms</text>"
        )
    drawn.append(f"<text x={LEFT - 6} y={TOP + 8} text-anchor=end>{most:,}</text>")
    return (
        f"<h2>Response times, all requests</h2><svg viewBox='0 0 {WIDTH} {HEIGHT}' role=img "
        f"aria-label='Distribution of response times'>{''.join(drawn)}</svg>"
    )


def _routes(run: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td>{one['sent']:,}</td><td>{one['failed']:,}</td><td>{one['unsent']:,}</td>"
        f"<td>{_ms(one['response_ms']['p50'])}</td><td>{_ms(one['response_ms']['p95'])}</td>"
        f"<td>{_ms(one['response_ms']['p99'])}</td></tr>"
        for name, one in run.get("routes", {}).items()
    )
    heads = "".join(f"<th>{name}</th>" for name in ("route", "sent", "failed", "unsent", "p50", "p95", "p99"))
    reasons = ", ".join(f"{escape(name)}: {count:,}" for name, count in run.get("reasons", {}).items())
    told = f"<p class=dim>Failed or unsent: {reasons}</p>" if reasons else ""
    return f"<h2>Routes</h2><div class=scroll><table><tr>{heads}</tr>{rows}</table></div>{told}"


def _round_up(value: float) -> float:
    """Return 1, 2, 2.5 or 5 times a power of ten, at or above the value."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return float(next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= value * 0.999999))


def _number(value: float | None) -> str:
    return "no data" if value is None else f"{value:.4g}"


def _ms(value: float | None) -> str:
    return "no data" if value is None else f"{value:,.1f} ms" if value < 1000 else f"{value / 1000:,.2f} s"
