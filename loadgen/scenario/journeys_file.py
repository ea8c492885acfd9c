"""Reads a journeys file (YAML) and makes it into plain JSON: a mix of single requests.

pydantic and YAML stay here, out of the child. A draw is one of: `choices` (with `weights`, or `zipf: s` for weights
1 / rank^s; a choice such as AAA-BBB is a record with `from` and `to`), `integers: [low, high]`,
`days_ahead: [low, high]`, or `demo_tokens` (the tokens that the reference app's seed gives its made-up users).
"""

from __future__ import annotations

import hashlib
import string
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

SHIPPED = Path(__file__).parents[1] / "journeys.yaml"
Scalar = str | int


class JourneysError(ValueError):
    """The journeys file is not as expected: says file, field, what was expected and what came."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DemoTokens(_Strict):
    """Tokens of users 1..users: `demo-<n>-<first 32 hex digits of sha256("<seed>:<n>")>`, public by purpose."""

    users: int = Field(ge=1, le=10_000)
    seed: str

    def tokens(self) -> list[str]:
        """Return one token per user."""
        digests = {n: hashlib.sha256(f"{self.seed}:{n}".encode()).hexdigest() for n in range(1, self.users + 1)}
        return [f"demo-{n}-{digest[:32]}" for n, digest in digests.items()]


class DrawSpec(_Strict):
    """One value that is drawn anew for each request."""

    choices: list[Scalar] = []
    weights: list[float] | None = None
    zipf: float | None = Field(default=None, ge=0)
    integers: tuple[int, int] | None = None
    days_ahead: tuple[int, int] | None = None
    demo_tokens: DemoTokens | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        kinds = [
            bool(self.choices),
            self.integers is not None,
            self.days_ahead is not None,
            self.demo_tokens is not None,
        ]
        if sum(kinds) != 1:
            raise ValueError("expected exactly one of choices, integers, days_ahead, demo_tokens")
        if self.weights is not None and (len(self.weights) != len(self.choices) or min(self.weights) <= 0):
            raise ValueError(f"expected {len(self.choices)} weights above 0, one per choice, got {self.weights}")
        low, high = self.integers or self.days_ahead or (0, 0)
        if low > high:
            raise ValueError(f"expected [low, high] with low <= high, got [{low}, {high}]")
        return self

    def to_plan(self) -> dict[str, Any]:
        """Return the draw as plain JSON."""
        choices = self.demo_tokens.tokens() if self.demo_tokens else self.choices
        weights = self.weights or [1 / rank ** (self.zipf or 0.0) for rank in range(1, len(choices) + 1)]
        low, high = self.integers or self.days_ahead or (0, 0)
        records = [_record(choice) for choice in choices]
        return {"choices": records, "weights": weights, "low": low, "high": high, "days": self.days_ahead is not None}


class RouteSpec(_Strict):
    """One kind of request."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    weight: float = Field(gt=0)
    get: str | None = None
    post: str | None = None
    headers: dict[str, str] = {}
    body: dict[str, Any] | None = Field(default=None, alias="json")
    expected: list[int] = []

    @model_validator(mode="after")
    def _one_method(self) -> Self:
        if (self.get is None) == (self.post is None) or not (self.get or self.post or "").startswith("/"):
            raise ValueError("expected one of get, post, with a path that starts with /")
        return self

    def to_plan(self, shared_headers: dict[str, str]) -> dict[str, Any]:
        """Return the route as plain JSON, with the names of the values its templates use."""
        headers = {**shared_headers, **self.headers}
        templates = [self.get or self.post or "", *headers.values(), *_strings(self.body)]
        used = {name.split("[")[0] for text in templates for _, name, _, _ in string.Formatter().parse(text) if name}
        return {
            "name": self.name, "weight": self.weight, "method": "GET" if self.get else "POST",
            "path": self.get or self.post, "headers": headers, "json": self.body, "expected": self.expected,
            "values": sorted(used - {"unique"}),
        }  # fmt: skip


class Journeys(_Strict):
    """A whole journeys file."""

    version: Literal[1]
    draws: dict[str, DrawSpec] = {}
    headers: dict[str, str] = {}
    routes: list[RouteSpec] = Field(min_length=1, max_length=255)

    def to_plan(self) -> dict[str, Any]:
        """Return the mix as plain JSON. Raises ValueError for a value that nobody draws."""
        routes = [route.to_plan(self.headers) for route in self.routes]
        for route in routes:
            if missing := set(route["values"]) - set(self.draws):
                raise ValueError(
                    f"routes.{route['name']}: expected a value of {sorted(self.draws)}, got {sorted(missing)}"
                )
        return {"draws": {name: draw.to_plan() for name, draw in self.draws.items()}, "routes": routes}


def _record(choice: Scalar) -> Scalar | dict[str, str]:
    """Return "LHR-JFK" as a record of from and to; anything else as it is."""
    parts = choice.split("-") if isinstance(choice, str) else []
    is_pair = len(parts) == 2 and all(len(part) == 3 and part.isupper() for part in parts)
    return {"from": parts[0], "to": parts[1]} if is_pair else choice


def _strings(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for part in value.values() for text in _strings(part)]
    if isinstance(value, list):
        return [text for part in value for text in _strings(part)]
    return [value] if isinstance(value, str) else []


def read_journeys(path: Path = SHIPPED) -> dict[str, Any]:
    """Return the file's mix as plain JSON. Raises JourneysError naming file and field."""
    try:
        return Journeys.model_validate(yaml.safe_load(path.read_text(encoding="utf-8"))).to_plan()
    except (ValidationError, ValueError, yaml.YAMLError) as error:
        raise JourneysError(f"{path}: {error}") from error


def single_path(path: str) -> dict[str, Any]:
    """Return a mix of one GET of one path: what a test of somebody else's service asks for."""
    return Journeys.model_validate({"version": 1, "routes": [{"name": "target", "weight": 1, "get": path}]}).to_plan()


def as_journeys(mix: dict[str, Any]) -> dict[str, Any]:
    """Return a mix of single requests as journeys of one step, for `iterations.iterations_from_plan`."""
    journeys = [
        {
            "name": route["name"], "weight": route["weight"], "values": route["values"],
            "steps": [{
                "route": index, "method": route["method"], "path": route["path"], "headers": route["headers"],
                "json": route["json"], "expected": route["expected"], "take": {}, "think": [0.0, 0.0], "checks": [],
            }],
        }
        for index, route in enumerate(mix["routes"])
    ]  # fmt: skip
    return {"draws": mix["draws"], "routes": [route["name"] for route in mix["routes"]], "journeys": journeys}
