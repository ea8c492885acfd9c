"""The booking API under measurement: `make bench-app`, about six minutes on two cores.

    python -m benchmarks.app [--only users,caches,replicas,middleware,edge] [--users 10000] [--json FILE]

users: ten thousand at once. caches: requests/s and CPU per request by cache level. replicas: throughput at 1, 2, 4, 8
and the law through it. middleware: what watching a request costs, beside others. edge: a cached search beside a bare
route, staleness after a change, and latencies around the world. Everything runs on this machine: read the ratios.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import edge
from benchmarks.app import middleware
from benchmarks.app.caches import cache_lines, measure_caches
from benchmarks.app.replicas import measure_replicas, replica_lines
from benchmarks.app.stack import app_stack
from benchmarks.app.users import crowd_lines, measure_users
from benchmarks.circumstances import circumstances

PARTS = ("users", "caches", "replicas", "middleware", "edge")
PACKAGES = (*middleware.PACKAGES, "psycopg", "redis", "locust")


async def measure(arguments: argparse.Namespace, wanted: set[str]) -> dict[str, Any]:
    """Measure the parts that need the databases; print each as it comes."""
    figures: dict[str, Any] = {}
    async with app_stack(scale=arguments.scale) as app:
        if "users" in wanted:
            crowd = await measure_users(
                app,
                users=arguments.users,
                replicas=arguments.replicas,
                ramp_seconds=arguments.ramp,
                hold_seconds=arguments.hold,
                seed=arguments.seed,
                told=_show_progress,
            )
            _say("\n".join(["", *crowd_lines(crowd)]))
            figures["users"] = asdict(crowd)
        if "caches" in wanted:
            rows = await measure_caches(app, requests=arguments.requests, seed=arguments.seed)
            _say("\n".join(["", *cache_lines(rows)]))
            figures["caches"] = [asdict(row) for row in rows]
        if "replicas" in wanted:
            throughputs, law = await measure_replicas(app, requests_each=arguments.requests // 10, seed=arguments.seed)
            _say("\n".join(["", *replica_lines(throughputs, law)]))
            figures["replicas"] = {"rows": [asdict(row) for row in throughputs], "usl": law and asdict(law)}
    return figures


def _show_progress(progress: Any) -> None:
    if sys.stderr.isatty():
        words = f"\r{progress.seconds:5.0f} of {progress.total_seconds:.0f} s, {progress.users} users "
        sys.stderr.write(words)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


async def measure_edge() -> dict[str, Any]:
    """Measure what needs no database."""
    cpu, stale, rows = await edge.cpu_of_cached_search(), await edge.staleness(40), await edge.worldwide()
    _say(
        f"\ncached search {cpu['cached_search_cpu_us']:.0f} us of CPU, bare route with the same bytes "
        f"{cpu['bare_cpu_us']:.0f} us: {cpu['ratio']:.2f} x"
    )
    _say(f"commit to last stale answer: median {stale['median_ms']:.0f} ms, p95 {stale['p95_ms']:.0f} ms")
    for row in rows:
        _say(
            f"{row['place']:<15}{row['edge']:<9}{row['straight']:>6.0f} ms straight, {row['hit']:>4.0f} ms at the edge"
        )
    return {"cpu": cpu, "staleness": stale, "worldwide": rows}


def main() -> int:
    """Measure, print, write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--ramp", type=int, default=20, help="seconds until all users are there")
    parser.add_argument("--hold", type=int, default=60)
    parser.add_argument("--requests", type=int, default=4000, help="of each cache level")
    parser.add_argument("--scale", type=float, default=0.1, help="of the seeded data")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    wanted = set(arguments.only.split(","))
    if unknown := wanted - set(PARTS):
        parser.error(f"--only: expected some of {', '.join(PARTS)}; got {', '.join(sorted(unknown))}")
    figures: dict[str, Any] = {"about": circumstances(seed=arguments.seed, packages=PACKAGES)}
    if wanted & {"users", "caches", "replicas"}:
        figures |= asyncio.run(measure(arguments, wanted))
    if "middleware" in wanted:
        rows = middleware.report(middleware.measure(requests=4000, rounds=5))
        _say("\n".join(["", *middleware.lines(rows)]))
        figures["middleware"] = rows
    if "edge" in wanted:
        figures["edge"] = asyncio.run(measure_edge())
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(figures, indent=1, default=str) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
