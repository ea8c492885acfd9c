"""What each arrival asks for: a mix of weighted routes with drawn values. Pure, standard library only.

The request of an arrival depends on (seed, its number, the date) alone, so that both the child, which sends it, and its
parent, which must say which route an arrival was that a dead child took with it, come to the same answer.
The YAML file and its checks are `journeys_file`'s; sending is the worker's.
"""

from __future__ import annotations

import json
import uuid
from bisect import bisect
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import accumulate
from random import Random
from typing import Any

SPREAD = 0x9E3779B97F4A7C15  # 2^64 / golden ratio: spreads neighbouring numbers over all seeds


@dataclass(frozen=True, slots=True)
class Draw:
    """A value drawn per request: one of `choices` by weight, else an integer of `low`..`high` (a date if `days`)."""

    choices: tuple[Any, ...] = ()
    cumulative_weights: tuple[float, ...] = ()
    low: int = 0
    high: int = 0
    days: bool = False

    def pick(self, random: Random, today: date) -> Any:
        """Return one value."""
        if self.choices:
            return self.choices[bisect(self.cumulative_weights, random.random() * self.cumulative_weights[-1])]
        number = random.randint(self.low, self.high)
        return (today + timedelta(days=number)).isoformat() if self.days else number


@dataclass(frozen=True, slots=True)
class Route:
    """One kind of request. Templates use {value}, {value[field]}, {unique}; `expected`: statuses beside 2xx and 3xx."""

    name: str
    weight: float
    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    json_body: str | None
    expected: frozenset[int]
    values: tuple[str, ...]

    def accepts(self, status: int) -> bool:
        """Return whether this answer is no failure."""
        return 200 <= status < 400 or status in self.expected


@dataclass(frozen=True, slots=True)
class Request:
    """A request ready to be sent."""

    route: int
    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class Mix:
    """The routes of a run and the values they draw. `namespace` makes {unique} differ between runs."""

    routes: tuple[Route, ...]
    draws: Mapping[str, Draw]
    seed: int
    namespace: uuid.UUID
    cumulative_weights: tuple[float, ...]

    def _random(self, number: int) -> Random:
        return Random((number * SPREAD) ^ self.seed)  # noqa: S311 - drawn to be repeatable, not secret

    def _pick_route(self, random: Random) -> int:
        return bisect(self.cumulative_weights, random.random() * self.cumulative_weights[-1])

    def route_of(self, number: int) -> int:
        """Return the index of the arrival's route."""
        return self._pick_route(self._random(number))

    def request(self, number: int, today: date) -> Request:
        """Return the arrival's request; dates are drawn ahead of `today`."""
        random = self._random(number)
        index = self._pick_route(random)
        route = self.routes[index]
        values = {name: self.draws[name].pick(random, today) for name in route.values}
        values["unique"] = uuid.uuid5(self.namespace, str(number))
        return Request(
            index,
            route.method,
            route.path.format_map(values),
            tuple((name, template.format_map(values)) for name, template in route.headers),
            fill_body(route.json_body, values),
        )


def fill_body(template: str | None, values: Mapping[str, Any]) -> bytes:
    """Return a JSON template with its values filled in; nothing where there is no template."""
    return b"" if template is None else json.dumps(_fill_value(json.loads(template), values)).encode()


def _fill_value(value: Any, values: Mapping[str, Any]) -> Any:
    """Fill templates within JSON. A string that is one whole value ("{passengers}") keeps the value's own type."""
    if isinstance(value, dict):
        return {key: _fill_value(part, values) for key, part in value.items()}
    if isinstance(value, list):
        return [_fill_value(part, values) for part in value]
    if isinstance(value, str):
        whole = values.get(value[1:-1]) if value[:1] == "{" and value[-1:] == "}" else None
        return whole if isinstance(whole, int) else value.format_map(values)
    return value


def draws_from_plan(plan: Mapping[str, Any]) -> dict[str, Draw]:
    """Return the draws that `journeys_file` made into plain JSON."""
    return {
        name: Draw(
            tuple(draw["choices"]), tuple(accumulate(draw["weights"])), draw["low"], draw["high"], bool(draw["days"])
        )
        for name, draw in plan.items()
    }


def mix_from_plan(plan: Mapping[str, Any], *, seed: int, run_id: str) -> Mix:
    """Return the mix that `journeys_file.read_journeys` checked and made into plain JSON.

    plan: {"draws": {name: ..Draw}, "routes": [{name, weight, method, path, headers, json, expected, values}]}.
    """
    draws = draws_from_plan(plan["draws"])
    routes = tuple(
        Route(
            name=route["name"], weight=route["weight"], method=route["method"], path=route["path"],
            headers=tuple(route["headers"].items()),
            json_body=None if route["json"] is None else json.dumps(route["json"]),
            expected=frozenset(route["expected"]), values=tuple(route["values"]),
        )
        for route in plan["routes"]
    )  # fmt: skip
    return Mix(
        routes, draws, seed, uuid.uuid5(uuid.NAMESPACE_URL, run_id), tuple(accumulate(route.weight for route in routes))
    )
