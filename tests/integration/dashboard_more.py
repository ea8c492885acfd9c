"""The rest of a record for the dashboard: samples, alerts, markers, load runs, capacities, scores of forecasts."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from collector.alerts.state import Alert, Silence
from collector.alerts.store import write_alerts, write_silence
from collector.catalog import Service
from collector.clickhouse import Client
from collector.record.store import (
    Capacity,
    LoadRun,
    Marker,
    bucket_of,
    write_capacity,
    write_load_run,
    write_load_seconds,
    write_marker,
)
from collector.sources.samples import series_id
from forecaster.scores.score import BUCKETS, Score
from forecaster.scores.score_store import write_scores

STEP = timedelta(minutes=5)
SLOW = "SELECT f.id, i.departs_at, i.price_cents FROM flight_instances i JOIN flights f USING (flight_id) WHERE ..."
STATEMENTS = {  # text: (calls a step, ms each)
    SLOW: (300, 84.0),
    "SELECT * FROM inventory WHERE instance_id = $1 FOR UPDATE": (40, 6.2),
    "INSERT INTO bookings (id, user_id, status) VALUES ($1, $2, $3)": (38, 3.1),
    "SELECT name FROM airports WHERE code = $1": (120, 0.4),
}
SERVERS = ("127.0.0.1:15432", "127.0.0.1:15433")
BUILD = "0.1.1"


def write_whole(client: Client, service: Service, *, start: datetime, now: datetime) -> None:
    """Write everything but requests, demand, forecasts and decisions."""
    _write_samples(client, service.name, start=start, now=now)
    _write_told(client, service.name, now=now)
    _write_load(client, service.name, now=now)
    _write_scores(client, service.name, start=start, now=now)


def _write_samples(client: Client, service: str, *, start: datetime, now: datetime) -> None:
    ticks = [start + number * STEP for number in range(int((now - start) / STEP) + 1)]
    told: list[tuple[str, str, dict[str, str], list[float]]] = []
    wave = [1 + math.sin(number / 9) for number in range(len(ticks))]

    def gauge(name: str, values: list[float] | float, **labels: str) -> None:
        told.append((name, "gauge", labels, values if isinstance(values, list) else [values] * len(ticks)))

    def counter(name: str, each: float, **labels: str) -> None:
        told.append((name, "counter", labels, [each * number for number in range(len(ticks))]))

    for server in SERVERS:
        gauge("sampler_up", 1.0, sampler="postgres", source=server)
        gauge("pg_connections_max", 100.0, server=server)
        for state, level in (("active", 6), ("idle", 14)):
            gauge("pg_connections", [level + 3 * w for w in wave], server=server, state=state)
        gauge("pg_partitions", 9.0, server=server, table="bookings")
        gauge("pg_partitions_rows_estimate", 48_000.0, server=server, table="bookings")
    gauge("pg_replication_lag_seconds", [0.02 * w for w in wave], server=SERVERS[0], standby="replica")
    for number, (text, (calls, ms)) in enumerate(STATEMENTS.items()):
        about = {"server": SERVERS[1], "query_id": str(number), "statement": text}
        counter("pg_statement_calls_total", calls, **about)
        counter("pg_statement_seconds_total", calls * ms / 1000, **about)
        counter("pg_statement_rows_total", calls * 3, **about)
    for name, rate in (("redis_keyspace_hits_total", 900), ("redis_keyspace_misses_total", 100)):
        counter(name, rate, server="127.0.0.1:16379")
    for name, rate in (("count", 10.0), ("sum", 0.08)):
        counter(f"reference_app_invalidation_seconds_{name}", rate, instance="reference-app-1", tier="l1")
    counter("process_cpu_seconds_total", 4.5, instance="reference-app-1")
    for queue in ("mail", "refunds"):
        gauge("reference_app_jobs", [4 * w for w in wave], queue=queue, state="waiting")
        counter("reference_app_jobs_done_total", 12.0, queue=queue)
        counter("reference_app_jobs_retried_total", 0.125, queue=queue)
    series: dict[str, list[Any]] = {
        name: [] for name in ("series_id", "name", "service", "kind", "labels", "source", "last_seen")
    }
    samples: dict[str, list[Any]] = {name: [] for name in ("series_id", "ts", "digits", "scaled", "raw")}
    for name, kind, labels, values in told:
        identity = series_id(name, service, kind, labels)
        for column, value in zip(series, (identity, name, service, kind, labels, "sampler", now.date()), strict=True):
            series[column].append(value)
        samples["series_id"] += [identity] * len(values)
        samples["ts"] += [int(at.timestamp() * 1000) for at in ticks]
        samples["digits"] += [-1] * len(values)
        samples["scaled"] += [0] * len(values)
        samples["raw"] += values
    client.insert_columns("series", series, token="dashboard-series")
    client.insert_columns("samples", samples, token="dashboard-samples")


def _write_told(client: Client, service: str, *, now: datetime) -> None:
    hours = timedelta(hours=1)
    deploy = now - 4 * hours
    write_marker(client, Marker(service, "deploy", deploy, deploy + STEP, f"version {BUILD}"))
    quiet = now - 6 * hours
    write_marker(client, Marker(service, "maintenance", quiet, quiet + 2 * STEP, "index rebuilt", excludes_slo=True))
    over = an_alert(service, "availability", "page", fired=now - 3 * hours, ended=now - 2 * hours)
    write_alerts(client, [an_alert(service, "availability", "page", fired=now - 3 * hours)], now=now - 3 * hours)
    write_alerts(client, [over], now=now - 2 * hours)
    write_alerts(client, [an_alert(service, "search-p95", "ticket", fired=now - hours)], now=now - hours)
    until = now + 2 * hours
    write_silence(
        client, Silence("quiet-1", service, "us-*", now - hours, until, "ana", "a test is run"), now=now - hours
    )


def an_alert(
    service: str, name: str, severity: Any, *, fired: datetime, ended: datetime | None = None
) -> Alert:  # fmt: skip
    """An alert that fires, or one that is over."""
    return Alert(
        f"burn/{service}/{name}/{severity}", "burn", service, name, severity, "resolved" if ended else "firing",
        fired, fired, ended, False, fired, 1, f"{name} burns its budget 15.2 times as fast as it may", {},
    )  # fmt: skip


def _write_load(client: Client, service: str, *, now: datetime) -> None:
    details = {
        "cpu_seconds_per_request": 0.0149, "saturated": "cpu", "baseline": {"mean_seconds": 0.04},
        "usl": {"gamma": 0.11, "alpha": 0.32, "beta": 0.004, "gamma_interval": [0.1, 0.12],
                "alpha_interval": [0.28, 0.36], "beta_interval": [0.003, 0.005]},
        "levels": [{"users": users, "rps": 0.11 * users / (1 + 0.32 * (users - 1) + 0.004 * users * (users - 1))}
                   for users in (1, 2, 4, 8, 16)],
    }  # fmt: skip
    older = now - timedelta(days=6)
    write_capacity(client, Capacity(service, older, "0.1.0", "load-test", 0.19, 0.22, {**details, "usl": None}))
    write_capacity(client, Capacity(service, now - timedelta(hours=3), BUILD, "load-test", 0.2, 0.24, details))
    write_capacity(client, Capacity(service, now - timedelta(hours=1), BUILD, "live-traffic", 0.18, 0.18, {}))
    for number, (slow, status) in enumerate(((1.0, "pass"), (2.3, "fail"))):
        began = now - timedelta(hours=26 - 23 * number)
        seconds = 600
        p95 = 210.0 * slow
        summary = {
            "verdict": {"status": status, "reasons": [] if status == "pass" else ["http_req_duration: p(95)<400"]},
            "sent": 60 * seconds, "rps": 60.0, "failed": 12 * number, "unsent": 3 * number, "intended": 60 * seconds,
            "response_ms": {"p50": 60.0 * slow, "p95": p95, "p99": 380.0 * slow}, "send_lag_ms": {"p99": 1.8},
            "thresholds": [{"threshold": "http_req_duration: p(95)<400", "value": p95, "held": status == "pass"}],
            "routes": {
                "/api/flights/search": {
                    "sent": 40_000, "failed": 12 * number, "response_ms": {"p50": 70.0, "p95": 260.0, "p99": 400.0},
                },
                "/api/bookings": {
                    "sent": 20_000, "failed": 0, "response_ms": {"p50": 40.0, "p95": 120.0, "p99": 200.0},
                },
            },
        }  # fmt: skip
        run = LoadRun(
            f"run-{number}", service, "booking_stress_test", "http://127.0.0.1:8000", began,
            began + timedelta(seconds=seconds), "finished", summary,
        )  # fmt: skip
        write_load_run(client, run, reported_at=now, batch_id=f"run-{number}")
        histogram = {bucket_of(60_000 * slow): 54, bucket_of(210_000 * slow): 5, bucket_of(380_000 * slow): 1}
        first = int(began.timestamp())
        columns: dict[str, Any] = {
            "second": list(range(first, first + seconds)),
            **{name: [value] * seconds for name, value in
               (("intended", 60), ("sent", 60), ("done", 60), ("failed", 0), ("unsent", 0), ("send_lag_us_max", 1800))},
            "response_histogram": [histogram] * seconds, "service_histogram": [histogram] * seconds,
            "users": [min(40, 2 + at // 15) for at in range(seconds)],
        }  # fmt: skip
        write_load_seconds(client, f"run-{number}", columns, batch_id=f"seconds-{number}")


def _write_scores(client: Client, service: str, *, start: datetime, now: datetime) -> None:
    random = np.random.default_rng(11)
    levels = (0.1, 0.5, 0.9, 0.95, 0.99)
    scores = []
    for number in range(int((now - start) / (3 * STEP))):
        for distance, bucket in enumerate(BUCKETS[:3]):
            naive = 20.0 * (1 + distance)
            own = naive * float(random.uniform(0.5, 0.8))
            scores.append(
                Score(
                    service, bucket.name, start + number * 3 * STEP, "ensemble", "naive_week", STEP, 100, 120.0, own,
                    naive, levels, tuple(own / 5 for _ in levels), tuple(naive / 5 for _ in levels),
                    tuple(round(100 * level) - (number % 2) for level in levels),
                )
            )  # fmt: skip
    write_scores(client, scores, scored_at=now)
