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
