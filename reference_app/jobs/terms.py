"""What the queues are: who may do how much at once, how often a job is tried, and what is kept of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any, Literal

QueueName = Literal["email", "payments", "analytics"]
QUEUES: tuple[QueueName, ...] = ("email", "payments", "analytics")
EVENTS = "events"  # not a queue: the relay publishes these itself
DEFAULT_CONCURRENCY: Mapping[str, int] = MappingProxyType({"email": 10, "payments": 5, "analytics": 2})

# Within a queue the smaller number is done first.
URGENT, ORDINARY, WHENEVER = 1, 5, 10


@dataclass(frozen=True, slots=True)
class JobTerms:
    """How jobs are run. `concurrency`: jobs of a queue that one worker runs at once."""

    concurrency: Mapping[str, int] = field(default_factory=lambda: DEFAULT_CONCURRENCY)
    attempts: int = 3
    backoff_seconds: float = 2.0  # doubled after each further failure
    keep_done: int = 100
    keep_failed: int = 50
    lock_seconds: float = 10.0  # a job whose worker died is run again after at most twice this
    lost_seconds: float = 30.0  # a job that Redis does not know any more is enqueued again after this


@dataclass(frozen=True, slots=True)
class Task:
    """One row of the outbox: work for a queue, or an event to publish. `payload` is JSON."""

    id: int
    queue: str
    name: str
    payload: Mapping[str, Any]
    priority: int
    dedupe_key: str
    round: int
    created_at: datetime

    @property
    def job_id(self) -> str:
        """Its name in Redis: enqueued twice, it is there once. A job that had failed and is ordered anew is another."""
        return f"outbox-{self.id}-{self.round}"
