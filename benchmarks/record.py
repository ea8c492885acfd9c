"""`make bench-record`: what the record costs, on this machine, beside raw inserts of the same batches in the same run.

Prints events/s acknowledged and stored with all rollups, in rounds that alternate with raw inserts of the same batches;
the collector's peak memory; bytes per stored event and per sample; how long all burn windows of 100 SLOs over 30 days
take; and the dashboard's questions over a record of --record events. Starts a store and a collector of its own.
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
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from benchmarks.circumstances import circumstances
from collector.catalog import Slo
from collector.clickhouse import ClickHouseSettings, Client, connect, migrate
from collector.instrument import Event
from collector.record.decimals import to_decimals
from collector.record.store import SCHEMA_FOLDER, SCHEMA_OWNER
from collector.slo.store import read_slo_counts
from collector.sources.writer import event_columns

CATALOG = "version: 1\nservices:\n  bench: {source: events}\n"
WAIT_SECONDS = 120
REPLICAS = 4
SLOWEST_PERCENT_US = int(math.exp(11 + 2.326 * 0.8))  # of the lognormal durations below
PACKAGES = ("chdb", "clickhouse-connect", "fastapi", "uvicorn")


def main() -> None:
    """Run the measures and print a table and a line of JSON (with --json the latter only)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=whole_number, default=2_000_000, help="sent to the collector, in all rounds")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=5_000)
    parser.add_argument("--senders", type=int, default=2)
    parser.add_argument("--record", type=whole_number, default=0, help="events that the dashboard is asked over: 100M")
    parser.add_argument("--times", type=int, default=10, help="each of the dashboard's questions is asked so often")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    if chosen.times < 2:
        parser.error("--times: expected 2 or more, for a 95th percentile")
    results: dict[str, Any] = circumstances(seed=chosen.seed, packages=PACKAGES) | {
        name: getattr(chosen, name) for name in ("events", "batch", "rounds", "seed")
    }
    with tempfile.TemporaryDirectory(prefix="tidegauge-bench-") as folder, ExitStack() as running:
        store_url, collector_url, collector = start(Path(folder), running)
        results |= measure_ingest(chosen, store_url, collector_url)
        results["collector_peak_rss_mb"] = peak_rss_mb(collector.pid)
        client = connect(ClickHouseSettings(url=store_url), timeout_seconds=600)
        results |= measure_bytes(client)
        results["burn_windows_100_slos_ms"] = measure_burn_windows(client)
        if chosen.record:
            results |= measure_record(store_url, chosen.record, times=chosen.times, seed=chosen.seed)
        client.close()
    if not chosen.json:
        for name, value in results.items():
            print(f"{name:32} {value:,.2f}" if isinstance(value, float) else f"{name:32} {value}")
    print(json.dumps(results))


def whole_number(text: str) -> int:
    """Read 400000, 400k or 100M."""
    factor = {"k": 1_000, "M": 1_000_000}.get(text[-1:], 1)
    return int(text.rstrip("kM")) * factor


def measure_ingest(chosen: argparse.Namespace, store_url: str, collector_url: str) -> dict[str, Any]:
    """Return events/s through the collector and raw, medians over rounds in which both store the same batches."""
    source, ours, acknowledged, raw = random.Random(chosen.seed), [], [], []
    client = connect(ClickHouseSettings(url=store_url, database="raw"))
    migrate(client, SCHEMA_FOLDER, owner=SCHEMA_OWNER)
    for number in range(chosen.rounds):
        batches = make_batches(source, chosen.events // chosen.rounds, chosen.batch)
        if number % 2:  # neither always comes second, into warmer caches and more merges
            raw.append(measure_raw(batches, client))
        one = measure_collector(batches, collector_url, senders=chosen.senders)
        ours.append(one["stored_per_second"])
        acknowledged.append(one["acknowledged_per_second"])
        if not number % 2:
            raw.append(measure_raw(batches, client))
    client.close()
    shares = [mine / plain for mine, plain in zip(ours, raw, strict=True)]
    return {
        "acknowledged_per_second": statistics.median(acknowledged),
        "stored_per_second": statistics.median(ours),
        "raw_stored_per_second": statistics.median(raw),
        "stored_share_of_raw": statistics.median(shares),
        "stored_share_of_raw_least": min(shares),
        "stored_share_of_raw_most": max(shares),
    }


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

        before = stored_events(http, url)
        begun = time.perf_counter()
        list(pool.map(send, bodies))
        acknowledged = time.perf_counter() - begun
        wait_for(lambda: stored_events(http, url) >= before + events, "everything is stored")
        stored = time.perf_counter() - begun
    return {"acknowledged_per_second": events / acknowledged, "stored_per_second": events / stored}


def stored_events(http: httpx.Client, url: str) -> float:
    """Return the collector's own count."""
    lines = http.get(url + "/metrics").text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("tidegauge_events_stored_total "))


