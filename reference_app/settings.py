"""The app's settings, read once from the environment by the composition root.

Plain parsing instead of pydantic-settings: replicas start often, and every import is start-up time. What the settings
mean is decided by the modules that take them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

DEFAULT_DATABASE_URL = "postgresql://postgres@127.0.0.1:15432/postgres"
Number = TypeVar("Number", int, float)


class SettingError(ValueError):
    """A setting is not as expected: names the variable, what was expected and what came."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a replica needs to know. Spans are real seconds."""

    port: int
    instance: str
    version: str
    database_url: str
    replica_url: str | None
    replica_max_lag_seconds: float
    redis_url: str | None
    supplier_concurrency: int
    supplier_latency_seconds: float
    supplier_seed: int
    supplier_queue: int
    supplier_wait_seconds: float
    drain_seconds: float
    collector_url: str | None


def settings_from_environment(environ: Mapping[str, str]) -> Settings:
    """Return the settings. Raises SettingError naming the variable, what was expected and what came."""
    port = _number(environ, "REFERENCE_APP_PORT", "8000", int, at_least=0)
    return Settings(
        port=port,
        instance=environ.get("REFERENCE_APP_INSTANCE") or f"reference-app-{port}",
        version=environ.get("REFERENCE_APP_VERSION") or "dev",
        database_url=environ.get("REFERENCE_APP_DATABASE_URL") or DEFAULT_DATABASE_URL,
        replica_url=environ.get("REFERENCE_APP_REPLICA_URL") or None,
        replica_max_lag_seconds=_number(environ, "REFERENCE_APP_REPLICA_MAX_LAG_SECONDS", "5", float, at_least=0.1),
        redis_url=environ.get("REFERENCE_APP_REDIS_URL") or None,
        supplier_concurrency=_number(environ, "REFERENCE_APP_SUPPLIER_CONCURRENCY", "2", int, at_least=1),
        supplier_latency_seconds=_number(environ, "REFERENCE_APP_SUPPLIER_LATENCY_MS", "120", float, at_least=0) / 1000,
        supplier_seed=_number(environ, "REFERENCE_APP_SUPPLIER_SEED", "1", int, at_least=0),
        supplier_queue=_number(environ, "REFERENCE_APP_SUPPLIER_QUEUE", "25", int, at_least=0),
        supplier_wait_seconds=_number(environ, "REFERENCE_APP_SUPPLIER_WAIT_MS", "1500", float, at_least=1) / 1000,
        drain_seconds=_number(environ, "REFERENCE_APP_DRAIN_SECONDS", "0.5", float, at_least=0),
        collector_url=environ.get("TIDEGAUGE_COLLECTOR_URL") or None,
    )


def _number(
    environ: Mapping[str, str], name: str, default: str, kind: Callable[[str], Number], *, at_least: float
) -> Number:
    text = environ.get(name) or default
    expected = f"{name}: expected a number of at least {at_least:g}"
    try:
        value = kind(text)
    except ValueError:
        raise SettingError(f"{expected}, got {text!r}") from None
    if not at_least <= value < float("inf"):
        raise SettingError(f"{expected}, got {text!r}")
    return value
