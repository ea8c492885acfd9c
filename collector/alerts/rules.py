"""What is wrong at an instant: conditions from counts, ages and gaps. Pure; live evaluation and backtest share it.

Burn-rate pairs after the Google SRE Workbook, chapter 5: a pair says breached when both its windows burn faster than
its factor. Guard for low traffic: to begin, the long window needs a minimum of requests and of bad ones, and the lower
Wilson bound of its bad ratio must exceed the threshold; once begun, the plain ratios decide, so that it does not flap.
Wilson, E. B. (1927), JASA 22(158): the score interval.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime, timedelta

from collector.alerts.settings import MISSING_LONG, MISSING_SHORT, AlertPolicy
from collector.alerts.state import Condition, Severity, Verdict
from collector.catalog import Slo
from collector.slo.objectives import BurnPair, Counts, burn_rate

_Z = 1.6449  # one-sided 95 %
_ORDER: tuple[Verdict, ...] = ("breached", "unproven", "unknown", "clear")


def wilson_lower(bad: int, valid: int, *, z: float = _Z) -> float:
    """Return the lower end of the Wilson score interval of bad / valid (0..1); 0 without requests."""
    if not valid:
        return 0.0
    ratio, square = bad / valid, z * z
    spread = z * math.sqrt(ratio * (1 - ratio) / valid + square / (4 * valid * valid))
    return max(0.0, (ratio + square / (2 * valid) - spread) / (1 + square / valid))


def pair_verdict(pair: BurnPair, counts: Mapping[timedelta, Counts], target: float, policy: AlertPolicy) -> Verdict:
    """Judge one pair of windows; `counts` holds at least its two windows."""
    long, short = counts[pair.long], counts[pair.short]
    long_burn, short_burn = burn_rate(long, target), burn_rate(short, target)
    if long_burn is None or short_burn is None:
        return "unknown"
    if not (long_burn > pair.factor and short_burn > pair.factor):
        return "clear"
    bad = long.valid - long.good
    proven = (
        long.valid >= policy.least_requests
        and bad >= policy.least_bad
        and wilson_lower(bad, long.valid) > pair.factor * (1 - target)
    )
    return "breached" if proven else "unproven"


def burn_conditions(
    service: str, slo: Slo, counts: Mapping[timedelta, Counts], policy: AlertPolicy, *, stale: bool
) -> list[Condition]:
    """Return one condition for each severity: breached when one of its pairs is. stale: the data stopped coming."""
    conditions = []
    for severity, pairs in _by_severity(policy).items():
        verdicts = ["unknown" if stale else pair_verdict(pair, counts, slo.target, policy) for pair in pairs]
        worst = min(verdicts, key=_ORDER.index)
        rates = {
            _span(window): round(rate, 3)
            for pair in pairs
            for window in (pair.long, pair.short)
            if (rate := burn_rate(counts[window], slo.target)) is not None
        }
        conditions.append(
            Condition(
                alert_id=f"burn/{service}/{slo.name}/{severity}",
                kind="burn",
                service=service,
                name=slo.name,
                severity=severity,
                verdict=worst,
                summary=_burn_summary(service, slo, worst, rates),
                details={"burn_rates": rates, "target": slo.target},
            )
        )
    return conditions


def _by_severity(policy: AlertPolicy) -> dict[Severity, list[BurnPair]]:
    severities: dict[Severity, list[BurnPair]] = {}
    for severity, pair in policy.pairs:
        severities.setdefault(severity, []).append(pair)
    return severities


def _burn_summary(service: str, slo: Slo, verdict: Verdict, rates: Mapping[str, float]) -> str:
    burns = ", ".join(f"{window} x{rate:.1f}" for window, rate in rates.items()) or "no requests"
    if verdict == "clear":
        return f"{service}: {slo.name} no longer burns its error budget too fast ({burns})"
    return f"{service}: {slo.name} (target {slo.target:.4g}) burns its error budget too fast: {burns}"


def is_stale(newest: datetime | None, *, now: datetime, policy: AlertPolicy) -> bool | None:
    """Say whether a service's data stopped coming; None when it has none in the record."""
    return None if newest is None else now - newest > policy.missing_after


