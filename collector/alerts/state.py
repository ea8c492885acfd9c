"""An alert's life: pending, firing, resolved; and when somebody is to be told. Pure: `now` is an argument.

What is wrong is said by conditions (collector.alerts.rules, or posted by others); where alerts are kept and how they
are sent stands elsewhere. The backtest runs this same function over history.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any, Literal

Phase = Literal["pending", "firing", "resolved"]
Severity = Literal["page", "ticket", "info"]
# unproven: exceeded, but on too few requests to begin an alert with; it keeps up one that fires.
# unknown: no data, which neither begins nor ends anything.
Verdict = Literal["breached", "unproven", "clear", "unknown"]
Reason = Literal["firing", "repeat", "resolved"]


@dataclass(frozen=True, slots=True)
class Condition:
    """What one rule says at one instant. hold: how long it must be breached before the alert fires."""

    alert_id: str
    kind: str
    service: str
    name: str
    severity: Severity
    verdict: Verdict
    summary: str
    details: Mapping[str, Any] = field(default_factory=dict)
    hold: timedelta = timedelta()


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert. An episode is one life from pending to resolved; frozen: its data is missing at present."""

    alert_id: str
    kind: str
    service: str
    name: str
    severity: Severity
    phase: Phase
    started_at: datetime
    fired_at: datetime | None
    ended_at: datetime | None
    frozen: bool
    notified_at: datetime | None
    notifications: int
    summary: str
    details: Mapping[str, Any]

    @property
    def episode(self) -> str:
        """Identity of this life of the alert: acknowledgements are for one episode."""
        return f"{self.alert_id}@{int(self.started_at.timestamp())}"


@dataclass(frozen=True, slots=True)
class Silence:
    """Nobody is told of matching alerts in [starts_at, ends_at). service and name: shell patterns."""

    silence_id: str
    service: str
    name: str
    starts_at: datetime
    ends_at: datetime
    author: str
    reason: str

    def covers(self, alert: Alert, now: datetime) -> bool:
        """Say whether the alert is silenced now."""
        matches = fnmatchcase(alert.service, self.service) and fnmatchcase(alert.name, self.name)
        return matches and self.starts_at <= now < self.ends_at


@dataclass(frozen=True, slots=True)
class Notice:
    """Somebody is to be told of this alert as it stands."""

    alert: Alert
    reason: Reason


def advance(known: Alert | None, condition: Condition, *, now: datetime) -> Alert | None:
    """Return the alert after a condition was seen; None: there is (still) nothing."""
    if known is None or known.phase == "resolved":
        return _begun(condition, now) if condition.verdict == "breached" else known
    if condition.verdict == "unknown":
        return replace(known, frozen=True)
    if condition.verdict == "clear":
        return replace(known, phase="resolved", ended_at=now, frozen=False, summary=condition.summary)
    seen = replace(known, frozen=False, summary=condition.summary, details=condition.details)
    if seen.phase == "pending" and condition.verdict == "breached" and now - seen.started_at >= condition.hold:
        return replace(seen, phase="firing", fired_at=now)
    return seen


def _begun(condition: Condition, now: datetime) -> Alert:
    fires = condition.hold <= timedelta()
    return Alert(
        alert_id=condition.alert_id,
        kind=condition.kind,
        service=condition.service,
        name=condition.name,
        severity=condition.severity,
        phase="firing" if fires else "pending",
        started_at=now,
        fired_at=now if fires else None,
        ended_at=None,
        frozen=False,
        notified_at=None,
        notifications=0,
        summary=condition.summary,
        details=condition.details,
    )


def due_notice(
    alert: Alert, *, now: datetime, silenced: bool, acknowledged: bool, repeat: timedelta, newly_resolved: bool
) -> Notice | None:
    """Return what is to be told now, with the alert counted as told; None: nothing.

    A resolution is told to whom the firing was told, silenced or not: an incident opened elsewhere must be closed.
    """
    reason: Reason
    if alert.phase == "firing" and not silenced and not acknowledged:
        if alert.notified_at is None:
            reason = "firing"
        elif now - alert.notified_at >= repeat:
            reason = "repeat"
        else:
            return None
    elif newly_resolved and alert.notifications:
        reason = "resolved"
    else:
        return None
    return Notice(replace(alert, notified_at=now, notifications=alert.notifications + 1), reason)
