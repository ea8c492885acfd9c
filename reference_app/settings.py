"""The app's settings, read once from the environment by the composition root.

Plain parsing instead of pydantic-settings: replicas start often, and every import is start-up time. What the settings
mean is decided by the modules that take them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from reference_app.regions import REGIONS

DEFAULT_DATABASE_URL = "postgresql://postgres@127.0.0.1:15432/postgres"
LONGEST_S_MAXAGE_SECONDS = 600
Number = TypeVar("Number", int, float)


class SettingError(ValueError):
    """A setting is not as expected: names the variable, what was expected and what came."""


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
    measures: Measures


def settings_from_environment(environ: Mapping[str, str]) -> Settings:
    """Return the settings. Raises SettingError naming the variable, what was expected and what came."""
    port = number(environ, "REFERENCE_APP_PORT", "8000", int, at_least=0)
    return Settings(
        port=port,
        instance=environ.get("REFERENCE_APP_INSTANCE") or f"reference-app-{port}",
        version=environ.get("REFERENCE_APP_VERSION") or "dev",
        database_url=environ.get("REFERENCE_APP_DATABASE_URL") or DEFAULT_DATABASE_URL,
        replica_url=environ.get("REFERENCE_APP_REPLICA_URL") or None,
        replica_max_lag_seconds=number(environ, "REFERENCE_APP_REPLICA_MAX_LAG_SECONDS", "5", float, at_least=0.1),
        redis_url=environ.get("REFERENCE_APP_REDIS_URL") or None,
        supplier_concurrency=number(environ, "REFERENCE_APP_SUPPLIER_CONCURRENCY", "2", int, at_least=1),
        supplier_latency_seconds=number(environ, "REFERENCE_APP_SUPPLIER_LATENCY_MS", "120", float, at_least=0) / 1000,
        supplier_seed=number(environ, "REFERENCE_APP_SUPPLIER_SEED", "1", int, at_least=0),
        supplier_queue=number(environ, "REFERENCE_APP_SUPPLIER_QUEUE", "25", int, at_least=0),
        supplier_wait_seconds=number(environ, "REFERENCE_APP_SUPPLIER_WAIT_MS", "1500", float, at_least=1) / 1000,
        drain_seconds=number(environ, "REFERENCE_APP_DRAIN_SECONDS", "0.5", float, at_least=0),
        collector_url=environ.get("TIDEGAUGE_COLLECTOR_URL") or None,
        measures=measures_from_environment(environ),
    )


def measures_from_environment(environ: Mapping[str, str]) -> Measures:
    """Return the measures, each on unless it is switched off. Raises SettingError."""
    s_maxage = number(environ, "REFERENCE_APP_S_MAXAGE_SECONDS", "300", int, at_least=0)
    if s_maxage > LONGEST_S_MAXAGE_SECONDS:
        raise SettingError(f"REFERENCE_APP_S_MAXAGE_SECONDS: expected 0 to {LONGEST_S_MAXAGE_SECONDS}, got {s_maxage}")
    return Measures(
        l1=_is_on(environ, "REFERENCE_APP_L1"),
        l2=_is_on(environ, "REFERENCE_APP_L2"),
        redis_cluster=_is_on(environ, "REFERENCE_APP_REDIS_CLUSTER", default="off"),
        http_cache=_is_on(environ, "REFERENCE_APP_HTTP_CACHE"),
        s_maxage_seconds=s_maxage,
        invalidation=_is_on(environ, "REFERENCE_APP_INVALIDATION"),
        compression=_is_on(environ, "REFERENCE_APP_COMPRESSION"),
        regions=_is_on(environ, "REFERENCE_APP_REGIONS"),
        region=one_of(environ, "REFERENCE_APP_REGION", REGIONS),
        network=environ.get("REFERENCE_APP_NETWORK_PROFILE") or "off",
        instrument=_is_on(environ, "REFERENCE_APP_INSTRUMENT"),
        live_fares=one_of(environ, "REFERENCE_APP_FARES", ("live", "hourly")) == "live",
    )


def one_of(environ: Mapping[str, str], name: str, allowed: Sequence[str]) -> str:
    """Return one of the allowed words, the first if nothing is set. Raises SettingError."""
    text = environ.get(name) or allowed[0]
    if text not in allowed:
        raise SettingError(f"{name}: expected {' or '.join(allowed)}, got {text!r}")
    return text


def _is_on(environ: Mapping[str, str], name: str, default: str = "on") -> bool:
    return one_of(environ, name, (default, "off" if default == "on" else "on")) == "on"


def number(
    environ: Mapping[str, str], name: str, default: str, kind: Callable[[str], Number], *, at_least: float
) -> Number:
    """Return a number of the environment, or its default. Raises SettingError."""
    text = environ.get(name) or default
    expected = f"{name}: expected a number of at least {at_least:g}"
    try:
        value = kind(text)
    except ValueError:
        raise SettingError(f"{expected}, got {text!r}") from None
    if not at_least <= value < float("inf"):
        raise SettingError(f"{expected}, got {text!r}")
    return value
