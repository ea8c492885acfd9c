"""The cluster's settings: ports and paths from the environment, scaling from tidegauge.yaml. Built once, at start."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from collector.catalog import Scaling, read_catalog


class SettingsError(ValueError):
    """A setting is not as expected: says which, what was expected and what came."""


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """What one cluster process needs to know. collector_url None: nobody is told of refused requests."""

    service: str
    scaling: Scaling
    front_port: int
    api_port: int
    folder: Path
    command: tuple[str, ...]
    starting_limit: int
    collector_url: str | None
    replica_environ: Mapping[str, str]
    bind_address: str = "127.0.0.1"
    least_start_seconds: float = 1.5


def settings_from_environment(environ: Mapping[str, str] = os.environ) -> ClusterSettings:
    """Return the settings. Raises SettingsError for a variable, CatalogError for tidegauge.yaml."""
    name = environ.get("TIDEGAUGE_CLUSTER_SERVICE", "reference-app")
    service = read_catalog(Path(environ.get("TIDEGAUGE_CONFIG", "tidegauge.yaml"))).service(name)
    if service.scaling is None:
        raise SettingsError(f"TIDEGAUGE_CLUSTER_SERVICE: expected a service with `scaling`, got {name!r} without")
    return ClusterSettings(
        service=name,
        scaling=service.scaling,
        front_port=_whole_number(environ, "TIDEGAUGE_APP_PORT", default=8000, least=1, most=65_535),
        api_port=_whole_number(environ, "TIDEGAUGE_CLUSTER_PORT", default=8010, least=1, most=65_535),
        folder=Path(environ.get("TIDEGAUGE_DATA", ".tidegauge")) / "cluster",
        command=_command(environ, "TIDEGAUGE_CLUSTER_COMMAND"),
        starting_limit=_whole_number(environ, "TIDEGAUGE_CLUSTER_STARTING", default=5, least=1, most=100),
        collector_url=environ.get("TIDEGAUGE_COLLECTOR_URL") or None,
        replica_environ=dict(environ),
        bind_address=environ.get("TIDEGAUGE_BIND_ADDRESS") or "127.0.0.1",
        least_start_seconds=_seconds(environ, "TIDEGAUGE_CLUSTER_START_SECONDS", default=1.5),
    )


def _whole_number(environ: Mapping[str, str], name: str, *, default: int, least: int, most: int) -> int:
    text = environ.get(name, "")
    if not text:
        return default
    try:
        number = int(text)
    except ValueError:
        number = least - 1
    if not least <= number <= most:
        raise SettingsError(f"{name}: expected a whole number {least}..{most}, got {text!r}")
    return number


def _seconds(environ: Mapping[str, str], name: str, *, default: float) -> float:
    text = environ.get(name, "")
    try:
        seconds = float(text) if text else default
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 60:
        raise SettingsError(f"{name}: expected seconds 0..60, got {text!r}")
    return seconds


def _command(environ: Mapping[str, str], name: str) -> tuple[str, ...]:
    text = environ.get(name, "")
    if not text:
        return (sys.executable, "-m", "reference_app")
    try:
        words = json.loads(text)
    except ValueError:
        words = None
    if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
        raise SettingsError(f'{name}: expected a JSON list of words like ["python", "-m", "app"], got {text!r}')
    return tuple(words)
