"""The edge's settings, read once from the environment by its composition root."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from reference_app.environment import SettingError, number, switch
from reference_app.regions import REGIONS
from reference_app.settings import Measures, bind_address, measures_from_environment


@dataclass(frozen=True, slots=True)
class EdgeSettings:
    """Everything an edge process needs to know. origins: by region, "" for all others. Spans are real seconds."""

    port: int
    instance: str
    version: str
    origins: Mapping[str, str]
    caches: bool
    least_uses: int
    purge_token: str | None
    redis_url: str | None
    drain_seconds: float
    collector_url: str | None
    measures: Measures
    host: str = "127.0.0.1"


def edge_settings_from_environment(environ: Mapping[str, str]) -> EdgeSettings:
    """Return the settings. Raises SettingError naming the variable, what was expected and what came."""
    port = number(environ, "REFERENCE_APP_EDGE_PORT", "8001", int, at_least=0)
    return EdgeSettings(
        port=port,
        instance=environ.get("REFERENCE_APP_EDGE_INSTANCE") or f"edge-{port}",
        version=environ.get("REFERENCE_APP_VERSION") or "dev",
        origins=_origins(environ.get("REFERENCE_APP_EDGE_ORIGINS") or "http://127.0.0.1:8000"),
        caches=switch(environ, "REFERENCE_APP_EDGE_CACHE"),
        least_uses=number(environ, "REFERENCE_APP_EDGE_LEAST_USES", "2", int, at_least=1),
        purge_token=environ.get("REFERENCE_APP_EDGE_PURGE_TOKEN") or None,
        redis_url=environ.get("REFERENCE_APP_REDIS_URL") or None,
        drain_seconds=number(environ, "REFERENCE_APP_DRAIN_SECONDS", "0.5", float, at_least=0),
        collector_url=environ.get("TIDEGAUGE_COLLECTOR_URL") or None,
        measures=measures_from_environment(environ),
        host=bind_address(environ),
    )


def _origins(text: str) -> dict[str, str]:
    expected = (
        "REFERENCE_APP_EDGE_ORIGINS: expected URLs like http://app:8000, or eu-west=http://eu:8000,http://app:8000"
    )
    origins: dict[str, str] = {}
    for part in text.split(","):
        region, equals, url = part.strip().partition("=")
        if not equals:
            region, url = "", region
        if (region and region not in REGIONS) or urlsplit(url).scheme not in ("http", "https") or region in origins:
            raise SettingError(f"{expected}; got {part.strip()!r}")
        origins[region] = url.rstrip("/")
    if "" not in origins and set(origins) != set(REGIONS):
        raise SettingError(f"{expected}; none is left for {', '.join(sorted(set(REGIONS) - set(origins)))}")
    return origins
