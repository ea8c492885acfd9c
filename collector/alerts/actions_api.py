"""What people do about alerts, over HTTP: acknowledge, silence, end a silence, see deliveries and send one again.

The same writes as `tidegauge alerts ..`; the collector reads them at its next evaluation. They need the administrator's
token where tokens are asked for (collector/security.py), the delivery log a reader's.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import timedelta
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Query
from pydantic import BaseModel, ConfigDict, Field

from collector.alerts.outbox import Outbox
from collector.alerts.state import Silence
from collector.alerts.store import read_alerts, read_silences, write_acknowledgement, write_silence
from collector.clickhouse import Client
from tidegauge.clock import Clock

_Text = Annotated[str, Field(max_length=1000)]
_Name = Annotated[str, Field(min_length=1, max_length=512)]
_LONGEST_SECONDS = 366 * 86400


class AcknowledgementIn(BaseModel):
    """POST /v1/alerts/acknowledge. The episode that is under way is not repeated any more."""

    model_config = ConfigDict(extra="forbid")

    alert_id: _Name
    by: _Name
    note: _Text = ""


class SilenceIn(BaseModel):
    """POST /v1/silences. service and name: shell patterns; from now, for so many seconds of the clock in use."""

    model_config = ConfigDict(extra="forbid")

    service: _Name
    name: _Name = "*"
    for_seconds: int = Field(gt=0, le=_LONGEST_SECONDS)
    by: _Name
    reason: _Text = ""


def add_alert_actions(app: FastAPI, *, open_client: Callable[[], Client], clock: Clock, outbox: Outbox) -> None:
    """Add the routes. open_client raises StoreUnavailableError while the store is away."""

    @app.post("/v1/alerts/acknowledge")
    def acknowledge(body: AcknowledgementIn) -> dict[str, str]:
        client = open_client()
        alert = read_alerts(client).get(body.alert_id)
        if alert is None or alert.phase == "resolved":
            raise HTTPException(404, f"{body.alert_id}: expected an alert that is pending or firing")
        write_acknowledgement(client, alert, author=body.by, note=body.note, now=clock.now())
        return {"episode": alert.episode}

    @app.get("/v1/silences")
    def silences() -> dict[str, Any]:
        found = read_silences(open_client(), now=clock.now())
        return {"silences": [asdict(each) for each in found]}

    @app.post("/v1/silences")
    def silence(body: SilenceIn) -> dict[str, str]:
        now = clock.now()
        ends_at = now + timedelta(seconds=body.for_seconds)
        made = Silence(str(uuid.uuid4()), body.service, body.name, now, ends_at, body.by, body.reason)
        write_silence(open_client(), made, now=now)
        return {"silence_id": made.silence_id, "ends_at": ends_at.isoformat()}

    @app.delete("/v1/silences/{silence_id}")
    def unsilence(silence_id: str) -> dict[str, str]:
        client, now = open_client(), clock.now()
        known = {each.silence_id: each for each in read_silences(client, now=now)}
        if silence_id not in known:
            raise HTTPException(404, f"{silence_id}: expected a silence that has not ended")
        write_silence(client, replace(known[silence_id], ends_at=now), now=now)
        return {"silence_id": silence_id, "ends_at": now.isoformat()}

    @app.get("/v1/deliveries")
    def deliveries(limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> dict[str, Any]:
        return {"deliveries": [asdict(each) for each in outbox.deliveries(most=limit)], "disabled": outbox.disabled()}

    @app.post("/v1/deliveries/{message_id}/replay")
    def replay(message_id: str) -> dict[str, str]:
        if not outbox.replay(message_id, now=time.time()):
            raise HTTPException(404, f"{message_id}: expected a message of the outbox")
        return {"message_id": message_id}
