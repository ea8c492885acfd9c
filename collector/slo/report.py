"""How SLOs stand, as plain values for JSON and for a terminal. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from collector.slo.objectives import ClassicStatus, SloStatus


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
        "route": slo.route,
        "region": slo.region,
        "threshold_seconds": _seconds(slo.threshold),
        "effective_threshold_seconds": _seconds(status.effective_threshold),
        "valid": status.counts.valid,
        "good": status.counts.good,
        "sli": status.sli,
        "budget_left": status.budget_left,
        "burn_rates": {str(int(window.total_seconds())): rate for window, rate in status.burn_rates.items()},
    }


def _seconds(span: timedelta | None) -> float | None:
    return None if span is None else span.total_seconds()


def slo_lines(document: dict[str, Any]) -> list[str]:
    """Return the document as lines for a terminal."""
    lines = [document["service"]]
    if not document["slos"]:
        lines.append("  no SLOs in tidegauge.yaml")
    for slo in document["slos"]:
        promise = f"{slo['target']:.4g} over {timedelta(seconds=slo['window_seconds']).days} days"
        if slo["effective_threshold_seconds"] is not None:
            promise += (
                f", within {slo['threshold_seconds']:g} s (measured at {slo['effective_threshold_seconds']:.3g} s,"
                " the bucket edge below)"
            )
        if slo["sli"] is None:
            lines.append(f"  {slo['name']}: no valid requests; promised {promise}")
            continue
        burns = ", ".join(
            f"{_span(int(seconds))} {rate:.2f}" for seconds, rate in slo["burn_rates"].items() if rate is not None
        )
        lines.append(
            f"  {slo['name']}: {slo['sli']:.5f} of {slo['valid']} requests; promised {promise};"
            f" budget left {slo['budget_left']:.1%}; burn rates {burns or 'none'}"
        )
    for route in document["classic_rule"]:
        verdict = f"exceeds {' and '.join(route['exceeded'])}" if route["exceeded"] else "within the classic rule"
        lines.append(
            f"  {route['route']}: mean {route['mean_response_seconds'] * 1000:.0f} ms, errors"
            f" {route['error_ratio']:.2%} of {route['requests']}: {verdict}"
        )
    return lines


def _span(seconds: int) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
