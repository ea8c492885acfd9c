"""The slowest statements: from the driver on the embedded server, from pg_stat_statements where a server has it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from reference_app.database.statements import server_statements
from tests.integration.database_fixtures import Cluster, Server, cluster
from tests.integration.reference_app_fixtures import running_app, seed

__all__ = ["cluster"]
pytestmark = pytest.mark.server


async def test_the_embedded_server_counts_nothing_so_the_drivers_timings_are_told(cluster: Cluster):
    url = cluster.primary.url(cluster.new_database())
    seed(url)
    async with running_app(url) as app:
        for flight in (61, 62, 63):  # an answer that was given is kept: no statement
            assert (await app.client.get(f"/api/flights/{flight}")).status_code == 200
        answer = (await app.client.get("/internal/queries?limit=50")).json()["targets"]
    (primary,) = answer
    assert (primary["target"], primary["source"]) == ("primary", "driver")
    (one,) = [each for each in primary["statements"] if "inventory" in each["statement"]]
    assert (one["calls"], one["rows"], one["hit_ratio"]) == (3, 6, None)  # two cabins each time
    assert 0 < one["mean_ms"] <= one["max_ms"] <= one["total_ms"]
    totals = [each["total_ms"] for each in primary["statements"]]
    assert totals == sorted(totals, reverse=True)


@pytest.fixture(scope="module")
def counting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with pg_stat_statements: of the system, for the wheel has none."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    folders = [path for path in programs if (path / "postgres").exists()]
    if not folders or not list(Path("/usr/share/postgresql").glob("*/extension/pg_stat_statements.control")):
        pytest.skip("no PostgreSQL of the system with pg_stat_statements")
    with tempfile.TemporaryDirectory(prefix="tg-pgs-") as root:
        Path(root).chmod(0o755)
        server = Server.made_in(
            Path(root), programs=folders[0], settings="shared_preload_libraries = pg_stat_statements\n"
        )
        server.start()
        try:
            yield server
        finally:
            server.stop()


async def test_a_server_that_counts_statements_is_asked(counting: Server):
    counting.run("CREATE EXTENSION pg_stat_statements")
    counting.run("CREATE TABLE t AS SELECT n FROM generate_series(1, 1000) n")
    for number in (3, 4):
        counting.run(f"SELECT * FROM t WHERE n <= {number}")
    async with await psycopg.AsyncConnection.connect(counting.url(), autocommit=True) as connection:
        found = await server_statements(connection, 50)
    assert found is not None
    (one,) = [each for each in found if each.statement == "SELECT * FROM t WHERE n <= $1"]
    assert (one.calls, one.rows) == (2, 7)  # 3 rows and 4
    assert one.hit_ratio == 1.0  # the table was just written: its pages are in memory
    assert 0 < one.mean_ms <= one.max_ms <= one.total_ms
