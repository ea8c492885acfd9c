"""Throughput at 1, 2, 4 and 8 replicas and the Universal Scalability Law through it.

Every search asks the fare supplier, whose few connections bound a replica as an outside system does; so replicas add
throughput until the machine, or the database, has no more. Eight users for each replica ask different searches in a
closed loop, with the caches off: every request reaches the database.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.app.asked import get, searches
from benchmarks.app.stack import AppStack, cpu_seconds
from benchmarks.closed_loop import ask
from loadgen.capacity.usl import Usl, fit_usl

if TYPE_CHECKING:
    from collections.abc import Mapping

COUNTS = (1, 2, 4, 8)
USERS_PER_REPLICA = 8
WITHOUT_CACHES: Mapping[str, str] = {
    "REFERENCE_APP_L1": "off",
    "REFERENCE_APP_L2": "off",
    "REFERENCE_APP_FARES": "live",
    "REFERENCE_APP_SUPPLIER_LATENCY_MS": "120",
    "REFERENCE_APP_SUPPLIER_CONCURRENCY": "4",
}


@dataclass(frozen=True, slots=True)
class Throughput:
    """Requests/s of so many replicas, and how many of the machine's CPUs were busy with them."""

    replicas: int
    requests_per_second: float
    busy_cpus: float


async def measure_replicas(app: AppStack, *, requests_each: int, seed: int) -> tuple[list[Throughput], Usl | None]:
    """Measure each number of replicas, three shares of the requests each, and fit the law to all shares."""
    rows, counts, rates = [], [], []
    for count in COUNTS:
        ports = await app.replicas(count, WITHOUT_CACHES)
        try:
            await _ask(ports, requests_each // 8, seed=seed)
            before, started = cpu_seconds(app.processes()), time.perf_counter()
            for share in range(3):
                rate = await _ask(ports, requests_each // 3, seed=seed + share + 1)
                counts.append(count)
                rates.append(rate)
            seconds = time.perf_counter() - started
            after = cpu_seconds(app.processes())
        finally:
            await app.stop_app()
        busy = sum(after[part] - before[part] for part in after) / seconds
        rows.append(Throughput(count, float(np.median(rates[-3:])), busy))
    return rows, fit_usl(np.array(counts, dtype=np.float64), np.array(rates, dtype=np.float64), seed=seed)


async def _ask(ports: list[int], requests_each: int, *, seed: int) -> float:
    paths = [get(path) for path in searches(requests_each * len(ports), seed=seed, exponent=0.0)]
    started = time.perf_counter()
    answers = await asyncio.gather(
        *(
            ask(port, paths[number :: len(ports)], connections=USERS_PER_REPLICA, total=requests_each)
            for number, port in enumerate(ports)
        )
    )
    for counts in answers:
        if set(counts) != {200}:
            raise RuntimeError(f"expected answers of status 200 alone, got {dict(counts)}")
    return requests_each * len(ports) / (time.perf_counter() - started)


def replica_lines(rows: list[Throughput], law: Usl | None) -> list[str]:
    """Return the table and the law."""
    alone = rows[0].requests_per_second
    lines = [f"{'replicas':>8}{'requests/s':>12}{'x one':>8}{'efficiency':>12}{'busy CPUs':>11}"]
    for row in rows:
        times = row.requests_per_second / alone
        lines.append(
            f"{row.replicas:>8}{row.requests_per_second:>12.1f}{times:>8.2f}{times / row.replicas:>12.2f}"
            f"{row.busy_cpus:>11.2f}"
        )
    if law is None:
        return [*lines, "no law: fewer than three different numbers of replicas"]
    peak = law.peak()
    return [
        *lines,
        f"USL: one carries {law.gamma:.1f}/s, contention {law.alpha:.4f} {_pair(law.alpha_interval)}, coherency "
        f"{law.beta:.5f} {_pair(law.beta_interval)}, {'no peak' if peak is None else f'peak at {peak:.0f} replicas'}",
    ]


def _pair(interval: tuple[float, float]) -> str:
    return f"[{interval[0]:.4f}, {interval[1]:.4f}]"
