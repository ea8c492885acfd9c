"""Which samplers run, from the environment. Nothing is asked that is not set; no URL, so no secret, has a default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

SHORTEST_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class SamplerSettings:
    """postgres, redis: URLs, with their passwords: never shown. processes: base URLs of replicas. every: real time."""

    service: str = "reference-app"
    every_seconds: float = 15.0
    postgres: tuple[str, ...] = field(default=(), repr=False)
    redis: tuple[str, ...] = field(default=(), repr=False)
    processes: tuple[str, ...] = ()
    workers: tuple[str, ...] = ()
    cluster: str | None = None

    @property
    def wanted(self) -> bool:
        """Whether there is anything to ask."""
        return bool(self.postgres or self.redis or self.processes or self.workers or self.cluster)


def read_sampler_settings(environ: Mapping[str, str]) -> SamplerSettings:
    """Return the settings. Raises ValueError with the variable, what was expected and, if no secret, what came."""
    every = environ.get("TIDEGAUGE_SAMPLE_EVERY_SECONDS") or "15"
    try:
        every_seconds = float(every)
    except ValueError:
        every_seconds = 0.0
    if not SHORTEST_SECONDS <= every_seconds <= 3600:
        raise ValueError(f"TIDEGAUGE_SAMPLE_EVERY_SECONDS: expected seconds from 1 to 3600, got {every!r}")
    cluster = _urls(environ, "TIDEGAUGE_SAMPLE_CLUSTER_URL", "http", "https")
    return SamplerSettings(
        service=environ.get("TIDEGAUGE_SAMPLE_SERVICE") or "reference-app",
        every_seconds=every_seconds,
        postgres=_urls(environ, "TIDEGAUGE_SAMPLE_POSTGRES_URLS", "postgresql", "postgres"),
        redis=_urls(environ, "TIDEGAUGE_SAMPLE_REDIS_URLS", "redis", "rediss", "unix"),
        processes=_urls(environ, "TIDEGAUGE_SAMPLE_PROCESS_URLS", "http", "https"),
        workers=_urls(environ, "TIDEGAUGE_SAMPLE_WORKER_URLS", "http", "https"),
        cluster=cluster[0] if cluster else None,
    )


def _urls(environ: Mapping[str, str], name: str, *schemes: str) -> tuple[str, ...]:
    urls = tuple(environ.get(name, "").split())
    for number, url in enumerate(urls, start=1):
        if urlsplit(url).scheme not in schemes:  # the URL itself may hold a password
            expected = " or ".join(f"{scheme}://" for scheme in schemes)
            raise ValueError(f"{name}: expected {expected} URLs with spaces between, and URL {number} is none")
    return urls
