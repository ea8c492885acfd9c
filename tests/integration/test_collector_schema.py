"""The schema and the engine: ClickHouse's own parser takes the cluster's DDL, and retention follows the settings."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from collector.clickhouse import ClickHouseSettings, connect, migrate
from collector.record.store import SCHEMA_FOLDER, SCHEMA_OWNER
from tests.integration.store_fixtures import shared_store_url  # noqa: F401 - a fixture

pytestmark = pytest.mark.server
GOLDEN = Path(__file__).parents[1] / "unit" / "golden" / "schema"


def test_clickhouses_parser_takes_every_golden_statement(shared_store_url: str) -> None:  # noqa: F811 - the fixture
    client = connect(ClickHouseSettings(url=shared_store_url, database="default"))
    files = [*GOLDEN.glob("*/*.sql"), GOLDEN / "reader.sql"]
    assert len(files) > 10
    for path in files:
        for statement in path.read_text().split(";\n\n")[:-1]:
            formatted = client.query_rows("SELECT formatQuery({statement:String})", {"statement": statement})[0][0]
            assert formatted, (path, statement)
    client.close()


def test_a_statement_that_is_none_is_refused_by_that_parser(shared_store_url: str) -> None:  # noqa: F811
    client = connect(ClickHouseSettings(url=shared_store_url, database="default"))
    text = "CREATE TABLE a ON CLUSTER 'c' (x String) ENGINE ReplicatedMergeTree(' ORDER BY x"
    sql = "SELECT formatQueryOrNull({statement:String}) IS NULL"
    assert client.query_rows(sql, {"statement": text}) == [(1,)]
    client.close()


def test_retention_follows_the_settings_and_goes_back_to_the_migrations_own(shared_store_url: str) -> None:  # noqa: F811
    database = f"t_{uuid.uuid4().hex[:12]}"

    def ttl_under(retention_days: dict[str, int]) -> str:
        client = connect(ClickHouseSettings(url=shared_store_url, database=database, retention_days=retention_days))
        migrate(client, SCHEMA_FOLDER, owner=SCHEMA_OWNER)
        sql = "SELECT create_table_query FROM system.tables WHERE database = currentDatabase() AND name = 'red_1m'"
        query = str(client.query_rows(sql)[0][0])
        client.close()
        return query.split(" TTL ")[1].split(" SETTINGS")[0]

    assert ttl_under({}) == "minute + toIntervalDay(95)"
    assert ttl_under({"red_1m": 400}) == "minute + toIntervalDay(400)"
    assert ttl_under({"red_1m": 400}) == "minute + toIntervalDay(400)"
    assert ttl_under({}) == "minute + toIntervalDay(95)"
