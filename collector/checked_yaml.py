"""YAML whose every value knows its file, line and key, so that a refusal can say where it stands.

What the keys mean is the catalog's job; this module only reads, checks the shape and refuses.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import NoReturn, TypeVar

import yaml

T = TypeVar("T")
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SECONDS_PER_UNIT = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}


class CatalogError(ValueError):
    """tidegauge.yaml is not as expected: says file, line, key, what was expected and what came."""


def read_root(text: str, *, name: str) -> Block:
    """Return the top block of a YAML text; `name` is the file named in errors. Raises CatalogError."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise CatalogError(f"{name}: expected YAML, got: {error}") from error
    if node is None:
        raise CatalogError(f"{name}:1: top level: expected a mapping, got an empty file")
    return Block(name, "", node)


def read_roots(text: str, *, name: str) -> list[Block]:
    """Return the top blocks of a YAML text of several documents, empty ones left out. Raises CatalogError."""
    try:
        nodes = [node for node in yaml.compose_all(text, Loader=yaml.SafeLoader) if node is not None]
    except yaml.YAMLError as error:
        raise CatalogError(f"{name}: expected YAML, got: {error}") from error
    return [Block(name, "", node) for node in nodes if node.tag != "tag:yaml.org,2002:null"]


class Block:
    """One YAML node with the file and the key it stands under, so that every refusal can say where."""

    def __init__(self, file: str, key: str, node: yaml.Node) -> None:
        self.file, self.key, self.node = file, key, node

    def refuse(self, expected: str, got: str | None = None) -> NoReturn:
        """Raise CatalogError saying file, line, key, what was expected and what came."""
        line = self.node.start_mark.line + 1
        came = got if got is not None else self._shown()
        raise CatalogError(f"{self.file}:{line}: {self.key or 'top level'}: expected {expected}, got {came}")

    def _shown(self) -> str:
        if isinstance(self.node, yaml.ScalarNode):
            return repr(self.node.value)
        return "a list" if isinstance(self.node, yaml.SequenceNode) else "a mapping"

    def is_null(self) -> bool:
        """Say whether nothing stands here (`null`, `~` or empty)."""
        return self.node.tag == "tag:yaml.org,2002:null"

    def entries(self) -> dict[str, Block]:
        """Return the blocks of a mapping; a key given twice is refused."""
        if not isinstance(self.node, yaml.MappingNode):
            self.refuse("a mapping")
        blocks: dict[str, Block] = {}
        for key_node, value_node in self.node.value:
            key = str(key_node.value)
            path = f"{self.key}.{key}" if self.key else key
            if key in blocks:
                Block(self.file, path, key_node).refuse("each key once", "it twice")
            blocks[key] = Block(self.file, path, value_node)
        return blocks

    def only(self, *known: str) -> None:
        """Refuse any key that is not known."""
        for key, block in self.entries().items():
            if key not in known:
                block.refuse(f"one of the keys {', '.join(known)}", f"the unknown key {key!r}")

    def required(self, key: str) -> Block:
        """Return the block of a key that must be there."""
        found = self.entries().get(key)
        if found is None or found.is_null():
            self.refuse(f"the key {key!r}", "none")
        return found

    def optional(self, key: str, read: Callable[[Block], T]) -> T | None:
        """Return what `read` makes of a key, or None where the key is absent or null."""
        found = self.entries().get(key)
        return None if found is None or found.is_null() else read(found)

    def sequence(self) -> list[Block]:
        """Return the blocks of a list."""
        if not isinstance(self.node, yaml.SequenceNode):
            self.refuse("a list")
        return [Block(self.file, f"{self.key}[{index}]", node) for index, node in enumerate(self.node.value)]

    def text(self) -> str:
        """Return a scalar that is not empty."""
        if not isinstance(self.node, yaml.ScalarNode) or self.is_null() or not self.node.value:
            self.refuse("text")
        return str(self.node.value)

    def one_of(self, *allowed: str) -> str:
        """Return a text that is one of the allowed ones."""
        value = self.text()
        if value not in allowed:
            self.refuse(" or ".join(allowed))
        return value

    def number(self, expected: str, holds: Callable[[float], bool]) -> float:
        """Return a number for which `holds`; `expected` says in words what that is."""
        try:
            value = float(self.text())
        except ValueError:
            self.refuse(expected)
        if self.node.tag not in _NUMBERS:  # "0.99" in quotes is text, for every reader of YAML
            self.refuse(expected, f"the text {self._shown()}")
        if not holds(value):  # NaN holds no comparison, so it is refused here too
            self.refuse(expected)
        return value

    def flag(self) -> bool:
        """Return true or false."""
        if self.node.tag != "tag:yaml.org,2002:bool":
            self.refuse("true or false")
        return self.text().lower() in ("true", "yes", "on")

    def whole_number(self, least: int = 0) -> int:
        """Return a whole number of at least `least`."""
        text = self.text()
        if self.node.tag != _NUMBERS[0] or not text.isdecimal() or int(text) < least:
            self.refuse(f"a whole number of at least {least}")
        return int(text)

    def duration(self) -> timedelta:
        """Return a span written with its unit: 500ms, 2s, 15m, 24h, 30d."""
        match = _DURATION.fullmatch(self.text())
        if match is None or float(match[1]) == 0:
            self.refuse("a duration like 500ms, 2s, 15m, 24h or 30d")
        return timedelta(seconds=float(match[1]) * _SECONDS_PER_UNIT[match[2]])
