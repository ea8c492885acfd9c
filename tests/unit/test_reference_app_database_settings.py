"""What is set about the databases, and what is measured of statements: without a server."""

from __future__ import annotations

import psycopg
import pytest

from reference_app.database.pools import connected, open_pool
from reference_app.database.settings import PoolTerms, ReplicaSetting, database_settings
from reference_app.database.statements import OTHERS, StatementTimings
from reference_app.environment import SettingError


def test_the_pools_have_the_terms_that_are_promised():
    usual = database_settings({}).pool
    assert (usual.min_size, usual.max_size >= 4) == (2, True)
    assert (usual.acquire_seconds, usual.connect_seconds, usual.close_seconds) == (2.0, 5.0, 1.0)
    assert (usual.idle_seconds, usual.retry_seconds) == (30.0, 0.2)


def test_every_term_of_the_pools_can_be_set():
    names = ("MIN", "MAX", "ACQUIRE_MS", "CONNECT_MS", "CLOSE_MS", "IDLE_MS", "RETRY_MS")
    given = {f"REFERENCE_APP_POOL_{name}": str(value) for name, value in zip(names, range(3, 10), strict=True)}
    assert database_settings(given).pool == PoolTerms(3, 4, 0.005, 0.006, 0.007, 0.008, 0.009)


def test_a_pool_that_may_have_fewer_connections_than_it_must_is_refused():
    with pytest.raises(SettingError, match="REFERENCE_APP_POOL_MAX: expected a number of at least 5, got '4'"):
        database_settings({"REFERENCE_APP_POOL_MIN": "5", "REFERENCE_APP_POOL_MAX": "4"})


def test_replicas_have_a_purpose_and_a_region():
    given = "search@us-east-1=postgresql://a/x profiles@eu-west-1=postgresql://b/x?c=d"
    settings = database_settings({"REFERENCE_APP_REPLICAS": given, "REFERENCE_APP_REPLICA_URL": "postgresql://c/x"})
    assert settings.replicas == (
        ReplicaSetting("search", "us-east-1", "postgresql://a/x"),
        ReplicaSetting("profiles", "eu-west-1", "postgresql://b/x?c=d"),
        ReplicaSetting("", "", "postgresql://c/x"),
    )


@pytest.mark.parametrize("text", ["postgresql://u:secret@h/d", "cooking@us-east-1=postgresql://u:secret@h/d", "search"])
def test_a_replica_that_is_not_as_expected_is_refused_without_its_password(text):
    with pytest.raises(SettingError, match="REFERENCE_APP_REPLICAS: expected <purpose>@<region>=<url>") as refused:
        database_settings({"REFERENCE_APP_REPLICAS": text})
    assert "secret" not in str(refused.value)


def test_what_is_switched_off_is_switched_off_in_every_session():
    assert database_settings({}).session_options == ""
    off = {"REFERENCE_APP_PARTITION_PRUNING": "off", "REFERENCE_APP_INDEX_SCANS": "off"}
    words = database_settings(off).session_options.split(" -c ")
    assert {"enable_partition_pruning=off", "enable_indexscan=off", "enable_bitmapscan=off"} < set(words)


def test_a_switch_is_on_or_off():
    with pytest.raises(SettingError, match="REFERENCE_APP_READ_REPLICAS: expected on or off, got 'no'"):
        database_settings({"REFERENCE_APP_READ_REPLICAS": "no"})


def test_timings_are_kept_by_statement_and_the_worst_in_all_comes_first():
    timings = StatementTimings()
    timings.note("SELECT 1\n  FROM a", 0.010, 3)
    timings.note("SELECT 1\n  FROM a", 0.030, 1)
    timings.note("COMMIT", 0.050, -1)
    worst, second = timings.slowest(10)
    assert (worst.statement, worst.calls, worst.rows, worst.hit_ratio) == ("COMMIT", 1, 0, None)
    assert (second.statement, second.calls, second.rows) == ("SELECT 1 FROM a", 2, 4)
    # 10 ms + 30 ms = 40 ms in all, 20 ms in the mean
    assert (round(second.total_ms, 6), round(second.mean_ms, 6), round(second.max_ms, 6)) == (40.0, 20.0, 30.0)
    assert timings.slowest(1) == [worst]


def test_statements_beyond_the_bound_are_counted_together():
    timings = StatementTimings(most=2)
    for text in ("a", "b", "c", "d", "a"):
        timings.note(text, 1.0, 0)
    assert {each.statement: each.calls for each in timings.slowest(10)} == {"a": 2, "b": 1, OTHERS: 2}


async def test_a_connection_that_fails_is_tried_again_until_there_is_one():
    came: list[str] = []

    async def connect(url: str, **_: object) -> str:
        came.append(url)
        if len(came) < 3:
            raise psycopg.OperationalError("refused")
        return "a connection"

    assert await connected(connect, "the url", {}, retry_seconds=0.0) == "a connection"
    assert came == ["the url"] * 3


async def test_connecting_is_given_up_when_its_time_is_over(tmp_path):
    terms = PoolTerms(connect_seconds=0.05, retry_seconds=0.01)
    pool = open_pool(f"postgresql:///none?host={tmp_path}", name="test", terms=terms)
    with pytest.raises(psycopg.OperationalError, match=r"no connection within 0\.05 s"):
        await pool.connection_class.connect(pool.conninfo)
