"""Alerts over HTTP: conditions posted by others, and the list. Evaluation and sending happen elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Any

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field

from collector.alerts.report import alert_documents
from collector.alerts.state import Condition, Severity
from collector.alerts.store import posted_id, read_acknowledged, read_alerts, read_silences, write_posted
from collector.clickhouse import Client
from tidegauge.clock import Clock

_Name = Annotated[str, Field(min_length=1, max_length=512)]
_LONGEST_SECONDS = 30 * 86400


class ConditionIn(BaseModel):
    """POST /v1/alerts. It is true until it is posted again, or until it expires (seconds of the clock in use)."""

    model_config = ConfigDict(extra="forbid")

    service: _Name
    name: _Name
    severity: Severity = "ticket"
    breached: bool = True
    summary: str = Field(min_length=1, max_length=1000)
    details: dict[str, Any] = Field(default_factory=dict, max_length=50)
    hold_seconds: int = Field(default=0, ge=0, le=_LONGEST_SECONDS)
    expires_in_seconds: int = Field(default=3600, gt=0, le=_LONGEST_SECONDS)

    def to_condition(self) -> Condition:
        """Return our value."""
        return Condition(
            posted_id(self.service, self.name), "posted", self.service, self.name, self.severity,
            "breached" if self.breached else "clear", self.summary, self.details, timedelta(seconds=self.hold_seconds),
        )  # fmt: skip


def add_alerts(app: FastAPI, *, open_client: Callable[[], Client], clock: Clock) -> None:
    """Add the routes. open_client raises StoreUnavailableError while the store is away."""

    @app.post("/v1/alerts")
    def post_condition(body: ConditionIn) -> dict[str, str]:
        condition, now = body.to_condition(), clock.now()
        expires_at = now + timedelta(seconds=body.expires_in_seconds)
        write_posted(open_client(), condition, posted_at=now, expires_at=expires_at)
        return {"alert_id": condition.alert_id}

    @app.get("/v1/alerts")
    def get_alerts() -> dict[str, Any]:
        client, now = open_client(), clock.now()
        alerts, silences = read_alerts(client), read_silences(client, now=now)
        return {"alerts": alert_documents(alerts.values(), silences, read_acknowledged(client), now=now)}
