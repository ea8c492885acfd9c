"""`make bench-record`: what the record costs, on this machine, beside raw inserts of the same batches in the same run.

Prints events/s acknowledged and stored with all rollups, the collector's peak memory, bytes per stored event, and how
long all burn windows of 100 SLOs over 30 days take. Starts a store and a collector of its own on free ports.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from collector.catalog import Slo
from collector.clickhouse import ClickHouseSettings, Client, connect, migrate
from collector.instrument import Event
from collector.record.store import SCHEMA_FOLDER, SCHEMA_OWNER
from collector.slo.store import read_slo_counts
from collector.sources.writer import event_columns

CATALOG = "version: 1\nservices:\n  bench: {source: events}\n"
WAIT_SECONDS = 120
REPLICAS = 4
SLOWEST_PERCENT_US = int(math.exp(11 + 2.326 * 0.8))  # of the lognormal durations below


def main() -> None:
    """Run the measures and print them, one line each; --json for a script."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=400_000)
    parser.add_argument("--batch", type=int, default=5_000)
    parser.add_argument("--senders", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    batches = make_batches(random.Random(chosen.seed), chosen.events, chosen.batch)
    with tempfile.TemporaryDirectory(prefix="tidegauge-bench-") as folder, ExitStack() as running:
        store_url, collector_url, collector = start(Path(folder), running)
        results: dict[str, Any] = {"events": chosen.events, "batch": chosen.batch, "cpus": os.cpu_count()}
        results |= measure_collector(batches, collector_url, senders=chosen.senders)
        results["collector_peak_rss_mb"] = peak_rss_mb(collector.pid)
        results["raw_stored_per_second"] = measure_raw(batches, store_url)
        results["stored_share_of_raw"] = results["stored_per_second"] / results["raw_stored_per_second"]
        client = connect(ClickHouseSettings(url=store_url))
        results["bytes_per_event"] = bytes_per_event(client)
        results["burn_windows_100_slos_ms"] = measure_burn_windows(client)
        client.close()
    if chosen.json:
        print(json.dumps(results))
        return
    for name, value in results.items():
        print(f"{name}: {value:,.2f}" if isinstance(value, float) else f"{name}: {value:,}")


def make_batches(source: random.Random, events: int, size: int) -> list[dict[str, Any]]:
    """Return batches as four replicas send them: an hour of Poisson arrivals on 20 routes, every column filled."""
    begin, batch_us = int(time.time() * 1e6) - 3_600_000_000, 3_600_000_000 * size * REPLICAS // events
    batches = []
    for number in range(events // size):
        start_us, replica = begin + number // REPLICAS * batch_us, number % REPLICAS
        instants = sorted(start_us + source.randrange(batch_us) for _ in range(size))
        rows = [make_event(source, ts_us, replica) for ts_us in instants]
        columns = {name: [getattr(row, name) for row in rows] for name in Event._fields}
        client = {"id": f"i{replica}", "service": "bench", "generated_total": 0, "dropped_total": 0}
        batches.append({"schema": 1, "batch_id": str(uuid.UUID(int=source.getrandbits(128))), "client": client,
                        "columns": columns})  # fmt: skip
    return batches


def make_event(source: random.Random, ts_us: int, replica: int) -> Event:
    """Return one request; the trace ids of failures, of the slowest 1 % and of a 1 % sample, as the middleware does."""
    route = source.randrange(20)
    status = 500 if source.random() < 0.01 else 200
    duration_us = int(source.lognormvariate(11, 0.8))
    kept = status == 500 or duration_us > SLOWEST_PERCENT_US or source.random() < 0.01
    return Event(
        ts_us=ts_us,
        route=f"/items/{route}",
        method="GET" if route < 16 else "POST",
        status=status,
        duration_us=duration_us,
        response_bytes=int(source.lognormvariate(7, 1)),
        region=source.choice(("us-east", "us-west", "eu-west")),
        instance=f"i{replica}",
        version="1.0",
        cache_level=source.choice(("l1", "l2", "miss")) if route < 16 else "",
        database_target="replica" if route < 16 else "primary",
        user_agent_family=source.choice(("chrome", "chrome", "safari", "app")),
        trace_id=source.randbytes(16).hex() if kept else "",
    )


def start(folder: Path, running: ExitStack) -> tuple[str, str, subprocess.Popen[bytes]]:
    """Start store and collector; both end with `running`."""
    (folder / "tidegauge.yaml").write_text(CATALOG)
    store_port, collector_port = free_port(), free_port()
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("TIDEGAUGE_")},
        "TIDEGAUGE_DATA": str(folder / "data"),
        "TIDEGAUGE_CONFIG": str(folder / "tidegauge.yaml"),
        "TIDEGAUGE_CLICKHOUSE_PORT": str(store_port),
        "TIDEGAUGE_COLLECTOR_PORT": str(collector_port),
    }
    log = running.enter_context((folder / "log").open("wb"))
    for module in ("collector.embedded", "collector"):
        process = subprocess.Popen([sys.executable, "-m", module], env=environment, stdout=log, stderr=log)
        running.callback(process.wait)
        running.callback(process.kill)
    url = f"http://127.0.0.1:{collector_port}"
    wait_for(lambda: answers(url + "/readyz"), "the collector is ready")
    return f"http://127.0.0.1:{store_port}", url, process


