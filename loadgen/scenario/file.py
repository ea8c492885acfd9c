"""Reads a scenario file (YAML): what is sent, by whom, when, and what must hold. Errors say file, line and key."""

from __future__ import annotations

import string
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from loadgen.curve import CurveError, read_curve
from loadgen.scenario.executors import Executor
from loadgen.scenario.journeys_file import SHIPPED as SHIPPED_JOURNEYS
from loadgen.scenario.journeys_file import DrawSpec, as_journeys, read_journeys
from loadgen.scenario.parts import (
    AnyScenario,
    DemandSpec,
    JourneySpec,
    Replay,
    StepSpec,
    Strict,
    ThresholdSpec,
    UserClassSpec,
)
from loadgen.scenario.thresholds import Threshold, ThresholdError, parse_threshold, with_unsent
from loadgen.scenario.yaml_lines import Path as KeyPath
from loadgen.scenario.yaml_lines import ScenarioError, dotted, locate, read_yaml

SHIPPED = Path(__file__).parents[1] / "scenarios"
MOST_ROUTES = 255

ReadDemand = Callable[[DemandSpec], tuple[list[float], list[float]]]


class ScenarioFile(Strict):
    """A whole scenario file."""

    version: Literal[1]
    name: str = Field(min_length=1, max_length=200)
    service: str = Field(default="reference-app", min_length=1)
    target: str | None = Field(default=None, description="http://HOST:PORT; --target goes before it")
    seed: int = Field(default=0, ge=0)
    draws: dict[str, DrawSpec] = Field(default={})
    headers: dict[str, str] = Field(default={})
    journeys: Literal["reference-app"] | list[JourneySpec] | None = None
    users: UserClassSpec | None = Field(default=None, description="a Locust user class, in place of journeys")
    scenarios: dict[str, AnyScenario] = Field(min_length=1, max_length=32)
    thresholds: dict[str, list[str | ThresholdSpec]] = Field(default={})

    @model_validator(mode="after")
    def _someone_acts(self) -> Self:
        if (self.journeys is None) == (self.users is None):
            raise ValueError("expected exactly one of journeys, users")
        return self


