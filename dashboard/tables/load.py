"""Load runs as rows to be read, pure: the list, one run's thresholds and routes, two runs beside each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from dashboard.words import NONE, clock_time, milliseconds, percent, rps

COLUMNS = ["started", "scenario", "verdict", "requests", "requests/s", "p95", "run"]
_SHAPES = {"pass": "● pass", "fail": "▲ fail", "invalid": "○ invalid"}


def run_table(runs: Sequence[Mapping[str, Any]], zone: str | None = None) -> pd.DataFrame:
    """Return load runs for reading: a row each, absent where nothing is known."""
    return pd.DataFrame([_row(run, zone) for run in runs], columns=COLUMNS)


def _row(run: Mapping[str, Any], zone: str | None) -> list[Any]:
    summary = run.get("summary") or {}
    p95, sent = (summary.get("response_ms") or {}).get("p95"), summary.get("sent")
    started = pd.Timestamp(run["started_at"]).tz_convert("UTC").to_pydatetime()
    return [
        clock_time(started, zone), run["scenario"], verdict_of(run),
        NONE if sent is None else f"{sent:,}", rps(summary.get("rps")), milliseconds(p95), run["run_id"],
    ]  # fmt: skip


def verdict_of(run: Mapping[str, Any]) -> str:
    """Return what a run came to: its verdict with a shape, else its error or its state."""
    verdict = ((run.get("summary") or {}).get("verdict") or {}).get("status")
    if verdict:
        return _SHAPES.get(verdict, str(verdict))
    return str(run.get("error") or run.get("state") or run.get("status") or NONE)


def threshold_table(summary: Mapping[str, Any]) -> pd.DataFrame:
    """Return what was asked of a run and whether it held; no data never passes."""
    return pd.DataFrame(
        [
            {
                "threshold": each["threshold"],
                "measured": "no data" if each["value"] is None else f"{each['value']:,.4g}",
                "held": "● yes" if each["held"] else "▲ no",
            }
            for each in summary.get("thresholds") or []
        ]
    )


def route_table(summary: Mapping[str, Any]) -> pd.DataFrame:
    """Return a run by route, the busiest first."""
    routes = summary.get("routes") or {}
    ordered = sorted(routes.items(), key=lambda item: -(item[1].get("sent") or 0))
    return pd.DataFrame([{"route": name, **_figures(measured)} for name, measured in ordered])


def compared_table(before: Mapping[str, Any], after: Mapping[str, Any], names: tuple[str, str]) -> pd.DataFrame:
    """Return two runs' figures as rows, with their difference where both have one."""
    left, right = _numbers(before), _numbers(after)
    rows = []
    for name, form in _FORMS.items():
        one, other = left[name], right[name]
        change = NONE if one is None or other is None or not one else f"{other / one - 1:+.1%}"
        rows.append({"": name, names[0]: _shown(one, form), names[1]: _shown(other, form), "change": change})
    return pd.DataFrame(rows)


_FORMS = {"requests": ",.0f", "rate, requests/s": ",.2f", "p50, ms": ",.1f", "p95, ms": ",.1f", "p99, ms": ",.1f",
          "failed, %": ".3f", "unsent": ",.0f"}  # fmt: skip


def _numbers(summary: Mapping[str, Any]) -> dict[str, float | None]:
    response = summary.get("response_ms") or {}
    sent, failed = summary.get("sent"), summary.get("failed")
    return {
        "requests": sent, "rate, requests/s": summary.get("rps"), "p50, ms": response.get("p50"),
        "p95, ms": response.get("p95"), "p99, ms": response.get("p99"),
        "failed, %": failed / sent * 100 if sent and failed is not None else None, "unsent": summary.get("unsent"),
    }  # fmt: skip


def _shown(value: float | None, form: str) -> str:
    return NONE if value is None else format(value, form)


def _figures(measured: Mapping[str, Any]) -> dict[str, str]:
    response, sent = measured.get("response_ms") or {}, measured.get("sent") or 0
    return {
        "requests": f"{sent:,}",
        "failed": percent(measured["failed"] / sent) if sent and measured.get("failed") is not None else NONE,
        **{name: milliseconds(response.get(name)) for name in ("p50", "p95", "p99")},
    }