def missing_condition(
    service: str, newest: datetime | None, *, now: datetime, policy: AlertPolicy, excluded: bool = False
) -> Condition:
    """Return the condition that a service's data is missing. newest: end of the newest minute with requests.

    excluded: a marker takes the time out of SLOs, so that silence begins nothing.
    """
    stale = is_stale(newest, now=now, policy=policy)
    verdict: Verdict = "clear" if stale is False else "unknown" if stale is None or excluded else "breached"
    since = "no requests in the record" if newest is None else f"newest minute ended {newest.isoformat()}"
    return Condition(
        alert_id=f"missing-data/{service}",
        kind="missing-data",
        service=service,
        name="missing-data",
        severity="ticket",
        verdict=verdict,
        summary=f"{service}: {'no data' if verdict != 'clear' else 'data is coming'} ({since})",
    )


def missing_slo_condition(
    service: str, slo: Slo, counts: Mapping[timedelta, Counts], policy: AlertPolicy, *, stale: bool
) -> Condition:
    """Return the condition that one SLO got no valid requests while the rest of its service did.

    stale: nothing can be said, for all the service's data is missing or its time is excluded.
    """
    verdict: Verdict = "unknown"  # too little was there before to miss it, or all the service's data is missing
    if not stale and counts[MISSING_SHORT].valid:
        verdict = "clear"
    elif not stale and counts[MISSING_LONG].valid >= policy.least_requests:
        verdict = "breached"
    return Condition(
        alert_id=f"missing-data/{service}/{slo.name}",
        kind="missing-data",
        service=service,
        name=f"missing-data:{slo.name}",
        severity="ticket",
        verdict=verdict,
        summary=f"{service}: {slo.name} had {counts[MISSING_SHORT].valid} valid requests in 30 minutes",
    )


def spool_condition(oldest: timedelta | None, policy: AlertPolicy) -> Condition:
    """Return the condition on the age (real time) of the oldest batch not stored; None: nothing waits."""
    late = oldest is not None and oldest > policy.spool_age
    age = "nothing waits" if oldest is None else f"the oldest batch waits for {oldest.total_seconds():.0f} s"
    return Condition(
        alert_id="spool-age/collector",
        kind="spool-age",
        service="collector",
        name="spool-age",
        severity="page",
        verdict="breached" if late else "clear",
        summary=f"collector: events acknowledged and not stored: {age}",
    )


def lag_condition(service: str, replica: str, lag: timedelta | None, policy: AlertPolicy, *, fresh: bool) -> Condition:
    """Return the condition on a database replica's lag. lag None: it does not replicate; fresh: sampled lately."""
    late = lag is None or lag > policy.replica_lag
    said = "does not replicate" if lag is None else f"lags {lag.total_seconds():.1f} s behind its primary"
    return Condition(
        alert_id=f"replica-lag/{service}/{replica}",
        kind="replica-lag",
        service=service,
        name=f"replica-lag:{replica}",
        severity="ticket",
        verdict="unknown" if not fresh else "breached" if late else "clear",
        summary=f"{service}: database replica {replica} {said}",
    )


def silence_condition(last_evaluated: datetime | None, *, now: datetime, policy: AlertPolicy) -> Condition:
    """Return the condition that nothing was evaluated for long: told once the collector is back, then resolved."""
    gap = timedelta() if last_evaluated is None else now - last_evaluated
    silent = gap > policy.silence_after
    summary = f"collector: alerts were not evaluated for {gap.total_seconds():.0f} s" if silent else "collector is back"
    return Condition(
        alert_id="collector-silence/collector",
        kind="collector-silence",
        service="collector",
        name="collector-silence",
        severity="ticket",
        verdict="breached" if silent else "clear",
        summary=summary,
    )


def _span(window: timedelta) -> str:
    seconds = int(window.total_seconds())
    unit, size = next((unit, size) for unit, size in (("d", 86400), ("h", 3600), ("m", 60)) if seconds % size == 0)
    return f"{seconds // size}{unit}"