def measure_raw(batches: list[dict[str, Any]], client: Client) -> float:
    """Return events/s of plain inserts, one per batch, into the same tables with the same views."""
    prepared = [event_columns([batch]) for batch in batches]
    begun = time.perf_counter()
    events = sum(client.insert_columns("request_events", each, token=str(uuid.uuid4())) for each in prepared)
    return events / (time.perf_counter() - begun)


def peak_rss_mb(pid: int) -> float:
    """Return the most resident memory a process ever had."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) / 1024


def measure_bytes(client: Client) -> dict[str, Any]:
    """Return bytes on disk per row after merging: of a raw event (also with its rollups), and of a sample."""
    client.command("OPTIMIZE TABLE request_events FINAL")
    sizes = table_sizes(client)
    rows, event_bytes = sizes["request_events"]
    rollups = sum(sizes[table][1] for table in ("red_1m", "red_1h", "demand_recorded"))
    found: dict[str, Any] = {
        "bytes_per_event": event_bytes / rows,
        "bytes_per_event_and_rollups": (event_bytes + rollups) / rows,
        "events_per_second_of_record": rows / 3600,
    }
    series, ts_ms, values = (list(column) for column in zip(*client.query_rows(_SAMPLES), strict=True))
    columns = {"series_id": series, "ts": ts_ms, **asdict(to_decimals(series, values, {}))}  # as the collector stores
    client.insert_columns("samples", columns, token="samples")
    client.command("OPTIMIZE TABLE samples FINAL")
    samples, sample_bytes = table_sizes(client)["samples"]
    return {**found, "bytes_per_sample": sample_bytes / samples}


# Two hundred series over a day, every 15 s with some ms of jitter: half counters, half gauges of two decimals.
# A day: parts under 10 MB have another form (compact) than those of a record that has run for a while.
_SAMPLES = """
SELECT cityHash64(series),
  toUnixTimestamp(now()) * 1000 - 86400000 + step * 15000 + h % 17 - 8,
  if(series % 2, toFloat64(step * 300 + h % 300), round(50 + 10 * sin(step / 40) + (h % 400) / 100, 2))
FROM (SELECT intDiv(number, 5760) AS series, number % 5760 AS step, cityHash64(number) AS h FROM numbers(1152000))"""


def table_sizes(client: Client) -> dict[str, tuple[int, int]]:
    """Return rows and bytes on disk (data, marks, indexes) of every table."""
    rows = client.query_rows(
        "SELECT table, sum(rows), sum(bytes_on_disk) FROM system.parts"
        " WHERE active AND database = currentDatabase() GROUP BY table"
    )
    return {str(table): (int(count), int(size)) for table, count, size in rows}


def measure_record(store_url: str, events: int, *, times: int, seed: int) -> dict[str, Any]:
    """Return the slowest 95th percentile of the dashboard's questions over a record of so many events, and each."""
    from benchmarks.record_reads import build, measure_reads, whole_hour

    client = connect(ClickHouseSettings(url=store_url, database="large"), timeout_seconds=1800)
    migrate(client, SCHEMA_FOLDER, owner=SCHEMA_OWNER)
    now, begun = whole_hour(), time.perf_counter()
    build(client, events, now=now, seed=seed)
    built = time.perf_counter() - begun
    rows, size = table_sizes(client)["request_events"]
    spent = measure_reads(client, now=now, times=times)
    client.close()
    slowest = max(spent, key=spent.__getitem__)
    return {
        "record_events": rows, "record_built_seconds": built, "record_bytes_per_event": size / rows,
        "dashboard_questions": len(spent), "dashboard_slowest_p95_ms": spent[slowest], "dashboard_slowest": slowest,
        "dashboard_over_300_ms": {name: round(each) for name, each in spent.items() if each >= 300},
        "dashboard_p95_ms": {name: round(each, 1) for name, each in spent.items()},
    }  # fmt: skip


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
