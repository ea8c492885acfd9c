"""Alerts, silences and deliveries as rows to be read, pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from collector.alerts.history import FiredAlert
from collector.alerts.state import Silence
from dashboard.words import NONE, clock_time, roughly

_SHAPES = {"firing": "▲ firing", "pending": "◆ pending", "resolved": "● resolved"}
_SENT = {"delivered": "● delivered", "waiting": "◆ waiting", "failed": "▲ failed"}


def alert_table(found: Sequence[Mapping[str, Any]], *, now: datetime, zone: str | None = None) -> pd.DataFrame:
    """Return one row per alert, in their order."""
    return pd.DataFrame([_alert(one, now, zone) for one in found])


def _alert(one: Mapping[str, Any], now: datetime, zone: str | None) -> dict[str, str]:
    since = datetime.fromisoformat(one["fired_at"] or one["started_at"])
    ended = datetime.fromisoformat(one["ended_at"]) if one["ended_at"] else None
    notes = [
        "silenced" if one["silenced"] else "",
        f"acknowledged by {one['acknowledged_by']}" if one["acknowledged_by"] else "",
        "frozen: its data is missing" if one["frozen"] else "",
    ]
    return {
        "state": _SHAPES.get(one["phase"], one["phase"]),
        "severity": one["severity"],
        "service": one["service"],
        "alert": one["name"],
        "since": clock_time(since, zone),
        "for": roughly((ended or now) - since),
        "told": f"{one['notifications']} ×",
        "notes": ", ".join(note for note in notes if note) or NONE,
        "what": one["summary"],
    }


def fired_table(found: Sequence[FiredAlert], zone: str | None = None) -> pd.DataFrame:
    """Return one row per time an alert fired, newest first."""
    return pd.DataFrame(
        [
            {"fired": clock_time(one.fired_at, zone), "severity": one.severity, "alert": one.name, "what": one.summary}
            for one in found
        ]
    )


def silence_table(found: Sequence[Silence], *, now: datetime, zone: str | None = None) -> pd.DataFrame:
    """Return one row per silence that has not ended."""
    return pd.DataFrame(
        [
            {
                "service": one.service,
                "alert": one.name,
                "until": clock_time(one.ends_at, zone),
                "ends in": roughly(max(one.ends_at - now, one.ends_at - one.ends_at)),
                "by": one.author,
                "why": one.reason or NONE,
            }
            for one in found
        ]
    )


def delivery_table(found: Sequence[Mapping[str, Any]], zone: str | None = None) -> pd.DataFrame:
    """Return one row per message, newest first. Times of deliveries are real ones, whatever the clock."""
    return pd.DataFrame(
        [
            {
                "state": _SENT.get(one["state"], one["state"]),
                "receiver": one["receiver"],
                "made": clock_time(datetime.fromtimestamp(one["created_at"], UTC), zone),
                "attempts": one["attempts"],
                "next": NONE
                if one["state"] != "waiting"
                else clock_time(datetime.fromtimestamp(one["next_at"], UTC), zone),
                "answer": _answer(one),
                "message": one["message_id"],
            }
            for one in found
        ]
    )


def message_name(one: Mapping[str, Any], zone: str | None = None) -> str:
    """Return a message as a list to choose from names it."""
    made = clock_time(datetime.fromtimestamp(one["created_at"], UTC), zone)
    return f"{one['receiver']}, {made}, {one['state']}"


def _answer(one: Mapping[str, Any]) -> str:
    if one["last_detail"] is None and one["last_status"] is None:
        return "not tried yet"
    return f"{one['last_status'] or 'no answer'} {one['last_detail'] or ''}".strip()
