"""What the caches in front of the database do, in about half a minute; no database is needed.

    python -m benchmarks.edge [--changes 40] [--json FILE]

1. CPU per request of a cached search beside a bare FastAPI route that returns the same bytes, without a network.
2. From the commit of a change to the last stale answer of two replicas and an edge, over a real Valkey. Stale answers
   are looked for by asking all three all the time, so the figures are no better than the time an answer takes.
3. What a search takes from places around the world: straight to the app in us-east, and through the nearest edge, with
   the round trips of the profile `world` (one per request, on a connection that is open).

All of it runs in this process on this machine: read the ratios, and for the third the round trips that were added.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI, Response

from reference_app.app import create_app
from reference_app.caching.tags import INVENTORY_UPDATED, route_day_tag
from reference_app.edge.__main__ import edge_app
from reference_app.edge.settings import edge_settings_from_environment
from reference_app.parts import Parts, Readiness, caches_of, parts_of
from reference_app.regions import profile_from
from reference_app.settings import measures_from_environment
from reference_app.stores.flights import Airport, Offer
from reference_app.supplier import FareSupplier, SupplierTerms
from tidegauge.clock import Clock
from tidegauge.valkey import find_program

PATH = "/api/flights/search"
TOMORROW = (datetime.now(UTC) + timedelta(days=1)).date()
SEARCH = {"origin": "ATL", "destination": "LHR", "date": str(TOMORROW), "passengers": "2", "class": "economy"}
CPU_ROUNDS, CPU_REQUESTS = 5, 2000


@dataclass
class Seats:
    """In the place of the database: eight flights a day whose seats are one number."""

    left: int = 1_000_000

    async def open(self) -> None:
        """Nothing to connect to."""

    async def close(self) -> None:
        """Nothing to close."""

    async def read(self, kind: type[Any], _: str, parameters: dict[str, Any], **__: Any) -> list[Any]:
        """Return the airport or the flights asked for; of everything else there is nothing."""
        if kind is Airport:
            return [Airport(parameters["code"], "Name", "City", "US", "north-america", 1.0, 2.0)]
        if kind is not Offer:
            return []  # no pricing rules
        noon = datetime(TOMORROW.year, TOMORROW.month, TOMORROW.day, 12, tzinfo=UTC)
        return [
            Offer(n, f"TG{n}", "ATL", "LHR", noon, noon + timedelta(hours=8), "scheduled", "economy", self.left, 10_000)
            for n in range(1, 9)
        ]


def replica(seats: Seats, redis_url: str | None, **environ: str) -> tuple[FastAPI, Parts]:
    """Return a replica with hourly fares, so that whole answers are kept, and its parts."""
    measures = measures_from_environment({"REFERENCE_APP_FARES": "hourly", **environ})
    supplier = FareSupplier(SupplierTerms(mean_latency_seconds=0.0), seed=1, instance="benchmark")
    databases: Any = seats
    parts = parts_of(databases, caches_of(redis_url), supplier, now=lambda: datetime.now(UTC), live_fares=False)
    return create_app(parts, version="benchmark", measures=measures), parts


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def served(app: Any) -> AsyncIterator[str]:
    """Serve an application on a free port of loopback; gives its URL."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = _Server(uvicorn.Config(app, log_config=None, http="httptools", ws="none", loop="asyncio"))
        task = asyncio.create_task(server.serve(sockets=[listening]))
        while not server.started:
            await asyncio.sleep(0.005)
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            await task


@asynccontextmanager
async def viewer_of_edge(origin: str, **environ: str) -> AsyncIterator[httpx.AsyncClient]:
    """Run an edge and give a client of it."""
    settings = edge_settings_from_environment({"REFERENCE_APP_EDGE_ORIGINS": origin, **environ})
    async with (
        served(edge_app(settings, Clock(), Readiness())) as url,
        httpx.AsyncClient(base_url=url, timeout=20) as viewer,
    ):
        yield viewer


@contextmanager
def running_valkey() -> Iterator[str]:
    """Run a Valkey on a socket of its own; gives its URL."""
    with tempfile.TemporaryDirectory(prefix="tg-vk-") as folder:
        path = Path(folder) / "valkey.sock"
        options = ["--port", "0", "--unixsocket", str(path), "--save", "", "--dir", folder]
        process = subprocess.Popen([str(find_program()), *options], stdout=subprocess.DEVNULL)
        try:
            while not path.exists():
                time.sleep(0.01)
            yield f"unix://{path}"
        finally:
            process.terminate()
            process.wait(10)


async def cpu_of_cached_search() -> dict[str, float]:
    """Return CPU microseconds per request, bare and cached, the least of the rounds, and their ratio."""
    app, _ = replica(Seats(), None)
    bare = FastAPI()
    answer: dict[str, Any] = {}

    @bare.get("/bare")
    async def same_bytes() -> Response:
        return Response(answer["body"], media_type="application/json")

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        answer.update(message)

    async def microseconds(asked: FastAPI, path: str, query: str) -> float:
        started = time.process_time()
        for _ in range(CPU_REQUESTS):
            await asked(_scope(path, query), receive, send)
        return 1e6 * (time.process_time() - started) / CPU_REQUESTS

    query = str(httpx.QueryParams(SEARCH))
    await app(_scope(PATH, query), receive, send)
    figures = [(await microseconds(bare, "/bare", ""), await microseconds(app, PATH, query)) for _ in range(CPU_ROUNDS)]
    plain, cached = (min(column) for column in zip(*figures, strict=True))
    size = len(answer["body"])
    return {"bytes": size, "bare_cpu_us": plain, "cached_search_cpu_us": cached, "ratio": cached / plain}


