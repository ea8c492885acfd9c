"""The samplers ask real servers: a PostgreSQL primary with its standby, a Valkey, and processes over HTTP."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from collector.clickhouse import ClickHouseSettings, connect
from collector.instrument import Event, EventClient
from collector.samplers.postgres import sample_postgres
from collector.samplers.reading import Reading, SourceUnreachableError
from collector.samplers.redis import sample_redis
from tests.integration.collector_fixtures import start_collector, until
from tests.integration.database_fixtures import Cluster, running_valkey
from tests.integration.database_fixtures import cluster as cluster
from tests.integration.store_fixtures import shared_store_url as shared_store_url

pytestmark = pytest.mark.server


def value(readings: list[Reading], name: str, **labels: str) -> float | None:
    """The one reading of a name with these labels; None when there is none."""
    found = [each.value for each in readings if each.name == name and labels.items() <= each.labels.items()]
    assert len(found) <= 1, found
    return found[0] if found else None


def test_a_primary_tells_its_standbys_connections_and_partitions(cluster: Cluster) -> None:
    database = cluster.new_database()
    cluster.primary.run("CREATE TABLE trips (day date) PARTITION BY RANGE (day)", database)
    for month in ("01", "02"):
        bounds = f"FROM ('2026-{month}-01') TO ('2026-{month}-28')"
        cluster.primary.run(f"CREATE TABLE trips_{month} PARTITION OF trips FOR VALUES {bounds}", database)
    readings = sample_postgres(cluster.primary.url(database))
    assert value(readings, "pg_is_standby") == 0
    assert value(readings, "pg_connections", state="active") == 1  # the sampler's own
    assert value(readings, "pg_connections_max") == int(cluster.primary.run("SHOW max_connections")[0][0])
    assert value(readings, "pg_partitions", table="trips") == 2
    assert value(readings, "pg_replication_lag_bytes") is not None
    assert value(readings, "pg_stat_statements_present") == 0
    assert value(readings, "pg_statement_calls_total") is None  # not known is not zero


def test_a_standby_tells_how_far_it_is_behind(cluster: Cluster) -> None:
    cluster.wait_for_replica()
    readings = sample_postgres(cluster.replica.url())
    assert value(readings, "pg_is_standby") == 1
    assert value(readings, "pg_replay_lag_seconds") == 0  # all that came has been replayed
    assert value(readings, "pg_replication_lag_bytes") is None


def test_statements_are_read_where_the_server_counts_them(cluster: Cluster) -> None:
    # The embedded server ships without the extension: a table of its columns stands in, asked by the same SQL.
    database = cluster.new_database()
    columns = "dbid oid, queryid bigint, query text, calls bigint, total_exec_time float8, rows bigint"
    cluster.primary.run(f"CREATE TABLE pg_stat_statements ({columns})", database)
    # The same statement of two users: 3 + 1 calls, 1500 + 500 ms.
    for calls, milliseconds, rows in ((3, 1500.0, 30), (1, 500.0, 2)):
        own = "(SELECT oid FROM pg_database WHERE datname = current_database())"
        row = f"{own}, 7, 'SELECT  1', {calls}, {milliseconds}, {rows}"
        cluster.primary.run(f"INSERT INTO pg_stat_statements SELECT {row}", database)
    readings = sample_postgres(cluster.primary.url(database))
    assert value(readings, "pg_statement_calls_total", statement="SELECT 1", query_id="7") == 4
    assert value(readings, "pg_statement_seconds_total") == 2.0
    assert value(readings, "pg_statement_rows_total") == 32


def test_valkey_tells_memory_hits_and_keys() -> None:
    import redis

    with running_valkey() as (url, process):
        with redis.Redis.from_url(url) as client:
            client.set("a", "1")
            client.get("a")
            client.get("b")
        readings = sample_redis(url)
        assert (value(readings, "redis_keyspace_hits_total"), value(readings, "redis_keyspace_misses_total")) == (1, 1)
        assert value(readings, "redis_keys", database="0") == 1
        assert (value(readings, "redis_used_memory_bytes") or 0) > 0
        process.kill()
        process.wait(10)
        with pytest.raises(SourceUnreachableError):
            sample_redis(url)


@contextmanager
def answering(text: list[str]) -> Iterator[tuple[str, ThreadingHTTPServer]]:
    """Serve text[0] under /metrics."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/metrics" else 404)
            self.end_headers()
            self.wfile.write(text[0].encode() if self.path == "/metrics" else b"")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class' name
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def exposition(cpu_seconds: float, started_at: float) -> str:
    return f"process_cpu_seconds_total {cpu_seconds}\nprocess_start_time_seconds {started_at}\nprocess_open_fds 9\n"


def test_cpu_per_request_and_a_source_that_is_gone_is_told_so(shared_store_url: str, tmp_path: Path) -> None:
    started_at = time.time() - 30
    text = [exposition(2.0, started_at)]
    client = connect(ClickHouseSettings(url=shared_store_url))
    with answering(text) as (url, server):
        collector = start_collector(
            tmp_path,
            shared_store_url,
            environment={
                "TIDEGAUGE_SAMPLE_SERVICE": "shop",
                "TIDEGAUGE_SAMPLE_PROCESS_URLS": url,
                "TIDEGAUGE_SAMPLE_EVERY_SECONDS": "1",
            },
        )

        def cpu() -> dict[str, object]:
            span = {"service": "shop", "from": started_at - 60, "to": time.time() + 60}
            return dict(httpx.get(collector.url + "/v1/cpu", params=span, timeout=30).json())

        try:
            collector.wait_until_alive("/readyz")
            until(lambda: cpu()["cpu_seconds"] == 2.0, why="2 s since the process started")
            assert cpu()["cpu_seconds_per_request"] is None  # no requests
            events = EventClient(collector.url, service="shop", instance="a")
            for _ in range(10):
                now_us = round(time.time() * 1e6)
                events.record(Event(ts_us=now_us, route="/", method="GET", status=200, duration_us=5, version="7"))
            assert events.close()
            text[0] = exposition(5.0, started_at)
            wanted = {"cpu_seconds": 5.0, "requests": 10, "cpu_seconds_per_request": 0.5, "version": "7"}
            until(lambda: cpu() == wanted, why="5 s for 10 requests")
            text[0] = exposition(1.5, started_at + 31)  # a new process under the same name
            until(lambda: cpu()["cpu_seconds"] == 6.5, why="5 s of the old process and 1.5 s of the new")
            server.shutdown()
            server.server_close()
            down = f'tidegauge_sampler_up{{sampler="process",source="{url}"}} 0.0'
            until(lambda: down in httpx.get(collector.url + "/metrics").text, why="the metric says so")
            sql = """SELECT argMax(value, ts) FROM samples WHERE series_id IN
              (SELECT series_id FROM series WHERE name = 'sampler_up' AND service = 'shop')"""
            until(lambda: client.query_rows(sql) == [(0.0,)], why="the record says so")
            assert cpu()["cpu_seconds"] == 6.5  # nothing is made up
        finally:
            client.close()
            collector.kill()
