"""How SLOs stand, as plain values for JSON and for a terminal. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from collector.slo.objectives import ClassicStatus, Measured, SloStatus


def slo_document(service: str, statuses: Sequence[SloStatus], classic: Sequence[ClassicStatus]) -> dict[str, Any]:
    """Return the JSON of `slo status` and GET /v1/slo; ratios 0..1, null where there were no valid requests."""
    return {
        "service": service,
        "slos": [_slo(status) for status in statuses],
        "classic_rule": [
            {
                "route": status.route,
                "requests": status.requests,
                "mean_response_seconds": status.mean_response.total_seconds(),
                "error_ratio": status.error_ratio,
                "exceeded": list(status.exceeded),
                "statuses": [
                    {
                        "status": each.status,
                        "requests": each.requests,
                        "mean_response_seconds": each.mean_response.total_seconds(),
                    }
                    for each in status.statuses
                ],
            }
            for status in classic
        ],
    }


def _slo(status: SloStatus) -> dict[str, Any]:
    slo = status.slo
    return {
        "name": slo.name,
        "kind": slo.kind,
        "target": slo.target,
        "window_seconds": slo.window.total_seconds(),
        "calendar": None
        if slo.calendar is None
        else {"period": slo.calendar.period, "timezone": slo.calendar.timezone},
        "route": slo.route,
        "region": slo.region,
        "version": slo.version,
        "threshold_seconds": _seconds(slo.threshold),
        "effective_threshold_seconds": _seconds(status.effective_threshold),
        "valid": status.counts.valid,
        "good": status.counts.good,
        "sli": status.sli,
        "budget_left": status.budget_left,
        "burn_rates": {str(int(window.total_seconds())): rate for window, rate in status.burn_rates.items()},
        "exhaustion": {"state": status.exhaustion.state, "after_seconds": _seconds(status.exhaustion.after)},
        **_measured(status.measured),
    }


def _measured(measured: Measured | None) -> dict[str, Any]:
    if measured is None:
        return {}
    span = measured.span
    return {
        "window_from": _instant(span.start),
        "window_to": _instant(span.end),
        "window_ends": _instant(span.whole_end),
        "budget_is_estimated": span.elapsed_share < 1,
        "coverage": measured.coverage,
        "excluded_seconds": measured.excluded.total_seconds(),
        "threshold_exact_since": measured.exact_since.isoformat() if measured.exact_since else None,
    }


def _instant(epoch_seconds: int) -> str:
    return datetime.fromtimestamp(epoch_seconds, UTC).isoformat()


def _seconds(span: timedelta | None) -> float | None:
    return None if span is None else span.total_seconds()


def slo_lines(document: dict[str, Any]) -> list[str]:
    """Return the document as lines for a terminal."""
    lines = [document["service"]]
    if not document["slos"]:
        lines.append("  no SLOs in tidegauge.yaml")
    for slo in document["slos"]:
        lines += _slo_lines(slo)
    for route in document["classic_rule"]:
        verdict = f"exceeds {' and '.join(route['exceeded'])}" if route["exceeded"] else "within the classic rule"
        lines.append(
            f"  {route['route']}: mean {route['mean_response_seconds'] * 1000:.0f} ms, errors"
            f" {route['error_ratio']:.2%} of {route['requests']}: {verdict}"
        )
        lines += [
            f"    status {each['status']}: mean {each['mean_response_seconds'] * 1000:.0f} ms of {each['requests']}"
            for each in route["statuses"]
        ]
    return lines


def _slo_lines(slo: dict[str, Any]) -> list[str]:
    promise = f"{slo['target']:.4g} over {_window(slo)}"
    if slo["threshold_seconds"] is not None:
        promise += f", within {slo['threshold_seconds']:g} s{_exactness(slo)}"
    coverage = "" if slo.get("coverage") is None else f"    coverage {slo['coverage']:.1%}"
    excluded = f", {_span(int(slo['excluded_seconds']))} excluded" if slo.get("excluded_seconds") else ""
    if slo["sli"] is None:
        return [f"  {slo['name']}: no valid requests; promised {promise}", *([coverage + excluded] if coverage else [])]
    burns = ", ".join(
        f"{_span(int(seconds))} {rate:.2f}" for seconds, rate in slo["burn_rates"].items() if rate is not None
    )
    estimated = " (of the whole period, its rest taken to be as busy)" if slo.get("budget_is_estimated") else ""
    return [
        f"  {slo['name']}: {slo['sli']:.5f} of {slo['valid']} requests; promised {promise};"
        f" budget left {slo['budget_left']:.1%}{estimated}; burn rates {burns or 'none'}",
        f"{coverage or '    coverage not known'}{excluded}; {_exhausted(slo['exhaustion'])}",
    ]


def _window(slo: dict[str, Any]) -> str:
    if slo["calendar"] is not None:
        return f"the {slo['calendar']['period']} in {slo['calendar']['timezone']}"
    return _span(int(slo["window_seconds"]))


def _exactness(slo: dict[str, Any]) -> str:
    edge = f"{slo['effective_threshold_seconds']:.3g} s, the bucket edge below"
    if "threshold_exact_since" not in slo:
        return f" (measured at {edge})"
    if slo["threshold_exact_since"] is None:
        return " (exact)"
    if slo["threshold_exact_since"] <= slo["window_from"]:
        return " (exact, from the events themselves)"
    return f" (exact since {slo['threshold_exact_since']}, before that measured at {edge})"


def _exhausted(exhaustion: dict[str, Any]) -> str:
    if exhaustion["state"] == "burning":
        return f"at the present burn the budget is spent in {timedelta(seconds=round(exhaustion['after_seconds']))}"
    words = {
        "spent": "the budget is spent",
        "lasts": "at the present burn the budget lasts",
        "unknown": "no requests in the last hour to say when the budget is spent",
    }
    return words[str(exhaustion["state"])]


def _span(seconds: int) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
