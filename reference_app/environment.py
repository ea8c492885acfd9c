"""Reading settings from the environment: numbers, switches, and errors that name the variable.

Plain parsing instead of pydantic-settings: replicas start often, and every import is start-up time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

Number = TypeVar("Number", int, float)
_SWITCH = {"on": True, "off": False}


class SettingError(ValueError):
    """A setting is not as expected: names the variable, what was expected and what came."""


def number(
    environ: Mapping[str, str], name: str, default: str, kind: Callable[[str], Number], *, at_least: float
) -> Number:
    """Return the variable as a finite number. Raises SettingError."""
    text = environ.get(name) or default
    expected = f"{name}: expected a number of at least {at_least:g}"
    try:
        value = kind(text)
    except ValueError:
        raise SettingError(f"{expected}, got {text!r}") from None
    if not at_least <= value < float("inf"):
        raise SettingError(f"{expected}, got {text!r}")
    return value


def switch(environ: Mapping[str, str], name: str, *, default: bool = True) -> bool:
    """Return whether a measure is switched on: `on` or `off`. Raises SettingError."""
    text = environ.get(name) or ("on" if default else "off")
    if text not in _SWITCH:
        raise SettingError(f"{name}: expected on or off, got {text!r}")
    return _SWITCH[text]
