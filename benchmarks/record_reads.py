"""Every question that the dashboard asks of the record, over a record of many events, its step chosen as the pages do.

The events are made inside the store, and go through the same tables and views as any others.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from collector.catalog import parse_catalog
from collector.clickhouse import Client
from collector.record.cpu import read_cpu_use
from collector.record.store import read_demand, read_red, read_red_totals, read_watermark
from collector.record.traffic import read_traffic
from collector.slo.history import read_budget_history
from collector.slo.store import read_classic, read_sli_series, read_slo_statuses
from dashboard.timerange import SPANS, floored, step_for

SERVICE = "bench"
DAYS = 7
_ROWS_PER_INSERT = 5_000_000
_SLOS = "".join(
    f"      - {{name: {kind}-{number}, kind: {kind}, target: 0.95, {threshold}window: 30d, route: /items/{number}}}\n"
    for number in range(5)
    for kind, threshold in (("latency", "threshold: 200ms, "), ("availability", ""))
)
CATALOG = f"""\
version: 1
services:
  {SERVICE}:
    source: events
    slos:
{_SLOS}    classic_rule: {{window: 24h, mean_response: 2000ms, error_ratio: 0.1}}
"""

# 20 routes, 3 regions, 3 cache levels, 1 % errors, lognormal durations and sizes, trace ids of about 3 %.
_EVENTS = """
INSERT INTO request_events (ts, service, route, method, status, duration_us, response_bytes, region, instance, version,
  cache_level, database_target, user_agent_family, trace_id)
SELECT fromUnixTimestamp64Micro({start_us:Int64} + intDiv(number * {span_us:Int64}, {rows:Int64})), {service:String},
  concat('/items/', toString(a % 20)), if(a % 20 < 16, 'GET', 'POST'), if(b % 100 = 0, 500, 200),
  toUInt32(exp(11 + 0.8 * randNormal(0, 1, number))), toUInt32(exp(7 + randNormal(0, 1, number + 1))),
  ['us-east', 'us-west', 'eu-west'][1 + c % 3], concat('i', toString(d % 4)), '1.0',
  if(a % 20 < 16, ['l1', 'l2', 'miss'][1 + d % 3], ''), if(a % 20 < 16, 'replica', 'primary'),
  ['chrome', 'chrome', 'safari', 'app'][1 + b % 4], if(b % 100 = 0 OR c % 50 = 0, lower(hex(MD5(toString(number)))), '')
FROM (SELECT number, cityHash64(number, {seed:Int64}) AS a, cityHash64(number, {seed:Int64} + 1) AS b,
  cityHash64(number, {seed:Int64} + 2) AS c, cityHash64(number, {seed:Int64} + 3) AS d FROM numbers({rows:UInt64}))
SETTINGS insert_deduplicate = 0, max_insert_threads = 2, max_block_size = 262144"""


def build(client: Client, events: int, *, now: datetime, seed: int) -> None:
    """Store events spread over the last DAYS days before `now`; tells stderr how far it is."""
    inserts = max(DAYS, -(-events // _ROWS_PER_INSERT))
    span_us = DAYS * 86_400_000_000 // inserts
    end_us = int(now.timestamp()) * 1_000_000
    for number in range(inserts):
        rows = events // inserts
        start_us = end_us - (number + 1) * span_us
        client.command(
            _EVENTS,
            {"start_us": start_us, "span_us": span_us, "rows": rows, "service": SERVICE, "seed": seed + 10 * number},
        )
        sys.stderr.write(f"{(number + 1) * rows:,} of {events:,} events\n")


def questions(client: Client, *, now: datetime) -> dict[str, Callable[[], Any]]:
    """Return what the pages ask, by name, for every span that a viewer may choose."""
    service = parse_catalog(CATALOG, name="benchmark").service(SERVICE)
    rule = service.classic_rule
    assert rule is not None
    asked: dict[str, Callable[[], Any]] = {
        "watermark": lambda: read_watermark(client, SERVICE),
        "slo statuses": lambda: read_slo_statuses(client, service, now=now),
        "cpu, 1 h": lambda: read_cpu_use(
            client, SERVICE, since=now - timedelta(hours=1), until=now, longest_gap_seconds=60
        ),
        "classic rule": lambda: read_classic(client, SERVICE, rule, now=now),
    }
    for name, span in SPANS.items():
        since, step = now - span, step_for(span)
        window = {"since": since, "until": now}
        asked[f"demand, {name}"] = lambda window=window, step=step: read_demand(client, SERVICE, step=step, **window)
        for by in (None, "route", "region", "version", "cache_level"):
            asked[f"red by {by or 'nothing'}, {name}"] = lambda window=window, step=step, by=by: read_red(
                client, SERVICE, step=step, by=by, **window
            )
            asked[f"totals by {by or 'nothing'}, {name}"] = lambda window=window, by=by: read_red_totals(
                client, SERVICE, by=by, **window
            )
        on_step = {"since": floored(since, step), "until": now, "step": step, "band_step": step}
        asked[f"traffic, {name}"] = lambda on_step=on_step: read_traffic(client, SERVICE, by="route", **on_step)
        for slo in service.slos[:2]:
            asked[f"{slo.kind} budget, {name}"] = lambda window=window, step=step, slo=slo: read_budget_history(
                client, SERVICE, slo, step=step, **window
            )
            asked[f"{slo.kind} sli, {name}"] = lambda window=window, step=step, slo=slo: read_sli_series(
                client, SERVICE, slo, step=step, **window
            )
    return asked


def measure_reads(client: Client, *, now: datetime, times: int) -> dict[str, float]:
    """Return the 95th percentile in ms of each question, asked `times` (2 or more) times in turn with the others."""
    asked = questions(client, now=now)
    spent: dict[str, list[float]] = {name: [] for name in asked}
    for number in range(times):
        sys.stderr.write(f"{len(asked)} questions, {number + 1} of {times} times\n")
        for name, ask in asked.items():
            begun = time.perf_counter()
            ask()
            spent[name].append((time.perf_counter() - begun) * 1000)
    return {name: statistics.quantiles(each, n=20, method="inclusive")[-1] for name, each in spent.items()}


def whole_hour() -> datetime:
    """Return the end of the last whole hour."""
    return datetime.fromtimestamp(time.time() // 3600 * 3600, UTC)
