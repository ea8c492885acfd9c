"""The JSON that the API and the commands answer with: one shape for one thing. Instants are ISO 8601 in UTC with Z."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from forecaster.forecast.types import Forecast, NoForecast
from forecaster.orders import ALL, Order
from forecaster.scaling.types import Decision, HpaState
from forecaster.scores.drift import Drift
from forecaster.scores.score import Summary
from forecaster.store import StoredDecision
from forecaster.store.instants import text_of
from forecaster.store.outcomes import Outcome, Patch


def forecasts_json(
    series: str, step: timedelta, forecasts: Sequence[Forecast | NoForecast], *, unit: str = "requests/s"
) -> dict[str, Any]:
    """Return the answer to "what will demand be": one entry per origin, in the order asked."""
    return {
        "series": series,
        "unit": unit,
        "step_seconds": int(step.total_seconds()),
        "forecasts": [forecast_json(forecast) for forecast in forecasts],
    }


def forecast_json(forecast: Forecast | NoForecast) -> dict[str, Any]:
    """Return one forecast; one that could not be made has no model, no points, and a reason."""
    if isinstance(forecast, NoForecast):
        return {"origin": text_of(forecast.origin), "model": None, "reason": forecast.reason, "points": []}
    levels = [f"{level:g}" for level in forecast.quantiles]
    values = forecast.frame.drop(columns="ds").to_numpy(dtype=float).tolist()
    points = [
        {"ds": text_of(ds), "q": dict(zip(levels, row, strict=True))}
        for ds, row in zip(forecast.frame["ds"].dt.to_pydatetime(), values, strict=True)
    ]
    notes = list(forecast.notes)
    return {"origin": text_of(forecast.origin), "model": forecast.model, "notes": notes, "points": points}


def scores_json(service: str, summaries: Sequence[Summary], drift: Drift) -> dict[str, Any]:
    """Return how good stored forecasts were, by bucket of horizons; ratios are null where nobody can know them."""
    return {
        "service": service,
        "buckets": [
            {
                "bucket": summary.bucket,
                "origins": summary.origins,
                "points": summary.points,
                "skill": summary.skill,
                "quantile_loss": summary.quantile_loss,
                "relative_quantile_loss": summary.relative_quantile_loss,
                "relative_error": summary.relative_error,
                "coverage": {f"{level:g}": share for level, share in summary.coverage.items()},
            }
            for summary in summaries
        ],
        "drift": {"compared": drift.compared, "reasons": list(drift.reasons)},
    }


def decision_json(decision: Decision) -> dict[str, Any]:
    """Return a decision with its plan."""
    return {
        "at": text_of(decision.at),
        "service": decision.service,
        "mode": decision.mode,
        "outcome": decision.outcome,
        "floor_before": decision.floor_before,
        "floor_wanted": decision.floor_wanted,
        "floor_after": decision.floor_after,
        "reasons": list(decision.reasons),
        "needed_at": text_of(decision.needed_at) if decision.needed_at else None,
        "guardrails": list(decision.guardrails),
        "warnings": [plain_json(warning) for warning in decision.warnings],
        "plan": [
            {"starts_at": text_of(step.starts_at), "floor": step.floor, "reason": step.reason} for step in decision.plan
        ],
    }


def stored_decision_json(stored: StoredDecision, outcome: Outcome | None = None) -> dict[str, Any]:
    """Return a decision with what it rested on and what became of it; outcome: null until its time has come."""
    capacity = stored.capacity
    return {
        "id": stored.id,
        **decision_json(stored.decision),
        "applied": stored.applied,
        "error": stored.error,
        "forecast_origin": text_of(stored.forecast_origin) if stored.forecast_origin else None,
        "model": stored.model,
        "quantile": stored.quantile,
        "capacity_rps": [capacity.low_rps, capacity.high_rps] if capacity else None,
        "capacity_source": capacity.source if capacity else None,
        "capacity_id": capacity.id if capacity else None,
        "forecast_id": stored.forecast_id,
        "actor": stored.actor,
        "forced": stored.forced,
        "operator_floor": stored.operator_floor,
        "ready": stored.ready,
        "lead_seconds": stored.lead.total_seconds() if stored.lead is not None else None,
        "resource_version": stored.resource_version,
        "outcome_at_lead": plain_json(outcome) if outcome else None,
    }


def order_json(order: Order) -> dict[str, Any]:
    """Return an order."""
    value: dict[str, Any] = plain_json(order)
    return {**value, "service": None if order.scope == ALL else order.scope}


def patch_json(patch: Patch) -> dict[str, Any]:
    """Return an attempt to change a floor."""
    value: dict[str, Any] = plain_json(patch)
    return value


def hpa_json(hpa: HpaState | None) -> dict[str, Any] | None:
    """Return the autoscaler's state, None when it could not be read."""
    return dataclasses.asdict(hpa) if hpa else None


def plain_json(value: Any) -> Any:
    """Return any value of the decision's types as JSON: dataclasses as objects, instants as text, spans as seconds."""
    if isinstance(value, datetime):
        return text_of(value)
    if isinstance(value, timedelta):
        return value.total_seconds()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): plain_json(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_json(entry) for entry in value]
    return value