def _scope(path: str, query: str) -> dict[str, Any]:
    headers = [(b"host", b"app"), (b"user-agent", b"benchmark"), (b"accept", b"*/*")]
    return {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": headers,
        "scheme": "http",
        "root_path": "",
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
        "asgi": {"version": "3.0"},
    }


async def staleness(changes: int) -> dict[str, float]:
    """Return the milliseconds from a commit to the last stale answer: median, 95th percentile, worst."""
    seats = Seats()
    with running_valkey() as redis_url:
        (one, parts), (other, _) = replica(seats, redis_url), replica(seats, redis_url)
        async with (
            served(one) as first,
            served(other) as second,
            viewer_of_edge(first, REFERENCE_APP_REDIS_URL=redis_url) as edge,
            httpx.AsyncClient(base_url=first) as one_client,
            httpx.AsyncClient(base_url=second) as other_client,
        ):
            took = []
            for _ in range(changes):
                for client in (one_client, other_client, edge, edge):  # the edge keeps at the second question
                    await client.get(PATH, params=SEARCH)
                seats.left -= 1
                committed, wall = time.perf_counter(), time.time()
                tags = [route_day_tag("ATL", "LHR", TOMORROW)]
                watching = [
                    asyncio.create_task(_last_stale(client, seats.left)) for client in (one_client, other_client, edge)
                ]
                await parts.caches.publisher.publish(INVENTORY_UPDATED, tags, committed_at=wall)
                took.append(1000 * (max(await asyncio.gather(*watching)) - committed))
    took.sort()
    return {
        "changes": changes,
        "median_ms": statistics.median(took),
        "p95_ms": took[int(0.95 * (changes - 1))],
        "worst_ms": took[-1],
    }


async def _last_stale(client: httpx.AsyncClient, fresh: int) -> float:
    """Return when the last stale answer came; now if there was none."""
    last = time.perf_counter()
    while (await client.get(PATH, params=SEARCH)).json()["flights"][0]["seats_left"] != fresh:
        last = time.perf_counter()
    return last


async def worldwide() -> list[dict[str, Any]]:
    """Return, by place, the milliseconds of a search straight to us-east, and a miss and a hit at the nearest edge."""
    world = profile_from("world")
    if world is None:
        raise LookupError("the built-in network profile is gone")
    app, _ = replica(Seats(), None, REFERENCE_APP_NETWORK_PROFILE="world")
    rows = []
    async with (
        served(app) as origin,
        viewer_of_edge(origin, REFERENCE_APP_NETWORK_PROFILE="world") as edge,
        httpx.AsyncClient(base_url=origin) as straight,
    ):
        for client in (straight, edge):  # opens the connection
            await _timed(client, SEARCH, {})
        for number, place in enumerate(world.places):
            search = SEARCH | {"date": str(TOMORROW + timedelta(days=number + 1))}  # a shelf of its own
            headers = {"x-network-from": place, "x-region": world.nearest(place)}
            took = {"straight": await _timed(straight, search, headers)}
            for name in ("miss", "second_miss", "hit"):
                took[name] = await _timed(edge, search, headers)
            rows.append({"place": place, "edge": world.nearest(place), **took})
    return rows


async def _timed(client: httpx.AsyncClient, search: dict[str, str], headers: dict[str, str]) -> float:
    started = time.perf_counter()
    (await client.get(PATH, params=search, headers=headers)).raise_for_status()
    return 1000 * (time.perf_counter() - started)


async def main() -> None:
    """Measure and print; write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--changes", type=int, default=40, help="how many changes are timed, 5 to 1000")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    asked = parser.parse_args()
    if not 5 <= asked.changes <= 1000:
        parser.error(f"--changes: expected 5 to 1000, got {asked.changes}")
    cpu = await cpu_of_cached_search()
    print(
        f"cached search {cpu['cached_search_cpu_us']:.1f} us of CPU, a bare route with the same {cpu['bytes']} bytes "
        f"{cpu['bare_cpu_us']:.1f} us: {cpu['ratio']:.2f} x",
        flush=True,
    )
    stale = await staleness(asked.changes)
    print(
        f"from commit to the last stale answer, {asked.changes} changes: median {stale['median_ms']:.1f} ms, "
        f"p95 {stale['p95_ms']:.1f} ms, worst {stale['worst_ms']:.1f} ms",
        flush=True,
    )
    rows = await worldwide()
    print(f"{'place':15} {'edge':8} {'straight ms':>11} {'miss ms':>8} {'hit ms':>7}")
    for row in rows:
        print(f"{row['place']:15} {row['edge']:8} {row['straight']:11.0f} {row['miss']:8.0f} {row['hit']:7.0f}")
    if asked.json:
        asked.json.write_text(json.dumps({"cpu": cpu, "staleness": stale, "worldwide": rows}, indent=1))


if __name__ == "__main__":
    asyncio.run(main())
