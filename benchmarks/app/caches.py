"""What each cache level saves: requests/s and CPU per request of the same searches, with a hit ratio each.

Two replicas asked in turn in a closed loop, each level with fresh processes and an emptied Valkey. `app` is the CPU of
the replicas (and the edge), `all` also that of PostgreSQL and Valkey. The edge has the replicas' own caches behind it.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import redis

from benchmarks.app.asked import get, searches
from benchmarks.app.stack import UNBOUNDED, AppStack, cache_levels, cpu_seconds
from benchmarks.closed_loop import ask
from tidegauge.settings import app_environment

if TYPE_CHECKING:
    from collections.abc import Mapping

REPLICAS, CONNECTIONS = 2, 8
OFF = {"L1": {"REFERENCE_APP_L1": "off"}, "L2": {"REFERENCE_APP_L2": "off"}}
LEVELS: dict[str, Mapping[str, str]] = {
    "none": OFF["L1"] | OFF["L2"],
    "L1": OFF["L2"],
    "L1+L2": {},
    "edge": {},
}


@dataclass(frozen=True, slots=True)
class CacheCost:
    """A level's figures. hit_ratio: requests that a cache answered over all; CPU in milliseconds per request."""

    level: str
    hit_ratio: float
    requests_per_second: float
    app_cpu_ms: float
    all_cpu_ms: float


async def measure_caches(app: AppStack, *, requests: int, seed: int) -> list[CacheCost]:
    """Measure every level with the same searches, the first quarter of them only to warm the caches."""
    paths = [get(path) for path in searches(requests + requests // 4, seed=seed)]
    return [await _measure(app, level, paths[: requests // 4], paths[requests // 4 :]) for level in LEVELS]


async def _measure(app: AppStack, level: str, warming: list[bytes], measured: list[bytes]) -> CacheCost:
    redis.Redis.from_url(app_environment(app.stack.settings, app.stack.secrets)["REFERENCE_APP_REDIS_URL"]).flushall()
    counting = ports = await app.replicas(REPLICAS, {**UNBOUNDED, **LEVELS[level]})
    if level == "edge":
        ports = [await app.edge(ports[0])]
        counting = [*ports, *counting]
    try:
        await _ask_all(ports, warming)
        before, levels, started = cpu_seconds(app.processes()), await cache_levels(counting), time.perf_counter()
        await _ask_all(ports, measured)
        seconds = time.perf_counter() - started
        levels, after = await cache_levels(counting) - levels, cpu_seconds(app.processes())
    finally:
        await app.stop_app()
    used = {part: after[part] - before[part] for part in after}
    milliseconds = 1000 / len(measured)
    hits = sum(count for name, count in levels.items() if name in {"l1", "l2", "edge"})
    own = sum(seconds for part, seconds in used.items() if part.startswith(("replica", "edge")))
    return CacheCost(
        level,
        hits / sum(levels.values()),
        len(measured) / seconds,
        own * milliseconds,
        sum(used.values()) * milliseconds,
    )


async def _ask_all(ports: list[int], requests: list[bytes]) -> None:
    """Ask each port an equal share, all at once."""
    shares = [requests[number :: len(ports)] for number in range(len(ports))]
    answers = await asyncio.gather(
        *(
            ask(port, share, connections=CONNECTIONS // len(ports), total=len(share))
            for port, share in zip(ports, shares, strict=True)
        )
    )
    for counts in answers:
        if set(counts) != {200}:
            raise RuntimeError(f"expected answers of status 200 alone, got {dict(counts)}")


def cache_lines(rows: list[CacheCost]) -> list[str]:
    """Return the table."""
    none = rows[0]
    head = f"{'caches':<8}{'hit ratio':>10}{'requests/s':>12}{'app ms':>9}{'all ms':>9}{'x none (all)':>14}"
    return [head, *(_line(row, row.all_cpu_ms / none.all_cpu_ms) for row in rows)]


def _line(row: CacheCost, ratio: float) -> str:
    figures = f"{row.hit_ratio:>10.2f}{row.requests_per_second:>12.0f}{row.app_cpu_ms:>9.2f}{row.all_cpu_ms:>9.2f}"
    return f"{row.level:<8}{figures}{ratio:>14.2f}"
