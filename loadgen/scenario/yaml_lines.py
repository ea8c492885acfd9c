"""YAML whose every value knows its line, so that a refusal can say file, line and key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

Path = tuple[str | int, ...]


class ScenarioError(ValueError):
    """The scenario is not as expected: says file, line, key, what was expected and what came."""


def read_yaml(text: str, *, name: str) -> tuple[Any, dict[Path, int]]:
    """Return the value of a YAML text and the line of each of its parts. Raises ScenarioError."""
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            raise ScenarioError(f"{name}:1: top level: expected a mapping, got an empty file")
        lines: dict[Path, int] = {}
        _note_lines(node, (), lines, name)
        return loader.construct_document(node), lines
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ScenarioError(f"{name}:{line}: expected YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise ScenarioError(f"{name}:1: expected YAML: {error}") from error
    finally:
        loader.dispose()


def _note_lines(node: yaml.Node, path: Path, lines: dict[Path, int], name: str) -> None:
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            below = (*path, str(key.value))
            if below in lines:
                raise ScenarioError(f"{name}:{key.start_mark.line + 1}: {dotted(below)}: expected each key once")
            lines[below] = key.start_mark.line + 1
            _note_lines(value, below, lines, name)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _note_lines(value, (*path, index), lines, name)


def locate(location: Sequence[str | int], lines: dict[Path, int]) -> tuple[Path, int]:
    """Return the path within the file of an error's location, and its line.

    A checker names the branch of a choice in the location, too: what is not in the file is left out, but for the last
    part, a key that should be there.
    """
    path: Path = ()
    for index, part in enumerate(location):
        below = (*path, part)
        if below in lines:
            path = below
        elif index == len(location) - 1:
            return below, lines[path]
    return path, lines[path]


def dotted(path: Path) -> str:
    """Return a path as people write it: scenarios.search.stages[0]."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text or "top level"
