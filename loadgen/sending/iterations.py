"""What one user does: a journey's steps, with drawn values and values taken from earlier answers. Pure, stdlib only.

An iteration's journey and draws depend on (seed, its number) alone, so that the parent can say which route an arrival
was that nobody sent. Sending and waiting are the worker's.
"""

from __future__ import annotations

import json
import uuid
from bisect import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import accumulate
from random import Random
from typing import Any

from loadgen.sending.journeys import SPREAD, Draw, draws_from_plan, fill_value
from loadgen.sending.wire import encode, encode_head

MISSING = object()
NOTHING_LEARNT: tuple[list[tuple[str, bool]], bool] = ([], True)
NEVER_ASKED = Random(0)  # noqa: S311 - nothing is drawn from it


@dataclass(frozen=True, slots=True)
class Check:
    """What an answer has to be; None: not asked for."""

    name: str
    statuses: tuple[int, ...] | None
    contains: str | None
    path: str | None
    equals: Any
    compares: bool

    def holds(self, status: int, body: bytes, parsed: Any) -> bool:
        """Return whether the answer is so. parsed: the body as JSON, MISSING when it is none."""
        if self.statuses is not None and status not in self.statuses:
            return False
        if self.contains is not None and self.contains.encode() not in body:
            return False
        if self.path is None:
            return True
        found = look_up(parsed, self.path, Random(0))  # noqa: S311 - a check takes no chances: * is any one
        return found is not MISSING and (not self.compares or found == self.equals)


@dataclass(frozen=True, slots=True)
class Step:
    """One request of a journey. think_seconds: least and longest pause after it.

    head: the request's head as a template (`http_client.encode_head`); fixed: the whole request, where nothing in it
    depends on the iteration: it is encoded once.
    """

    route: int
    head: str
    json_body: Any
    fixed: bytes | None
    expected: frozenset[int]
    takes: tuple[tuple[str, str], ...]
    checks: tuple[Check, ...]
    think_seconds: tuple[float, float]
    reads_body: bool
    learns: bool

    def accepts(self, status: int) -> bool:
        """Return whether this answer is no failure."""
        return 200 <= status < 400 or status in self.expected


@dataclass(frozen=True, slots=True)
class Journey:
    """Steps in order, and the draws they use."""

    weight: float
    values: tuple[str, ...]
    steps: tuple[Step, ...]
    is_random: bool
    is_unique: bool

    @property
    def is_fixed(self) -> bool:
        """Return whether each iteration is like any other: then there is one, for all."""
        return not self.is_random and not self.is_unique


@dataclass(slots=True)
class Iteration:
    """One user's way through a journey: what it drew and has learnt so far."""

    journey: Journey
    values: dict[str, Any]
    random: Random

    def request(self, step: Step) -> bytes:
        """Return the step's request as it goes over the wire."""
        if step.fixed is not None:
            return step.fixed
        body = b"" if step.json_body is None else json.dumps(fill_value(step.json_body, self.values)).encode()
        return encode(step.head.format_map(self.values), body)

    def learn(self, step: Step, status: int, body: bytes) -> tuple[list[tuple[str, bool]], bool]:
        """Take values from the answer; return each check with its outcome, and whether the journey can go on."""
        parsed = _parse(body) if step.reads_body else MISSING
        outcomes = [(check.name, check.holds(status, body, parsed)) for check in step.checks]
        whole = True
        for name, path in step.takes:
            found = look_up(parsed, path, self.random)
            whole = whole and found is not MISSING
            if found is not MISSING:
                self.values[name] = found
        if step.takes and not whole:
            outcomes.append(("taken", False))
        return outcomes, whole

    def pause_seconds(self, step: Step) -> float:
        """Return how long the user thinks after this step."""
        return self.random.uniform(*step.think_seconds) if step.think_seconds[1] > 0 else 0.0


def look_up(value: Any, path: str, random: Random) -> Any:
    """Return what stands at a.0.b in a JSON value (`*`: any element), or MISSING."""
    for part in path.split("."):
        if isinstance(value, dict):
            value = value.get(part, MISSING)
        elif isinstance(value, list) and value and part == "*":
            value = random.choice(value)
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            return MISSING
    return value


