"""The alerts' state as the collector itself keeps it, as JSON: what it goes on from when the store is away. Pure."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from collector.alerts.state import Alert, Silence

_INSTANTS = ("started_at", "fired_at", "ended_at", "notified_at", "starts_at", "ends_at")


@dataclass(frozen=True, slots=True)
class LocalState:
    """What an evaluation left. unsaved: ids of the alerts that the store has not been told of as they are."""

    last_evaluated: datetime | None = None
    alerts: Mapping[str, Alert] = field(default_factory=dict)
    unsaved: Collection[str] = ()
    silences: Sequence[Silence] = ()
    acknowledged: Collection[str] = ()


def to_text(state: LocalState) -> str:
    """Return the state as JSON; instants are ISO 8601."""
    return json.dumps(
        {
            "version": 1,
            "last_evaluated": state.last_evaluated,
            "alerts": [{**asdict(alert), "details": dict(alert.details)} for alert in state.alerts.values()],
            "unsaved": sorted(state.unsaved),
            "silences": [asdict(silence) for silence in state.silences],
            "acknowledged": sorted(state.acknowledged),
        },
        default=datetime.isoformat,
        sort_keys=True,
    )


def from_text(text: str) -> LocalState:
    """Return the state of a JSON text. Raises ValueError where it is not one of ours."""
    try:
        document = json.loads(text)
        last = document["last_evaluated"]
        alerts = [Alert(**_with_instants(each)) for each in document["alerts"]]
        return LocalState(
            datetime.fromisoformat(last) if last else None,
            {alert.alert_id: alert for alert in alerts},
            set(document["unsaved"]),
            [Silence(**_with_instants(each)) for each in document["silences"]],
            set(document["acknowledged"]),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"expected the alerts' state of this version, got {text[:80]!r}") from error


def _with_instants(values: Mapping[str, Any]) -> dict[str, Any]:
    instants = {name: datetime.fromisoformat(values[name]) for name in _INSTANTS if values.get(name)}
    return {**values, **instants}
