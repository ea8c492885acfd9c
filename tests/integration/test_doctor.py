"""The doctor before real servers: store, PostgreSQL with its replica, collector with tokens, Prometheus."""

from __future__ import annotations

import asyncio
import json
import time

import pytest
from starlette.responses import Response
from typer.testing import CliRunner

from collector.clickhouse import ClickHouseSettings
from collector.security import Guarded, read_security
from tests.integration.collector_fixtures import unused_port
from tests.integration.database_fixtures import Cluster, cluster, wait_until
from tests.integration.edge_fixtures import served
from tests.integration.prometheus_fixtures import running_prometheus
from tests.integration.store_fixtures import shared_store_url
from tidegauge.cli import app
from tidegauge.doctor import probes
from tidegauge.doctor.checks import check_clock, check_database, check_store
from tidegauge.doctor.facts import Answer, Database, Store, Unreachable

__all__ = ["cluster", "shared_store_url"]
pytestmark = pytest.mark.server


def test_a_real_store_is_well_and_one_that_is_not_there_says_why(shared_store_url: str):
    store = probes.ask_store(ClickHouseSettings(url=shared_store_url))
    away = probes.ask_store(ClickHouseSettings(url=f"http://127.0.0.1:{unused_port()}"))

    assert isinstance(store, Store)
    assert {each.state for each in check_store(store, wanted=True, cluster=None)} <= {"well", "left out"}
    assert check_clock("clickhouse", store.clock, time.time()).state == "well"
    assert isinstance(away, Unreachable)


def test_a_real_primary_is_well_and_its_replica_is_told_from_it(cluster: Cluster):
    def streams() -> Database | None:
        seen = probes.ask_database(cluster.primary.url("postgres"))
        assert isinstance(seen, Database)
        return seen if [each.state for each in seen.followers] == ["streaming"] else None

    primary = wait_until(streams, what="the replica to stream")
    replica = probes.ask_database(cluster.replica.url("postgres"))

    assert [each.state for each in check_database(primary)] == ["well"]
    assert [each.state for each in check_database(replica)] == ["broken"]


def test_a_real_prometheus_tells_how_many_series_a_counter_has(tmp_path):
    with running_prometheus(tmp_path) as url:
        answer = probes.ask_http("GET", url, headers={}, query="count(requests_total{})")

    assert isinstance(answer, Answer)
    assert (answer.status, answer.series) == (200, 0)
    assert answer.clock is not None


async def test_the_command_finds_the_one_token_that_the_collector_does_not_know(
    shared_store_url, monkeypatch, tmp_path
):
    """The collector's own guard, with nothing behind it: who may ask is all that is asked."""
    tokens = {f"TIDEGAUGE_{role}_TOKEN": f"{role.lower()}-token-0123456789" for role in ("INGEST", "READ", "ADMIN")}
    guarded = Guarded(Response("{}"), read_security(tokens, host="0.0.0.0"))
    async with served(guarded, lifespan="off") as url:
        given = {
            **tokens, "TIDEGAUGE_READ_TOKEN": "another-token-0123456789", "TIDEGAUGE_COLLECTOR_URL": url,
            "TIDEGAUGE_CLICKHOUSE_URL": shared_store_url, "TIDEGAUGE_DATA": str(tmp_path),
        }  # fmt: skip
        for name, value in given.items():
            monkeypatch.setenv(name, value)
        said = await asyncio.to_thread(CliRunner().invoke, app, ["doctor", "--json"])

    assert said.exit_code == 1, said.output
    broken = [each["check"] for each in json.loads(said.stdout) if each["state"] == "broken"]
    assert broken == ["token to read"]
    assert "another-token" not in said.output
