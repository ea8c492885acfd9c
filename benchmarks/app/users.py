"""Ten thousand users at once, each asking every ten seconds, held for a minute after a ramp.

nginx balances the replicas and keeps popular answers as the edge does (`python -m reference_app.edge --forget-in` tells
it of changes). Latencies count from the intended start, over the whole run, the ramp included. Users, replicas,
databases and the job worker share this machine; the job worker has the lowest priority.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from importlib import resources
from itertools import permutations
from typing import TYPE_CHECKING, Any

from benchmarks.app.asked import AIRPORTS
from benchmarks.app.stack import UNBOUNDED, AppStack, cache_levels, cpu_seconds, memory_megabytes
from loadgen.safety import Target
from loadgen.scenario.file import parse_scenario
from loadgen.scenario.run import RunPlan, RunResult, play
from reference_app.seed.airports import airports_by_size

if TYPE_CHECKING:
    from collections.abc import Callable

FLIGHTS_AT_SCALE_1 = 100_000
# A surge waits its turn for up to four seconds before it is shed: a slow answer counts in p95, a refused one as failed.
PATIENT = {**UNBOUNDED, "REFERENCE_APP_QUEUE": "2000", "REFERENCE_APP_QUEUE_WAIT_MS": "4000"}


@dataclass(frozen=True, slots=True)
class Crowd:
    """What many users got. Latencies in milliseconds; shares 0..1; CPU in cores over the run; memory in MB (PSS).

    miss_share: requests that no cache answered, over all. booking_share: bookings over all.
    """

    users: int
    replicas: int
    seconds: float
    requests: int
    requests_per_second: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    failed: int
    unsent: int
    miss_share: float
    booking_share: float
    reasons: dict[str, int]
    cores: dict[str, float]
    memory_mb: dict[str, float]
    verdict: str


def scenario_text(*, users: int, ramp_seconds: int, hold_seconds: int, scale: float) -> str:
    """Return the scenario file for a database of a scale."""
    codes = [airport.code for airport in airports_by_size()[:AIRPORTS]]
    filled = {
        "PAIRS": ", ".join("-".join(pair) for pair in permutations(codes, 2)),
        "AIRPORTS": ", ".join(codes),
        "FIRST": str(max(61, round(FLIGHTS_AT_SCALE_1 * scale * 0.05))),
        "LAST": str(round(FLIGHTS_AT_SCALE_1 * scale * 0.95)),
        "RAMP": str(ramp_seconds),
        "HOLD": str(hold_seconds),
        "USERS": str(users),
    }
    text = (resources.files("benchmarks.app") / "ten_thousand_users.yaml").read_text(encoding="utf-8")
    for name, value in filled.items():
        text = text.replace(f"@{name}@", value)
    return text


async def measure_users(
    app: AppStack,
    *,
    users: int,
    replicas: int,
    ramp_seconds: int,
    hold_seconds: int,
    seed: int,
    told: Callable[[Any], None] = lambda _: None,
) -> Crowd:
    """Hold so many users before so many replicas. told: hears the run's progress. Raises LookupError without nginx."""
    text = scenario_text(users=users, ramp_seconds=ramp_seconds, hold_seconds=hold_seconds, scale=app.scale)
    scenario = parse_scenario(text, name="ten_thousand_users")
    ports = await app.replicas(replicas, PATIENT)
    await app.jobs()
    for process in app.processes()["jobs"]:
        process.nice(19)
    port = await app.nginx(caching=True)
    try:
        before = cpu_seconds(app.processes())
        plan = RunPlan(scenario, Target("127.0.0.1", port), "ten-thousand-users", seed, size=1, drain_seconds=10.0)
        result = await play(plan, asyncio.Event(), show=told)
        after, memory = cpu_seconds(app.processes()), memory_megabytes(app.processes())
        levels = await cache_levels(ports)
    finally:
        await app.stop_app()
    cores = {part: (after[part] - before.get(part, 0.0)) / result.seconds for part in after}
    return _crowd(result, users, replicas, levels, cores | {"load": result.cpu_seconds / result.seconds}, memory)


def _crowd(
    result: RunResult,
    users: int,
    replicas: int,
    levels: dict[str, int],
    cores: dict[str, float],
    memory: dict[str, float],
) -> Crowd:
    all_of_it = result.overall
    reached = sum(count for name, count in levels.items() if name in {"db", "none"})
    quantiles = {share: (all_of_it.response.quantile_us(share) or 0.0) / 1000 for share in (0.5, 0.95, 0.99)}
    return Crowd(
        users=users,
        replicas=replicas,
        seconds=result.seconds,
        requests=all_of_it.sent,
        requests_per_second=all_of_it.sent / result.seconds,
        p50_ms=quantiles[0.5],
        p95_ms=quantiles[0.95],
        p99_ms=quantiles[0.99],
        failed=all_of_it.failed,
        unsent=all_of_it.unsent,
        miss_share=reached / all_of_it.sent,
        booking_share=result.by_route["booking"].sent / all_of_it.sent,
        reasons=all_of_it.reasons,
        cores={name: round(value, 3) for name, value in cores.items()},
        memory_mb={name: round(value, 1) for name, value in memory.items()},
        verdict=f"{result.verdict.status}: {'; '.join(result.verdict.reasons)}".removesuffix(": "),
    )


def crowd_lines(row: Crowd) -> list[str]:
    """Return the figures for a person."""
    cores = ", ".join(f"{name} {value:.2f}" for name, value in sorted(row.cores.items()) if value >= 0.005)
    memory = ", ".join(f"{name} {value:.0f}" for name, value in sorted(row.memory_mb.items()))
    return [
        f"{row.users} users, {row.replicas} replicas, {row.seconds:.0f} s: {row.requests} requests, "
        f"{row.requests_per_second:.0f}/s; {row.verdict}",
        f"response from the intended start: p50 {row.p50_ms:.0f} ms, p95 {row.p95_ms:.0f} ms, p99 {row.p99_ms:.0f} ms; "
        f"failed {row.failed} ({row.failed / row.requests:.4%}), unsent {row.unsent} {row.reasons or ''}",
        f"answered by no cache {row.miss_share:.1%}, bookings {row.booking_share:.1%}",
        f"CPU cores: {cores}; in all {sum(row.cores.values()):.2f}",
        f"memory MB: {memory}; in all {sum(row.memory_mb.values()):.0f}",
    ]
