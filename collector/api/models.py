"""The bodies of the collector's API as pydantic models: the edge where JSON becomes our values."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from collector.record.store import Capacity, LoadRun, Marker

Name = Annotated[str, Field(min_length=1, max_length=512)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
UInt32 = Annotated[int, Field(ge=0, le=2**32 - 1)]
Micros = Annotated[int, Field(ge=0, le=2**53)]
BucketCounts = dict[Annotated[int, Field(ge=0, le=65535)], Annotated[int, Field(ge=0)]]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class MarkerIn(_Body):
    """POST /v1/markers. Instants are ISO 8601 with zone, or epoch seconds."""

    service: Name
    kind: Name
    starts_at: AwareDatetime
    ends_at: AwareDatetime
    text: str = Field(max_length=2000)
    masks_history: bool = False
    excludes_slo: bool = False

    @model_validator(mode="after")
    def _ends_after_start(self) -> MarkerIn:
        if self.ends_at < self.starts_at:
            raise ValueError(f"expected ends_at at or after starts_at, got {self.ends_at} before {self.starts_at}")
        return self

    def to_marker(self) -> Marker:
        """Return our value."""
        return Marker(
            self.service, self.kind, self.starts_at, self.ends_at, self.text, self.masks_history, self.excludes_slo
        )


class LetterIn(_Body):
    """POST /v1/samples/retry: a dead letter's file name."""

    name: Name


class CapacityIn(_Body):
    """POST /v1/capacities. low_rps and high_rps: requests per real second that one replica carries within its SLO."""

    service: Name
    version: str = ""
    source: Name
    low_rps: Rate
    high_rps: Rate
    details: dict[str, Any] = Field(default_factory=dict)
    measured_at: AwareDatetime | None = None

    @model_validator(mode="after")
    def _is_an_interval(self) -> CapacityIn:
        if self.low_rps > self.high_rps:
            raise ValueError(f"expected low_rps <= high_rps, got {self.low_rps} > {self.high_rps}")
        return self

    def to_capacity(self, *, now: datetime) -> Capacity:
        """Return our value, measured `now` when the body does not say when."""
        return Capacity(
            service=self.service,
            measured_at=self.measured_at or now,
            version=self.version,
            source=self.source,
            low_rps=self.low_rps,
            high_rps=self.high_rps,
            details=self.details,
        )


class SecondsIn(_Body):
    """The new seconds of a load run, as columns of one length. second: epoch seconds. users: null where not counted."""

    second: list[UInt32] = Field(default_factory=list, max_length=100_000)
    intended: list[UInt32] = Field(default_factory=list)
    sent: list[UInt32] = Field(default_factory=list)
    done: list[UInt32] = Field(default_factory=list)
    failed: list[UInt32] = Field(default_factory=list)
    unsent: list[UInt32] = Field(default_factory=list)
    send_lag_us_max: list[UInt32] = Field(default_factory=list)
    response_histogram: list[BucketCounts] = Field(default_factory=list)
    service_histogram: list[BucketCounts] = Field(default_factory=list)
    users: list[UInt32 | None] = Field(default_factory=list)

    @model_validator(mode="after")
    def _have_one_length(self) -> SecondsIn:
        if not self.users:  # may be left out
            self.users = [None] * len(self.second)
        _check_one_length(self.to_columns())
        return self

    def to_columns(self) -> dict[str, list[Any]]:
        """Return the columns by name."""
        return {name: getattr(self, name) for name in type(self).model_fields}


class RequestsIn(_Body):
    """Requests of a load run, as columns of one length; null: it never came to that."""

    intended_us: list[Micros] = Field(default_factory=list, max_length=100_000)
    sent_us: list[Micros | None] = Field(default_factory=list)
    first_byte_us: list[Micros | None] = Field(default_factory=list)
    done_us: list[Micros | None] = Field(default_factory=list)
    status: list[Annotated[int, Field(ge=100, le=599)] | None] = Field(default_factory=list)
    name: list[Name] = Field(default_factory=list)
    error: list[Name | None] = Field(default_factory=list)

    @model_validator(mode="after")
    def _have_one_length(self) -> RequestsIn:
        _check_one_length(self.to_columns())
        return self

    def to_columns(self) -> dict[str, list[Any]]:
        """Return the columns by name."""
        return {name: getattr(self, name) for name in type(self).model_fields}


class LoadRunIn(_Body):
    """POST /v1/load-runs: what is known of a run now, and its new seconds. The same batch_id is stored once."""

    run_id: Name
    service: Name
    scenario: str = ""
    target: str = ""
    started_at: AwareDatetime
    ended_at: AwareDatetime | None = None
    status: Name
    summary: dict[str, Any] = Field(default_factory=dict)
    seconds: SecondsIn = Field(default_factory=SecondsIn)
    requests: RequestsIn = Field(default_factory=RequestsIn)
    batch_id: Name | None = None

    def identity(self) -> str:
        """Return the batch's id; without one, a hash of what it says."""
        return self.batch_id or hashlib.sha256(self.model_dump_json().encode()).hexdigest()

    def to_load_run(self) -> LoadRun:
        """Return our value; a run under way ends at its start."""
        return LoadRun(
            run_id=self.run_id,
            service=self.service,
            scenario=self.scenario,
            target=self.target,
            started_at=self.started_at,
            ended_at=self.ended_at or self.started_at,
            status=self.status,
            summary=self.summary,
        )


def _check_one_length(columns: Mapping[str, Sequence[Any]]) -> None:
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) != 1:
        raise ValueError(f"expected columns of one length, got {lengths}")


def instant_of(text: str) -> datetime:
    """Return an aware instant from ISO 8601 (without zone: UTC) or epoch seconds. Raises ValueError."""
    try:
        return datetime.fromtimestamp(float(text), UTC)
    except (ValueError, OverflowError, OSError):
        pass
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"expected epoch seconds or an ISO 8601 instant, got {text[:80]!r}") from None
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)
