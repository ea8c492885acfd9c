"""Every scalar of a parsed document that matters, each changed once: for tests that a checker notices.

What matters: images, ports, words of commands, names and values of variables, selectors, paths, and every address with
a port. `every_change` leaves nothing out.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Place = tuple[str | int, ...]
_SELECTORS = frozenset(
    {"matchLabels", "selector", "podSelector", "namespaceSelector", "labelSelector", "scaleTargetRef", "secretKeyRef"}
    | {"configMapRef", "roleRef", "subjects", "parentRefs", "backendRefs"}
)
_COMMANDS = frozenset({"command", "args", "entrypoint", "test"})
_PORTS = frozenset(
    {"port", "containerPort", "targetPort", "from_port", "to_port", "http_port", "https_port", "hostPort"}
)
_NAMES = frozenset({"environment", "env", "data"})
_ADDRESS = re.compile(r"((?:[a-z][\w.-]*|127\.0\.0\.1|^):)(\d{2,5})(?!\d)")


@dataclass(frozen=True, slots=True)
class Mutation:
    """One change: where, and what it was. key: the key itself is renamed."""

    place: Place
    old: Any
    new: Any
    key: bool = False

    def __str__(self) -> str:
        return f"{'.'.join(map(str, self.place))}: {self.old!r} -> {self.new!r}"

    def applied(self, document: Any) -> Any:
        """Return the document with the change; the rest is shared with the one given."""
        changed = copy.deepcopy(document)
        inside = changed
        for step in self.place[:-1]:
            inside = inside[step]
        if self.key:
            inside[self.new] = inside.pop(self.place[-1])
        else:
            inside[self.place[-1]] = self.new
        return changed


def mutations(document: Any) -> Iterator[Mutation]:
    """Yield one change of each scalar that matters."""
    yield from _inside(document, ())


def every_change(document: Any) -> Iterator[Mutation]:
    """Yield one change of each scalar, whatever it is."""
    yield from _all_inside(document, ())


def _all_inside(value: Any, place: Place) -> Iterator[Mutation]:
    if isinstance(value, dict | list):
        for step, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _all_inside(each, (*place, step))
    elif isinstance(value, bool):
        yield Mutation(place, value, not value)
    elif value is not None:
        yield Mutation(place, value, f"{value}x" if isinstance(value, str) else value + 1)


def _inside(value: Any, place: Place) -> Iterator[Mutation]:
    if isinstance(value, dict):
        for key, each in value.items():
            if _renames(place, value):
                yield Mutation((*place, key), key, f"{key}X", key=True)
            yield from _inside(each, (*place, key))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _inside(each, (*place, index))
    elif isinstance(value, str | int) and not isinstance(value, bool):
        yield from (Mutation(place, value, new) for new in _changes(place, value))


def _renames(place: Place, value: dict[str, Any]) -> bool:
    """Tell whether the keys here are names of variables or of labels."""
    if not place:
        return False
    if place[-1] == "matchLabels" or (place[-1] == "selector" and "matchLabels" not in value):
        return True
    return place[-1] in _NAMES and all(re.fullmatch(r"[A-Z][A-Z0-9_]+", str(key)) for key in value)


def _changes(place: Place, value: str | int) -> Iterator[str | int]:
    words = [step for step in place if isinstance(step, str)]
    last = words[-1] if words else ""
    if last == "ports" and isinstance(value, str):  # of compose: each of its ports
        yield from (f"{value[: m.start() + 1]}{int(m[1]) + 1}{value[m.end() :]}" for m in re.finditer(r":(\d+)", value))
        return
    chosen = (set(words[:-1]) | {last}) & _SELECTORS and last not in ("apiVersion", "apiGroup", "group", "namespace")
    variable = last == "name" and "env" in words
    port = last in _PORTS or (last == "number" and isinstance(value, int)) or last.endswith("_PORT")
    value_of_variable = "env" in words and last == "value" and value != ""
    of_map = len(words) > 1 and words[-2] in _NAMES and re.fullmatch(r"[A-Z][A-Z0-9_]+", last) is not None
    if last in ("image", "target", "host", "hosts") or last.lower().endswith("path") or value_of_variable or of_map:
        yield f"{value}x"
    elif last in _COMMANDS or last == "credentials_file" or port or chosen or variable:
        yield _other(value)
    if isinstance(value, str):
        yield from (f"{value[: m.start(2)]}{int(m[2]) + 1}{value[m.end(2) :]}" for m in _ADDRESS.finditer(value))


def _other(value: str | int) -> str | int:
    if isinstance(value, int):
        return value + 1
    return str(int(value) + 1) if value.isdecimal() else f"{value}x"
