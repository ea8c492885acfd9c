"""What the code says of each component: the truth that everything under deploy/ is held to.

Commands and ports come from the embedded stack's own parts, variables from the sources that read them, and what is not
ours from deploy/images.toml.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tidegauge.clock import clock_from_environment
from tidegauge.settings import Secrets, StackSettings
from tidegauge.stack import StackOf

ROOT = Path(__file__).resolve().parents[2]
IMAGES: dict[str, Any] = tomllib.loads((ROOT / "deploy" / "images.toml").read_text())
DOCKERFILE = (ROOT / "Dockerfile").read_text()
_NAME = re.compile(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b")
_CLOCK = "tidegauge/clock.py"
_SOURCES = {  # target: what runs in it
    "collector": ("collector", _CLOCK),
    "forecaster": ("forecaster", "collector", _CLOCK),
    "dashboard": ("dashboard", "forecaster", "collector", _CLOCK),
    "reference-app": ("reference_app", "collector/instrument", _CLOCK),
    "jobs": ("reference_app", _CLOCK),
    "edge": ("reference_app", "collector/instrument", _CLOCK),
    "cluster": ("tidegauge/cluster", "reference_app", "collector", _CLOCK),
    "loadgen": ("loadgen", _CLOCK),
}
ROUTES_OF_STREAMLIT = ("/_stcore/health",)  # as the stack's own part asks it
_PARTS = {"loadgen": "load-desk"}  # targets that the stack calls otherwise


@dataclass(frozen=True, slots=True)
class Component:
    """A target of the Dockerfile. argv: how it is started; names: variables it reads; text: its sources."""

    target: str
    argv: tuple[str, ...]
    ports: frozenset[int]
    names: frozenset[str]
    text: str

    def answers(self, path: str) -> bool:
        """Tell whether a path is a route of it: written out in its sources (Streamlit's: in the stack's part)."""
        return path in ROUTES_OF_STREAMLIT if self.target == "dashboard" else path in _routes(self.target)


@dataclass(frozen=True, slots=True)
class Foreign:
    """An image of somebody else: what it may be started with, its ports, where it looks for files, its variables."""

    ports: frozenset[int]
    programs: frozenset[str]
    folders: frozenset[str]
    words: frozenset[str]
    names: frozenset[str]


@cache
def _routes(target: str) -> frozenset[str]:
    return frozenset(re.findall(r'"(/[a-z_/-]+)"', components()[target].text))


@cache
def stack_parts() -> Mapping[str, Any]:
    """Return the embedded stack's parts by name, as its settings are when nothing is set."""
    plain = {name: field.default for name, field in StackSettings.model_fields.items()}
    settings = StackSettings.model_construct(**plain)
    secrets = Secrets("p", "r", "a", "v", "c")
    stack = StackOf(settings, secrets, clock_from_environment({}))
    return {part.name: part for part in stack.everything()}


def argv_of(part: str) -> tuple[str, ...]:
    """Return how the stack starts a part, with `python` for this interpreter and paths as in the image."""
    words = [str(word) for word in stack_parts()[part].argv]
    return tuple("python" if word == sys.executable else word.removeprefix(f"{ROOT}/") for word in words)


@cache
def components() -> Mapping[str, Component]:
    """Return ours by target."""
    return {target: _component(target) for target in _SOURCES}


def _component(target: str) -> Component:
    text = "\n".join(_text(place) for place in _SOURCES[target])
    if target == "reference-app":  # the stack's cluster starts it
        argv, ports = ("python", "-m", "reference_app"), frozenset({stack_parts()["cluster"].ports[0].number})
    else:
        part = stack_parts()[_PARTS.get(target, target)]
        argv, ports = argv_of(part.name), frozenset(port.number for port in part.ports)
    return Component(target, argv, ports, frozenset(_NAME.findall(text)), text)


def _text(place: str) -> str:
    path = ROOT / place
    files = [path] if path.suffix == ".py" else sorted(path.rglob("*.py"))
    return "\n".join(file.read_text() for file in files if "__pycache__" not in file.parts)


@cache
def foreign() -> Mapping[str, Foreign]:
    """Return the images of others by their reference."""
    return {
        table["image"]: Foreign(
            frozenset(table.get("ports", ())),
            frozenset(table.get("programs", ())),
            frozenset(table.get("folders", ())),
            frozenset(table.get("words", ())),
            frozenset(table.get("environment", ())),
        )
        for name, table in IMAGES.items()
        if "image" in table
    }


@cache
def target_of(image: str) -> str | None:
    """Return the target of an image of ours, by its whole reference; None for everything else."""
    match = re.fullmatch(rf"{IMAGES['ours']['name']}/([a-z-]+):{re.escape(IMAGES['ours']['version'])}", image)
    return match[1] if match and match[1] in _SOURCES else None


def image_findings(image: str) -> list[str]:
    """Return what is wrong with an image: it is neither a target of ours in our version nor in the table."""
    if target_of(image) or image in foreign():
        return []
    return [f"image {image}: neither ours in its version nor in deploy/images.toml"]


def ports_of(image: str) -> frozenset[int]:
    """Return the ports that a container of an image may listen on."""
    target = target_of(image)
    if target is not None:
        return components()[target].ports
    return foreign()[image].ports if image in foreign() else frozenset()


def names_of(image: str) -> frozenset[str]:
    """Return the variables that a container of an image reads."""
    target = target_of(image)
    if target is not None:
        return components()[target].names
    return foreign()[image].names if image in foreign() else frozenset()
