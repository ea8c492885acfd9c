"""Values that a request draws, and templates that they fill. Pure, standard library only.

What is drawn follows from the random numbers given, so that both the child, which sends, and its parent come to the
same answer. The YAML files and their checks are `scenario`'s.
"""

from __future__ import annotations

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


def fill_value(value: Any, values: Mapping[str, Any]) -> Any:
    """Return JSON with its templates filled. A string that is one whole value ("{size}") keeps the value's own type."""
    if isinstance(value, dict):
        return {key: fill_value(part, values) for key, part in value.items()}
    if isinstance(value, list):
        return [fill_value(part, values) for part in value]
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