def free_port() -> int:
    """Return a port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(url: str) -> bool:
    """Say whether a server answers 200."""
    try:
        return httpx.get(url, timeout=2).status_code == 200
    except httpx.TransportError:
        return False


def wait_for(holds: Any, what: str) -> None:
    """Ask until it holds."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not holds():
        if time.monotonic() > deadline:
            raise SystemExit(f"not within {WAIT_SECONDS} s: {what}")
        time.sleep(0.1)


def measure_collector(batches: list[dict[str, Any]], url: str, *, senders: int) -> dict[str, Any]:
    """Return events/s acknowledged (on disk) and stored (all rollups made), counted from the first byte sent."""
    bodies = [json.dumps(batch, separators=(",", ":")).encode() for batch in batches]
    events = sum(len(batch["columns"]["ts_us"]) for batch in batches)
    with httpx.Client(timeout=60) as http, ThreadPoolExecutor(senders) as pool:

        def send(body: bytes) -> None:
            http.post(url + "/v1/events", content=body).raise_for_status()

        begun = time.perf_counter()
        list(pool.map(send, bodies))
        acknowledged = time.perf_counter() - begun
        wait_for(lambda: stored_events(http, url) >= events, "everything is stored")
        stored = time.perf_counter() - begun
    return {"acknowledged_per_second": events / acknowledged, "stored_per_second": events / stored}


def stored_events(http: httpx.Client, url: str) -> float:
    """Return the collector's own count."""
    lines = http.get(url + "/metrics").text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("tidegauge_events_stored_total "))


def measure_raw(batches: list[dict[str, Any]], store_url: str) -> float:
    """Return events/s of plain inserts, one per batch, into the same tables with the same views."""
    client = connect(ClickHouseSettings(url=store_url, database="raw"))
    migrate(client, SCHEMA_FOLDER, owner=SCHEMA_OWNER)
    prepared = [event_columns([batch]) for batch in batches]
    begun = time.perf_counter()
    events = sum(client.insert_columns("request_events", each, token=str(uuid.uuid4())) for each in prepared)
    spent = time.perf_counter() - begun
    client.close()
    return events / spent


def peak_rss_mb(pid: int) -> float:
    """Return the most resident memory a process ever had."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) / 1024


def bytes_per_event(client: Client) -> float:
    """Return bytes on disk of a raw event, after merging."""
    client.command("OPTIMIZE TABLE request_events FINAL")
    rows = client.query_rows(
        "SELECT sum(data_compressed_bytes) / sum(rows) FROM system.parts"
        " WHERE active AND table = 'request_events' AND database = currentDatabase()"
    )
    return float(rows[0][0])


def measure_burn_windows(client: Client) -> float:
    """Return the median time (ms) of all burn windows of 100 SLOs over 30 days of minutes of 20 routes."""
    now = datetime.now(UTC)
    end = int(now.timestamp()) // 60 * 60
    for day in range(30):
        client.command(
            "INSERT INTO red_1m (minute, service, route, method, version, region, status, requests, duration_us_sum,"
            " duration_us_max, histogram) SELECT fromUnixTimestamp({end:Int64} - 60 * intDiv(number, 20)), 'slos',"
            " concat('/items/', toString(number % 20)), 'GET', '1', 'eu', 200, 100, 1000000, 20000,"
            " map(toUInt16(100), toUInt64(60), toUInt16(110), toUInt64(40)) FROM numbers(20 * 1440)"
            " SETTINGS insert_deduplicate = 0",
            {"end": end - day * 86400},
        )
    month = timedelta(days=30)
    slos = [
        Slo(f"slo-{number}", "latency", 0.95, month, threshold=timedelta(milliseconds=8), route=f"/items/{number % 20}")
        if number % 2
        else Slo(f"slo-{number}", "availability", 0.999, month, route=f"/items/{number % 20}")
        for number in range(100)
    ]
    spent = []
    for _ in range(5):
        begun = time.perf_counter()
        counts = read_slo_counts(client, "slos", slos, now=now)
        spent.append((time.perf_counter() - begun) * 1000)
    if not all(each[month].valid for each in counts):
        raise SystemExit("expected requests for every SLO")
    return statistics.median(spent)


if __name__ == "__main__":
    main()
