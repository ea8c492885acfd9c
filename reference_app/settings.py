"""The app's settings, read once from the environment by the composition root.

What the settings mean is decided by the modules that take them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reference_app.database.settings import DEFAULT_DATABASE_URL, DatabaseSettings, database_settings
from reference_app.environment import SettingError, number, switch
from reference_app.regions import REGIONS

LONGEST_S_MAXAGE_SECONDS = 600

__all__ = ["DEFAULT_DATABASE_URL", "SettingError", "Settings", "settings_from_environment"]


@dataclass(frozen=True, slots=True)
class Measures:
    """The measures that a setting can switch off, and how they are set. region: where this server stands.

    network: off, world or a file, see `regions`. live_fares: every search asks the supplier.
    """

    l1: bool = True
    l2: bool = True
    redis_cluster: bool = False
    http_cache: bool = True
    s_maxage_seconds: int = 300
    invalidation: bool = True
    compression: bool = True
    regions: bool = True
    region: str = "us-east"
    network: str = "off"
    instrument: bool = True
    live_fares: bool = True


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a replica needs to know. Spans are real seconds. jobs_redis_url: of the job queue, one server."""

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
    measures: Measures
    host: str = "127.0.0.1"
    jobs_redis_url: str | None = None


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
        measures=measures_from_environment(environ),
        host=bind_address(environ),
        jobs_redis_url=environ.get("REFERENCE_APP_JOBS_REDIS_URL") or environ.get("REFERENCE_APP_REDIS_URL") or None,
    )


def bind_address(environ: Mapping[str, str]) -> str:
    """Return the address that servers of the app listen on. A local cluster does not hand its own to its replicas."""
    return environ.get("REFERENCE_APP_BIND_ADDRESS") or "127.0.0.1"


def measures_from_environment(environ: Mapping[str, str]) -> Measures:
    """Return the measures, each on unless it is switched off. Raises SettingError."""
    s_maxage = number(environ, "REFERENCE_APP_S_MAXAGE_SECONDS", "300", int, at_least=0)
    if s_maxage > LONGEST_S_MAXAGE_SECONDS:
        raise SettingError(f"REFERENCE_APP_S_MAXAGE_SECONDS: expected 0 to {LONGEST_S_MAXAGE_SECONDS}, got {s_maxage}")
    return Measures(
        l1=switch(environ, "REFERENCE_APP_L1"),
        l2=switch(environ, "REFERENCE_APP_L2"),
        redis_cluster=switch(environ, "REFERENCE_APP_REDIS_CLUSTER", default=False),
        http_cache=switch(environ, "REFERENCE_APP_HTTP_CACHE"),
        s_maxage_seconds=s_maxage,
        invalidation=switch(environ, "REFERENCE_APP_INVALIDATION"),
        compression=switch(environ, "REFERENCE_APP_COMPRESSION"),
        regions=switch(environ, "REFERENCE_APP_REGIONS"),
        region=one_of(environ, "REFERENCE_APP_REGION", REGIONS),
        network=environ.get("REFERENCE_APP_NETWORK_PROFILE") or "off",
        instrument=switch(environ, "REFERENCE_APP_INSTRUMENT"),
        live_fares=one_of(environ, "REFERENCE_APP_FARES", ("live", "hourly")) == "live",
    )


def one_of(environ: Mapping[str, str], name: str, allowed: Sequence[str]) -> str:
    """Return one of the allowed words, the first if nothing is set. Raises SettingError."""
    text = environ.get(name) or allowed[0]
    if text not in allowed:
        raise SettingError(f"{name}: expected {' or '.join(allowed)}, got {text!r}")
    return text
