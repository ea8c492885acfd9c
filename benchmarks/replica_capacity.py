"""How much one replica carries: open-loop Poisson arrivals of the usual mix at rising rates, about 40 s in all.

Run against a prepared database (and, if there is one, a replica and a Valkey), named by the REFERENCE_APP_* settings:

    python -m benchmarks.replica_capacity [--rates 8,10,12,14,16,18] [--seconds 6]

It starts one replica on a free loopback port, sends 80 % searches, 10 % airports, 8 % users/me and single flights and
2 % bookings, counts latency from the intended start, and prints a table; then stops the replica. The rates are run
between 8 and 18 requests/s, so short runs scatter: read the trend, not the third digit.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import socket
import sys
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import httpx
import psutil

from reference_app.seed.airports import airports_by_size
from reference_app.tokens import token_of_user

AIRPORTS = [airport.code for airport in airports_by_size()[:8]]
READY_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """One request: its route, status (0: no answer) and the time from its intended start."""

    route: str
    status: int
    response_seconds: float


def draw_request(rng: random.Random) -> tuple[str, httpx.Request]:
    """Return the next request of the mix, for a client with a base URL."""
    share = rng.random()
    user = {"Authorization": f"Bearer {token_of_user(rng.randint(1, 100))}"}
    if share < 0.80:
        origin, destination = rng.sample(AIRPORTS, 2)
        day = datetime.now(UTC).date() + timedelta(days=min(59, int(rng.expovariate(0.1))))
        party = str(rng.choices((1, 2, 3, 4), (60, 25, 10, 5))[0])
        query = {"origin": origin, "destination": destination, "date": str(day), "passengers": party}
        return "search", httpx.Request("GET", "http://app/api/flights/search", params=query)
    if share < 0.90:
        return "airport", httpx.Request("GET", f"http://app/api/airports/{rng.choice(AIRPORTS)}")
    if share < 0.94:
        return "me", httpx.Request("GET", "http://app/api/users/me", headers=user)
    flight = rng.randint(200, 3600)
    if share < 0.98:
        return "flight", httpx.Request("GET", f"http://app/api/flights/{flight}")
    key = {"Idempotency-Key": uuid.uuid4().hex}
    body = {"flight_id": flight, "class": "economy", "passengers": 1}
    return "booking", httpx.Request("POST", "http://app/api/bookings", json=body, headers=user | key)


async def send(client: httpx.AsyncClient, base: str, drawn: tuple[str, httpx.Request], intended: float) -> Outcome:
    """Send one request and time it from its intended start."""
    route, request = drawn
    request.url = httpx.URL(base + request.url.raw_path.decode())
    status = 0
    with suppress(httpx.TransportError):
        status = (await client.send(request)).status_code
    return Outcome(route, status, time.perf_counter() - intended)


async def drive(client: httpx.AsyncClient, base: str, *, rps: float, seconds: float, seed: int) -> list[Outcome]:
    """Send Poisson arrivals for a while, each at its time whether or not earlier ones were answered."""
    rng = random.Random(seed)
    started = time.perf_counter()
    at, sent = 0.0, []
    while (at := at + rng.expovariate(rps)) < seconds:
        drawn = draw_request(rng)
        await asyncio.sleep(max(0.0, started + at - time.perf_counter()))
        sent.append(asyncio.create_task(send(client, base, drawn, started + at)))
    return list(await asyncio.gather(*sent))


def percentile(values: list[float], share: float) -> float:
    """Return the nearest-rank percentile."""
    return sorted(values)[max(0, -(-int(len(values) * share * 1000) // 1000) - 1)]


def row(rps: float, outcomes: list[Outcome], cpu_seconds: float) -> str:
    """Return one line of the table."""
    searches = [outcome.response_seconds for outcome in outcomes if outcome.route == "search"]
    shed = sum(outcome.status == 503 for outcome in outcomes)
    wrong = sum(outcome.status not in (200, 201, 409, 503) for outcome in outcomes)
    p50, p95 = (1000 * percentile(searches, share) for share in (0.5, 0.95))
    cpu = 1000 * cpu_seconds / len(outcomes)
    return f"{rps:5.0f} {len(outcomes):9d} {p50:10.0f} {p95:10.0f} {shed:6d} {wrong:6d} {cpu:12.2f}"


async def measure(base: str, process: psutil.Process, rates: list[float], seconds: float) -> None:
    """Warm up, then run the rates and print a row for each."""
    limits = httpx.Limits(max_connections=200, max_keepalive_connections=200)
    async with httpx.AsyncClient(limits=limits, timeout=10) as client:
        deadline = time.monotonic() + READY_SECONDS
        while True:
            with suppress(httpx.TransportError):
                if (await client.get(f"{base}/readyz")).status_code == 200:
                    break
            if time.monotonic() > deadline:
                raise SystemExit(f"the replica was not ready within {READY_SECONDS:g} s: is the database prepared?")
            await asyncio.sleep(0.02)
        print(f"start to ready: {cpu_seconds(process):.2f} s of CPU")
        await drive(client, base, rps=8, seconds=2, seed=0)
        print("  rps  requests  p50 ms  p95 ms (search)  shed  wrong  CPU ms/request")
        for number, rps in enumerate(rates):
            before = cpu_seconds(process)
            outcomes = await drive(client, base, rps=rps, seconds=seconds, seed=1 + number)
            print(row(rps, outcomes, cpu_seconds(process) - before), flush=True)
        print(f"resident memory: {process.memory_info().rss / 1e6:.0f} MB")
        before = cpu_seconds(process)
        await asyncio.sleep(2)
        print(f"idle: {50 * (cpu_seconds(process) - before):.1f} % of a core")


def cpu_seconds(process: psutil.Process) -> float:
    """Return the CPU time the process has used."""
    times = process.cpu_times()
    return float(times.user + times.system)


async def main() -> None:
    """Start a replica, measure it, stop it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rates", default="8,10,12,14,16,18")
    parser.add_argument("--seconds", type=float, default=6.0)
    options = parser.parse_args()
    rates = [float(text) for text in options.rates.split(",")]
    if not rates or not all(0 < rps <= 100 for rps in rates) or not 0 < options.seconds * len(rates) <= 300:
        parser.error("expected rates of 0 to 100 requests/s and at most 300 s in all")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"REFERENCE_APP_PORT": str(port), "REFERENCE_APP_INSTANCE": "benchmark"}
    replica = await asyncio.create_subprocess_exec(sys.executable, "-m", "reference_app", env=environment)
    try:
        await measure(f"http://127.0.0.1:{port}", psutil.Process(replica.pid), rates, options.seconds)
    finally:
        with suppress(ProcessLookupError):
            replica.terminate()
        await replica.wait()


if __name__ == "__main__":
    asyncio.run(main())