def _parse(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return MISSING


@dataclass(frozen=True, slots=True)
class Iterations:
    """All iterations there will ever be. parts: per scenario its journeys and their cumulative weights."""

    routes: tuple[str, ...]
    journeys: tuple[Journey, ...]
    draws: Mapping[str, Draw]
    parts: tuple[tuple[tuple[int, ...], tuple[float, ...]], ...]
    seed: int
    namespace: uuid.UUID
    _fixed: tuple[Iteration | None, ...] = field(init=False)

    def __post_init__(self) -> None:
        chosen = [self.journeys[indices[0]] if len(indices) == 1 else None for indices, _ in self.parts]
        found = [Iteration(one, {}, NEVER_ASKED) if one is not None and one.is_fixed else None for one in chosen]
        object.__setattr__(self, "_fixed", tuple(found))

    def _begin(self, part: int, number: int) -> tuple[Journey, Random]:
        indices, cumulative = self.parts[part]
        if len(indices) == 1 and not self.journeys[indices[0]].is_random:
            return self.journeys[indices[0]], NEVER_ASKED  # seeding one costs as much as the rest of a plain request
        random = Random((number * SPREAD) ^ (self.seed * 1009 + part))  # noqa: S311 - to be repeatable, not secret
        return self.journeys[indices[bisect(cumulative, random.random() * cumulative[-1])]], random

    def first_route(self, part: int, number: int) -> int:
        """Return the route that this arrival's first request is of; 0 where a user class decides that."""
        if not self.journeys:
            return 0
        return self._begin(part, number)[0].steps[0].route

    def iteration(self, part: int, number: int, today: date) -> Iteration:
        """Return the iteration with that number of a scenario; dates are drawn ahead of `today`."""
        if (fixed := self._fixed[part]) is not None:
            return fixed
        journey, random = self._begin(part, number)
        values = {name: self.draws[name].pick(random, today) for name in journey.values}
        if journey.is_unique:
            values["unique"] = uuid.uuid5(self.namespace, f"{part}:{number}")
        return Iteration(journey, values, random)


def iterations_from_plan(
    plan: Mapping[str, Any], parts: Sequence[Sequence[int]], *, seed: int, run_id: str, authority: str = ""
) -> Iterations:
    """Return the iterations of `scenario.file`'s plain JSON; parts: the indices of the journeys of each scenario.

    authority: the host header's value, for whoever sends.
    """
    journeys = tuple(_journey(journey, authority) for journey in plan["journeys"])
    weighted = tuple((tuple(part), tuple(accumulate(journeys[index].weight for index in part))) for part in parts)
    return Iterations(
        tuple(plan["routes"]), journeys, draws_from_plan(plan["draws"]), weighted, seed,
        uuid.uuid5(uuid.NAMESPACE_URL, run_id),
    )  # fmt: skip


def _journey(journey: Mapping[str, Any], authority: str) -> Journey:
    steps = tuple(_step(step, authority) for step in journey["steps"])
    is_random = bool(journey["values"]) or any(step.takes or step.think_seconds[1] > 0 for step in steps)
    return Journey(
        journey["weight"], tuple(journey["values"]), steps, is_random, is_unique="{unique" in json.dumps(journey)
    )


def _step(step: Mapping[str, Any], authority: str) -> Step:
    checks = tuple(
        Check(
            check["name"], None if check["statuses"] is None else tuple(check["statuses"]), check["contains"],
            check["path"], check["equals"], check["compares"],
        )
        for check in step["checks"]
    )  # fmt: skip
    head, body = encode_head(step["method"], step["path"], authority, tuple(step["headers"].items())), step["json"]
    is_fixed = "{" not in head and body is None
    return Step(
        step["route"], head, body, encode(head) if is_fixed else None, frozenset(step["expected"]),
        tuple(step["take"].items()), checks, (step["think"][0], step["think"][1]),
        bool(step["take"]) or any(check.contains is not None or check.path is not None for check in checks),
        bool(step["take"] or checks),
    )  # fmt: skip
