"""What a scenario file consists of, as pydantic models: the edge where YAML becomes our values, and its JSON Schema."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from loadgen.scenario.executors import EDGE_SECONDS, Rate, Users, ramp

UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
PART = r"(\d+(?:\.\d+)?)(ms|s|m|h|d)"


def seconds_of(value: Any) -> float:
    """Return the seconds of a duration such as 500ms, 90s or 1m30s. Raises ValueError."""
    if not isinstance(value, str) or re.fullmatch(f"({PART})+", value) is None:
        raise ValueError(f"expected a duration such as 500ms, 30s or 1m30s, got {value!r}")
    return sum(float(number) * UNITS[unit] for number, unit in re.findall(PART, value))


Span = Annotated[
    float, BeforeValidator(seconds_of), WithJsonSchema({"type": "string", "pattern": f"^({PART})+$"})
]  # fmt: skip
Rps = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=100_000)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$", max_length=64)]


class Strict(BaseModel):
    """No key but the known ones."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class CheckSpec(Strict):
    """What an answer has to be. All that is given has to hold."""

    status: int | list[int] | None = None
    body_contains: str | None = None
    path: str | None = Field(default=None, alias="json", description="a.0.b into the JSON answer: has to be there")
    equals: str | int | float | bool | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.status is None and self.body_contains is None and self.path is None:
            raise ValueError("expected at least one of status, body_contains, json")
        return self

    def to_plan(self, name: str) -> dict[str, Any]:
        """Return the check as plain JSON."""
        statuses = [self.status] if isinstance(self.status, int) else self.status
        return {
            "name": name, "statuses": statuses, "contains": self.body_contains, "path": self.path,
            "equals": self.equals, "compares": "equals" in self.model_fields_set,
        }  # fmt: skip


class StepSpec(Strict):
    """One request of a journey; `name` is the route that thresholds name. think: pause after the answer."""

    name: Name
    get: str | None = None
    post: str | None = None
    put: str | None = None
    delete: str | None = None
    headers: dict[str, str] = {}
    body: dict[str, Any] | None = Field(default=None, alias="json")
    expected: list[int] = Field(default=[], description="statuses beside 2xx and 3xx that are no failure")
    take: dict[Name, str] = Field(default={}, description="value: path into the JSON answer; * is any element")
    check: dict[str, CheckSpec] = {}
    think: Span | tuple[Span, Span] = 0.0

    @model_validator(mode="after")
    def _one_method(self) -> Self:
        found = [path for path in (self.get, self.post, self.put, self.delete) if path is not None]
        if len(found) != 1 or not found[0].startswith("/"):
            raise ValueError("expected exactly one of get, post, put, delete, with a path that starts with /")
        return self

    @property
    def method(self) -> str:
        """Return GET, POST, PUT or DELETE."""
        return next(name for name in ("get", "post", "put", "delete") if getattr(self, name) is not None).upper()


class JourneySpec(Strict):
    """What one user does: steps in order. weight: how often this journey is chosen among the others."""

    name: Name
    weight: float = Field(default=1.0, gt=0)
    steps: list[StepSpec] = Field(min_length=1)


class StageSpec(Strict):
    """A line to `target` users, or arrivals per timeUnit, over `duration`."""

    duration: Span
    target: Rps


class _Scenario(Strict):
    start_time: Span = Field(default=0.0, alias="startTime")
    journeys: list[Name] | None = Field(default=None, description="which of the file's; all when left out")


class ConstantVus(_Scenario):
    """So many users, all the time."""

    executor: Literal["constant-vus"]
    vus: Count
    duration: Span

    def to_executor(self) -> Users:
        """Return the curve of users."""
        return Users(((0.0, self.vus), (self.duration, self.vus)))


class RampingVus(_Scenario):
    """Users by stages."""

    executor: Literal["ramping-vus"]
    start_vus: Count = Field(default=1, alias="startVUs")
    stages: list[StageSpec] = Field(min_length=1)

    def to_executor(self) -> Users:
        """Return the curve of users."""
        return Users(ramp(self.start_vus, [(stage.duration, stage.target) for stage in self.stages]))


class _Arrivals(_Scenario):
    time_unit: Span = Field(default=1.0, alias="timeUnit")
    pre_allocated_vus: Count = Field(default=0, alias="preAllocatedVUs", description="for k6: users cost nothing here")
    max_vus: Count | None = Field(default=None, alias="maxVUs", description="served at once; the rest waits")
    arrivals: Literal["poisson", "uniform"] = "poisson"

    def _rate(self, points: tuple[tuple[float, float], ...]) -> Rate:
        return Rate(tuple((at, rate / self.time_unit) for at, rate in points), self.max_vus or 100_000, self.arrivals)


class ConstantArrivalRate(_Arrivals):
    """So many arrivals per timeUnit."""

    executor: Literal["constant-arrival-rate"]
    rate: Rps
    duration: Span

    def to_executor(self) -> Rate:
        """Return the curve of arrivals."""
        return self._rate(((0.0, self.rate), (self.duration, self.rate)))


class RampingArrivalRate(_Arrivals):
    """Arrivals per timeUnit by stages."""

    executor: Literal["ramping-arrival-rate"]
    start_rate: Rps = Field(default=0.0, alias="startRate")
    stages: list[StageSpec] = Field(min_length=1)

    def to_executor(self) -> Rate:
        """Return the curve of arrivals."""
        return self._rate(ramp(self.start_rate, [(stage.duration, stage.target) for stage in self.stages]))


class DemandSpec(Strict):
    """A service's recorded demand; from and to: ISO 8601 with an offset."""

    service: str
    since: str = Field(alias="from")
    until: str = Field(alias="to")
    step: Span = 60.0


class Replay(_Arrivals):
    """Follows a recorded series: a CSV of timestamp,rps beside the scenario, or a stored service's demand."""

    executor: Literal["replay"]
    curve: str | None = None
    demand: DemandSpec | None = None
    time_factor: float = Field(default=1.0, gt=0, alias="timeFactor", description="2: twice as fast")
    rate_factor: float = Field(default=1.0, gt=0, alias="rateFactor", description="2: twice as many")

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.curve is None) == (self.demand is None):
            raise ValueError("expected exactly one of curve, demand")
        return self

    def to_rate(self, at_seconds: list[float], rps: list[float]) -> Rate:
        """Return the curve of arrivals that follows a series of (any seconds, requests/s)."""
        points = [
            ((at - at_seconds[0]) / self.time_factor, value * self.rate_factor)
            for at, value in zip(at_seconds, rps, strict=True)
        ]
        return self._rate(tuple(points) if len(points) > 1 else ((0.0, points[0][1]), (EDGE_SECONDS, points[0][1])))


class UserClassSpec(Strict):
    """A Locust user class of one's own: a Python file beside the scenario, and the class in it."""

    file: str = Field(min_length=1)
    class_name: str = Field(alias="class", pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")


AnyScenario = Annotated[
    ConstantVus | RampingVus | ConstantArrivalRate | RampingArrivalRate | Replay, Field(discriminator="executor")
]


class ThresholdSpec(Strict):
    """A threshold with options."""

    threshold: str
    abort_on_fail: bool = Field(default=False, alias="abortOnFail")
    delay_abort_eval: Span = Field(default=0.0, alias="delayAbortEval")
    window: Span | None = None
    allow_no_data: bool = Field(default=False, alias="allowNoData")