@dataclass(frozen=True, slots=True)
class Part:
    """One scenario of the file: when it starts (seconds of the run), its curve, and which journeys it takes."""

    name: str
    start_seconds: float
    executor: Executor
    journeys: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Scenario:
    """A checked file. journeys: plain JSON for `iterations.iterations_from_plan`.

    users: {"file", "class"} of a Locust class, whose requests name the routes themselves; None: journeys.
    """

    name: str
    service: str
    target: str | None
    seed: int
    journeys: dict[str, Any]
    parts: tuple[Part, ...]
    thresholds: tuple[Threshold, ...]
    users: dict[str, str] | None = None

    @property
    def duration_seconds(self) -> float:
        """Return when the last of them is over."""
        return max(part.start_seconds + part.executor.duration_seconds for part in self.parts)


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of scenario files."""
    return ScenarioFile.model_json_schema(by_alias=True)


def find_scenario(name: str) -> Path:
    """Return the file of that path, else the shipped one of that name. Raises ScenarioError."""
    shipped = SHIPPED / f"{name}.yaml"
    if Path(name).is_file():
        return Path(name)
    if shipped.is_file():
        return shipped
    known = ", ".join(sorted(path.stem for path in SHIPPED.glob("*.yaml")))
    raise ScenarioError(f"{name}: expected a scenario file, or one of {known}")


def read_scenario(path: Path, *, read_demand: ReadDemand | None = None) -> Scenario:
    """Return the checked scenario; read_demand gives (epoch seconds, requests/s). Raises ScenarioError."""
    return parse_scenario(path.read_text(encoding="utf-8"), name=str(path), folder=path.parent, read_demand=read_demand)


def parse_scenario(
    text: str, *, name: str, folder: Path = Path(), read_demand: ReadDemand | None = None
) -> Scenario:  # fmt: skip
    """Return the checked scenario of a YAML text; `name` is the file that errors name."""
    value, lines = read_yaml(text, name=name)
    refuse = _Refusal(name, lines)
    try:
        file = ScenarioFile.model_validate(value)
    except ValidationError as error:
        found = error.errors()[0]
        raise refuse.at(found["loc"], _in_words(found["type"], found["msg"], found["input"])) from error
    journeys = _journeys_plan(file, refuse)
    users = None if file.users is None else _user_class(file.users, refuse, folder)
    return Scenario(
        file.name, file.service, file.target, file.seed, journeys,
        tuple(_part(key, spec, journeys, refuse, folder, read_demand) for key, spec in file.scenarios.items()),
        with_unsent(_thresholds(file, None if users else journeys["routes"], refuse)), users,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Refusal:
    file: str
    lines: dict[KeyPath, int]

    def at(self, location: tuple[str | int, ...], message: str) -> ScenarioError:
        path, line = locate(location, self.lines)
        return ScenarioError(f"{self.file}:{line}: {dotted(path)}: {message}")


def _in_words(kind: str, message: str, got: Any) -> str:
    if kind == "extra_forbidden":
        return "expected a known key, got an unknown one"
    if kind == "missing":
        return "expected this key, got none"
    words = message.removeprefix("Value error, ")
    if words.startswith("expected"):
        return words
    return f"expected: {words}, got {got!r}" if not isinstance(got, dict | list) else f"expected: {words}"


def _thresholds(file: ScenarioFile, routes: list[str] | None, refuse: _Refusal) -> list[Threshold]:
    found = []
    for metric, specs in file.thresholds.items():
        for index, written in enumerate(specs):
            where = ("thresholds", metric, index)
            spec = ThresholdSpec(threshold=written) if isinstance(written, str) else written
            if spec.window is not None and (spec.window < 1 or spec.window != int(spec.window)):
                raise refuse.at((*where, "window"), f"expected whole seconds, 1 or more, got {spec.window:g} s")
            try:
                threshold = parse_threshold(
                    metric, spec.threshold,
                    abort_on_fail=spec.abort_on_fail, delay_abort_seconds=spec.delay_abort_eval,
                    window_seconds=None if spec.window is None else int(spec.window),
                    allow_no_data=spec.allow_no_data,
                )  # fmt: skip
            except ThresholdError as error:
                raise refuse.at(where, str(error)) from error
            if threshold.route is not None and routes is not None and threshold.route not in routes:
                raise refuse.at(where, f"expected a route of {', '.join(routes)}, got {threshold.route!r}")
            found.append(threshold)
    return found


def _part(
    key: str, spec: AnyScenario, journeys: dict[str, Any], refuse: _Refusal, folder: Path,
    read_demand: ReadDemand | None,
) -> Part:  # fmt: skip
    names = [journey["name"] for journey in journeys["journeys"]]
    wanted = names if spec.journeys is None else spec.journeys
    if (names and not wanted) or (unknown := [name for name in wanted if name not in names]):
        came = "none" if not wanted else ", ".join(unknown)
        raise refuse.at(("scenarios", key, "journeys"), f"expected journeys of {', '.join(names)}; got {came}")
    if isinstance(spec, Replay):
        executor: Executor = spec.to_rate(*_series(key, spec, refuse, folder, read_demand))
    else:
        executor = spec.to_executor()
    if executor.duration_seconds <= 0:
        raise refuse.at(("scenarios", key), "expected a duration above 0")
    return Part(key, spec.start_time, executor, tuple(names.index(name) for name in wanted))


def _series(
    key: str, spec: Replay, refuse: _Refusal, folder: Path, read_demand: ReadDemand | None
) -> tuple[list[float], list[float]]:
    if spec.curve is not None:
        try:
            curve = read_curve(folder / spec.curve)
        except (CurveError, OSError) as error:
            raise refuse.at(("scenarios", key, "curve"), f"expected a curve file: {error}") from error
        return curve.at_seconds.tolist(), curve.rps.tolist()
    if read_demand is None or spec.demand is None:
        raise refuse.at(("scenarios", key, "demand"), "expected a collector (TIDEGAUGE_COLLECTOR_URL), got none")
    try:
        at_seconds, rps = read_demand(spec.demand)
    except ValueError as error:
        raise refuse.at(("scenarios", key, "demand"), str(error)) from error
    if len(at_seconds) < 2:
        raise refuse.at(("scenarios", key, "demand"), f"expected two or more steps of demand, got {len(at_seconds)}")
    return at_seconds, rps


def _journeys_plan(file: ScenarioFile, refuse: _Refusal) -> dict[str, Any]:
    """Return the journeys as plain JSON: {draws, routes: [name..], journeys: [{name, weight, values, steps}]}."""
    if file.journeys == "reference-app":
        return as_journeys(read_journeys(SHIPPED_JOURNEYS))
    if file.journeys is None:
        return {"draws": {}, "routes": ["arrival"], "journeys": []}
    routes: list[str] = []
    journeys = []
    for index, journey in enumerate(file.journeys):
        known, used = {*file.draws, "unique"}, set[str]()
        steps = []
        for number, step in enumerate(journey.steps):
            needed = _names_in(step, file.headers)
            if missing := needed - known:
                where = ("journeys", index, "steps", number)
                raise refuse.at(where, f"expected values of {sorted(known)}, got {sorted(missing)}")
            used |= needed & set(file.draws)
            known |= set(step.take)
            if step.name not in routes:
                routes.append(step.name)
            steps.append(_step_plan(step, file.headers, routes.index(step.name)))
        journeys.append({"name": journey.name, "weight": journey.weight, "values": sorted(used), "steps": steps})
    if not journeys or len(routes) > MOST_ROUTES:
        raise refuse.at(("journeys",), f"expected 1 to {MOST_ROUTES} routes, got {len(routes)}")
    return {"draws": {name: d.to_plan() for name, d in file.draws.items()}, "routes": routes, "journeys": journeys}


def _user_class(spec: UserClassSpec, refuse: _Refusal, folder: Path) -> dict[str, str]:
    path = (folder / spec.file).resolve()
    if not path.is_file():
        raise refuse.at(("users", "file"), f"expected a Python file, got {path}")
    return {"file": str(path), "class": spec.class_name}


def _step_plan(step: StepSpec, shared_headers: dict[str, str], route: int) -> dict[str, Any]:
    think = step.think if isinstance(step.think, tuple) else (step.think, step.think)
    return {
        "route": route, "method": step.method, "path": step.get or step.post or step.put or step.delete,
        "headers": {**shared_headers, **step.headers}, "json": step.body, "expected": step.expected,
        "take": step.take, "think": list(think),
        "checks": [check.to_plan(name) for name, check in step.check.items()],
    }  # fmt: skip


def _names_in(step: StepSpec, headers: dict[str, str]) -> set[str]:
    path = step.get or step.post or step.put or step.delete or ""
    templates = [path, *headers.values(), *step.headers.values(), *_strings(step.body)]
    return {name.split("[")[0] for text in templates for _, name, _, _ in string.Formatter().parse(text) if name}


def _strings(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for part in value.values() for text in _strings(part)]
    if isinstance(value, list):
        return [text for part in value for text in _strings(part)]
    return [value] if isinstance(value, str) else []
