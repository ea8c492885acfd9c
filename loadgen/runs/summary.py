"""What a run says of itself: `load.json` and the summary in k6's words. Pure; who asks writes or prints it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from loadgen.generator import Health
from loadgen.results import Quantiles, Tally, Totals

SEND_LAG_P99_LIMIT_MS = 20.0
CPU_LIMIT = 0.8  # of one core


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What stays the same for a whole run. started_at_seconds: by the clock in use (epoch s)."""

    run_id: str
    service: str
    scenario: str
    target: str
    arrivals: str
    seed: int
    curve: str
    started_at_seconds: float


def iso(clock_seconds: float) -> str:
    """Return an instant as ISO 8601 in UTC with milliseconds."""
    return datetime.fromtimestamp(clock_seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def load_summary(facts: RunFacts, totals: Totals, health: Health, *, status: str, now: float) -> dict[str, Any]:
    """Return the content of load.json. now: by the clock in use. Counts are of settled seconds only."""
    peak = totals.peak_minute()
    return {
        **asdict(facts),
        "status": status,
        "started_at": iso(facts.started_at_seconds),
        "ended_at": iso(now),
        "seconds": totals.seconds,
        **totals.overall.summary(),
        "routes": {name: tally.summary() for name, tally in sorted(totals.routes.items())},
        "peak_minute": None if peak is None else {"at": iso(peak[0]), "rps": round(peak[1], 4)},
        "generator": asdict(health),
    }


def reasons_invalid(totals: Tally, *, cpu_share: float) -> list[str]:
    """Return why the figures may not be believed; empty when they may.

    cpu_share: the child's CPU seconds per real second. No data is no measurement; an arrival that was not sent, or sent
    late, or by a generator without breath, is the generator's doing and not the target's.
    """
    reasons = []
    if totals.intended == 0:
        reasons.append("no arrival was scheduled: nothing was measured")
    if totals.unsent:
        reasons.append(f"{totals.unsent} of {totals.intended} arrivals were never sent")
    lag_us = totals.send_lag.quantile_us(0.99)
    if lag_us is not None and lag_us / 1000 > SEND_LAG_P99_LIMIT_MS:
        reasons.append(f"send lag p99 was {lag_us / 1000:.1f} ms, above {SEND_LAG_P99_LIMIT_MS:g} ms")
    if cpu_share > CPU_LIMIT:
        reasons.append(f"the generator used {cpu_share:.0%} of a core, above {CPU_LIMIT:.0%}")
    return reasons


def k6_lines(tally: Tally, *, seconds: float) -> list[str]:
    """Return the lines of the summary. http_req_duration counts from the intended start."""
    rate = tally.failed / tally.sent if tally.sent else None
    lines = [
        ("http_req_duration", _line(tally.response.quantiles_ms()) + "  (from the intended start)"),
        ("http_req_service", _line(tally.service.quantiles_ms()) + "  (from when it was sent)"),
        ("http_req_waiting", _line(tally.first_byte.quantiles_ms()) + "  (to the first byte)"),
        ("send_lag", _line(tally.send_lag.quantiles_ms())),
        ("http_req_failed", "no data" if rate is None else f"{rate:.2%}  {tally.failed} of {tally.sent}"),
        ("http_reqs", f"{tally.sent}  {tally.sent / seconds:.2f}/s" if seconds > 0 else str(tally.sent)),
        ("dropped_iterations", f"{tally.unsent}  (unsent, of {tally.intended} intended)"),
    ]
    if tally.reasons:
        lines.append(("reasons", "  ".join(f"{name}={count}" for name, count in sorted(tally.reasons.items()))))
    return [f"{name + ' ':.<24} {text}" for name, text in lines]


def _line(quantiles: Quantiles) -> str:
    return "  ".join(f"{name}={'no data' if ms is None else f'{ms:.2f}ms'}" for name, ms in quantiles.items())
