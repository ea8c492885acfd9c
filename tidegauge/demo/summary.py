"""`summary.json`: the demo's outcome in numbers. Pure; times are of the demo's clock, ISO 8601 in UTC."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from tidegauge.demo.outcome import JudgedChange, Provisioning, least_lead


@dataclass(frozen=True, slots=True)
class ForecastPeak:
    """The peak that was forecast for the window, by the last forecast made before the rise."""

    origin: datetime
    model: str
    peak_at: datetime
    peak_rps: dict[str, float]


@dataclass(frozen=True, slots=True)
class Observed:
    """What the users saw. Latencies in milliseconds from the intended start, over all requests and over searches."""

    peak_at: datetime
    peak_rps: float
    requests: int
    failed: int
    unsent: int
    p95_ms: float | None
    p99_ms: float | None
    search_p95_ms: float | None


@dataclass(frozen=True, slots=True)
class EventCounts:
    """What became of the recorded requests."""

    generated: int
    acknowledged: int
    stored: int
    dropped: int
    duplicates: int


@dataclass(frozen=True, slots=True)
class SloOutcome:
    """One objective over the window; sli None = no valid events."""

    name: str
    target: float
    sli: float | None


def summarise(
    *,
    speed: float,
    window: tuple[datetime, datetime],
    history: tuple[str, int],
    events: EventCounts,
    forecast: ForecastPeak | None,
    observed: Observed,
    scaling: Sequence[JudgedChange],
    slos: Sequence[SloOutcome],
    measured: Provisioning,
    predictive: Provisioning,
    reactive_only: Provisioning,
) -> dict[str, Any]:
    """Return the document that `summary.json` holds."""
    lead = least_lead(scaling)
    return {
        "speed": speed,
        "window": {"from": iso(window[0]), "to": iso(window[1])},
        "history": {"source": history[0], "rows": history[1]},
        "events": asdict(events),
        "forecast": _plain(asdict(forecast)) if forecast is not None else None,
        "observed": _plain(asdict(observed)),
        "scaling": [_scaling_row(change) for change in scaling],
        "lead_seconds": None if lead is None else lead.total_seconds(),
        "slo": [asdict(slo) for slo in slos],
        "measured": asdict(measured),
        "simulated": {"predictive": asdict(predictive), "reactive_only": asdict(reactive_only)},
    }


def iso(moment: datetime) -> str:
    """Return the moment as ISO 8601 with Z, in whole seconds."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _scaling_row(judged: JudgedChange) -> dict[str, Any]:
    return {
        "at": iso(judged.change.at),
        "floor_before": judged.change.floor_before,
        "floor_after": judged.change.floor_after,
        "reason": judged.change.reason,
        "needed_at": None if judged.needed_at is None else iso(judged.needed_at),
        "ready_at": None if judged.ready_at is None else iso(judged.ready_at),
    }


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {key: iso(value) if isinstance(value, datetime) else value for key, value in row.items()}
