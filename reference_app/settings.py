"""The app's settings, read once from the environment by the composition root.

What the settings mean is decided by the modules that take them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reference_app.database.settings import DEFAULT_DATABASE_URL, DatabaseSettings, database_settings
from reference_app.environment import SettingError, number

__all__ = ["DEFAULT_DATABASE_URL", "SettingError", "Settings", "settings_from_environment"]


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a replica needs to know. Spans are real seconds."""

    port: int
    instance: str
    version: str
    database: DatabaseSettings
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
    port = number(environ, "REFERENCE_APP_PORT", "8000", int, at_least=0)
    return Settings(
        port=port,
        instance=environ.get("REFERENCE_APP_INSTANCE") or f"reference-app-{port}",
        version=environ.get("REFERENCE_APP_VERSION") or "dev",
        database=database_settings(environ),
        redis_url=environ.get("REFERENCE_APP_REDIS_URL") or None,
        supplier_concurrency=number(environ, "REFERENCE_APP_SUPPLIER_CONCURRENCY", "2", int, at_least=1),
        supplier_latency_seconds=number(environ, "REFERENCE_APP_SUPPLIER_LATENCY_MS", "120", float, at_least=0) / 1000,
        supplier_seed=number(environ, "REFERENCE_APP_SUPPLIER_SEED", "1", int, at_least=0),
        supplier_queue=number(environ, "REFERENCE_APP_SUPPLIER_QUEUE", "25", int, at_least=0),
        supplier_wait_seconds=number(environ, "REFERENCE_APP_SUPPLIER_WAIT_MS", "1500", float, at_least=1) / 1000,
        drain_seconds=number(environ, "REFERENCE_APP_DRAIN_SECONDS", "0.5", float, at_least=0),
        collector_url=environ.get("TIDEGAUGE_COLLECTOR_URL") or None,
    )
