"""Alerts as plain values for JSON and for a terminal. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from collector.alerts.state import Alert, Silence

_PHASES = ("firing", "pending", "resolved")


def alert_documents(
    alerts: Iterable[Alert], silences: Sequence[Silence], acknowledged: Mapping[str, str], *, now: datetime
) -> list[dict[str, Any]]:
    """Return alerts as JSON values: firing first, then pending, then resolved, the youngest first in each."""
    ordered = sorted(alerts, key=lambda alert: (_PHASES.index(alert.phase), -alert.started_at.timestamp()))
    return [
        {
            "alert_id": alert.alert_id,
            "kind": alert.kind,
            "service": alert.service,
            "name": alert.name,
            "severity": alert.severity,
            "phase": alert.phase,
            "started_at": alert.started_at.isoformat(),
            "fired_at": _text(alert.fired_at),
            "ended_at": _text(alert.ended_at),
            "frozen": alert.frozen,
            "notified_at": _text(alert.notified_at),
            "notifications": alert.notifications,
            "acknowledged_by": acknowledged.get(alert.episode),
            "silenced": any(silence.covers(alert, now) for silence in silences),
            "summary": alert.summary,
            "details": dict(alert.details),
        }
        for alert in ordered
    ]


def _text(instant: datetime | None) -> str | None:
    return None if instant is None else instant.isoformat()


def alert_lines(documents: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the documents as lines for a terminal."""
    if not documents:
        return ["no alerts"]
    return [_line(document) for document in documents]


def _line(document: Mapping[str, Any]) -> str:
    notes = [
        "silenced" if document["silenced"] else "",
        f"acknowledged by {document['acknowledged_by']}" if document["acknowledged_by"] else "",
        "frozen: its data is missing" if document["frozen"] else "",
    ]
    noted = f" [{'; '.join(note for note in notes if note)}]" if any(notes) else ""
    since = document["ended_at"] or document["fired_at"] or document["started_at"]
    return (
        f"{document['phase']} ({document['severity']}) since {since}: {document['alert_id']}{noted}\n"
        f"  {document['summary']}"
    )
