"""Three replicas with purposes of their own: who is read for what, and what happens when one dies or lags."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from datetime import UTC, date, datetime

import pytest

from reference_app.database import DatabaseBusy, DeadlinePassed, Session, database_settings, databases_of
from reference_app.stores.flights import Airport
from tests.integration.database_fixtures import Cluster, Server, cluster
from tests.integration.reference_app_fixtures import RunningApp, as_user, poll, running_app, seed

__all__ = ["cluster"]
pytestmark = pytest.mark.server

AIRPORT = "SELECT code, name, city, country, region, latitude, longitude FROM airports WHERE code = 'JFK'"
REGION = {"search": "us-east-1", "analytics": "us-west-2", "profiles": "eu-west-1"}


@pytest.fixture(scope="module")
def replicas(cluster: Cluster) -> dict[str, Server]:
    return {"search": cluster.replica, **{name: cluster.new_replica(name) for name in ("analytics", "profiles")}}


@pytest.fixture(scope="module")
def database(cluster: Cluster, replicas: dict[str, Server]) -> str:
    name = cluster.new_database()
    seed(cluster.primary.url(name))
    cluster.wait_for_replica()
    return name


@pytest.fixture
def all_three(cluster: Cluster, replicas: dict[str, Server], database: str) -> dict[str, str]:
    listed = " ".join(f"{name}@{REGION[name]}={server.url(database)}" for name, server in replicas.items())
    return {"database_url": cluster.primary.url(database), "REFERENCE_APP_REPLICAS": listed}


async def until_all_are_read(app: RunningApp) -> None:
    fit = [replica.name for replica in app.parts.databases.replicas]
    assert fit == ["replica-search", "replica-analytics", "replica-profiles"]
    await poll(lambda: all(replica.fit for replica in app.parts.databases.replicas), what="all replicas to be fit")


async def target_of(app: RunningApp, purpose: str = "search", **session: object) -> str:
    seen = Session(**session)
    assert await app.parts.databases.read(Airport, AIRPORT, {}, session=seen, purpose=purpose)
    return seen.trail["database_target"]


async def test_each_purpose_is_read_from_its_own_replica(all_three):
    async with running_app(**all_three) as app:
        await until_all_are_read(app)
        await app.client.get("/api/flights/61")
        assert app.trails[-1]["database_target"] == "replica-search"
        await app.client.get("/api/users/me", headers=as_user(1))
        assert app.trails[-1]["database_target"] == "replica-profiles"
        seen = Session()
        await app.parts.reports.revenue_by_route(date(2030, 5, 1), limit=5, session=seen)
        assert seen.trail["database_target"] == "replica-analytics"


async def test_of_two_replicas_of_a_purpose_the_one_of_the_callers_region_is_read(all_three, replicas, database):
    near = f"search@eu-west-1={replicas['profiles'].url(database)}"
    both = {**all_three, "REFERENCE_APP_REPLICAS": f"{all_three['REFERENCE_APP_REPLICAS']} {near}"}
    async with running_app(**both) as app:
        await poll(lambda: all(replica.fit for replica in app.parts.databases.replicas), what="all to be fit")
        searched = [replica for replica in app.parts.databases.replicas if replica.purpose == "search"]
        for replica in searched:
            replica.name = replica.region
        assert await target_of(app, region="eu-west") == "eu-west-1"
        assert await target_of(app, region="us-east") == "us-east-1"
        assert await target_of(app, region="us-west") == "us-east-1"  # none there: the first


async def test_one_who_has_written_reads_from_the_primary_until_the_replica_has_it(cluster, replicas, all_three):
    async with running_app(**all_three) as app:
        await until_all_are_read(app)
        replicas["profiles"].run("SELECT pg_wal_replay_pause()")
        try:
            cluster.primary.run("SELECT pg_logical_emit_message(true, 'a', 'b')")
            position = await app.parts.databases.written_position()
            assert await target_of(app, "profiles", last_write=position) == "primary"
            assert await target_of(app, "profiles") == "replica-profiles"  # others do not care
        finally:
            replicas["profiles"].run("SELECT pg_wal_replay_resume()")
        replica = app.parts.databases.replicas[2]
        await poll(lambda: replica.replayed >= position, what="the replay to be noticed")
        assert await target_of(app, "profiles", last_write=position) == "replica-profiles"


async def test_a_replica_killed_while_it_is_read_fails_no_read_and_comes_back_by_itself(all_three, replicas):
    async with running_app(**all_three) as app:
        await until_all_are_read(app)
        targets: Counter[str] = Counter()
        stopped = asyncio.Event()

        async def reading() -> None:
            while not stopped.is_set():
                targets[await target_of(app)] += 1

        readers = [asyncio.create_task(reading()) for _ in range(4)]
        await poll(lambda: targets["replica-search"] > 50, what="reads from the replica")
        await asyncio.to_thread(replicas["search"].stop, signal.SIGKILL)
        await poll(lambda: targets["primary"] > 50, what="reads from the primary")
        assert (await target_of(app, "analytics"), await target_of(app, "profiles")) == (
            "replica-analytics",
            "replica-profiles",
        )
        await asyncio.to_thread(replicas["search"].start)
        before = targets["replica-search"]
        await poll(lambda: targets["replica-search"] > before + 50, what="reads from the replica that came back")
        stopped.set()
        await asyncio.gather(*readers)  # raises what any read raised
        assert app.parts.databases.replicas[0].taken_out_total == 1


async def test_a_lagging_replica_is_taken_out_alone_and_its_lag_is_recorded(cluster, replicas, all_three):
    async with running_app(**all_three, REFERENCE_APP_REPLICA_MAX_LAG_SECONDS="0.5") as app:
        await until_all_are_read(app)
        replicas["analytics"].run("SELECT pg_wal_replay_pause()")
        try:
            cluster.primary.run("SELECT pg_logical_emit_message(true, 'a', repeat('b', 9000))")
            lagging = app.parts.databases.replicas[1]
            await poll(lambda: not lagging.fit, what="the lag to be noticed", seconds=10)
            assert (await target_of(app, "analytics"), await target_of(app)) == ("primary", "replica-search")
            seen = (await app.client.get("/internal/databases")).json()["targets"][2]
            assert (seen["target"], seen["purpose"], seen["region"]) == ("replica-analytics", "analytics", "us-west-2")
            assert (seen["in_use"], seen["lag_seconds"] > 0.5, seen["lag_bytes"] >= 9000) == (False, True, True)
            metrics = (await app.client.get("/metrics")).text
            assert 'reference_app_replica_fit{target="replica-analytics"} 0.0' in metrics
            assert 'reference_app_replica_lag_seconds{target="replica-analytics"}' in metrics
        finally:
            replicas["analytics"].run("SELECT pg_wal_replay_resume()")
        await poll(lambda: lagging.fit, what="the replica to come back")
        assert await target_of(app, "analytics") == "replica-analytics"


async def test_when_no_connection_becomes_free_in_two_seconds_the_answer_is_503_with_retry_after(cluster, database):
    small = {"REFERENCE_APP_POOL_MIN": "1", "REFERENCE_APP_POOL_MAX": "2"}
    async with running_app(cluster.primary.url(database), **small) as app:
        databases = app.parts.databases
        async with databases.write(Session()), databases.write(Session()):
            async with asyncio.timeout(10):  # it would hang else
                refused = await app.client.get("/api/flights/61")
                with pytest.raises(DatabaseBusy):
                    await target_of(app)
            metrics = (await app.client.get("/metrics")).text
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert refused.json()["type"].endswith("database-busy")
        assert (await app.client.get("/api/flights/61")).status_code == 200
        seen = (await app.client.get("/internal/databases")).json()["targets"][0]["pool"]
    assert (seen["pool_min"], seen["pool_max"]) == (1, 2)
    assert 'reference_app_pool_size{target="primary"} 2.0' in metrics
    assert 'reference_app_pool_timeouts_total{target="primary"} 2.0' in metrics  # the request and the read


async def test_a_request_whose_time_is_nearly_over_takes_no_longer_in_the_database(cluster, database):
    asleep = "SELECT code, name, city, country, region, latitude, longitude FROM airports, pg_sleep(20)"
    async with running_app(cluster.primary.url(database)) as app:
        databases = app.parts.databases

        def hasty(seconds: float) -> Session:
            return Session(deadline=time.monotonic() + seconds)

        async with asyncio.timeout(10):
            with pytest.raises(DeadlinePassed, match="statement timeout"):
                await databases.read(Airport, asleep, {}, session=hasty(0.3))
            with pytest.raises(DeadlinePassed, match="statement timeout"):
                async with databases.write(hasty(0.3)) as connection:
                    await connection.execute("SELECT pg_sleep(20)")
            with pytest.raises(DeadlinePassed, match="the request's time is over"):
                await databases.read(Airport, AIRPORT, {}, session=hasty(-0.1))
        # the next one has its usual time, though it gets the same connection
        limits = "SELECT setting AS code, '' AS name, '' AS city, '' AS country, '' AS region, 0.0::float8 AS latitude,"
        limits += " 0.0::float8 AS longitude FROM pg_settings WHERE name = 'statement_timeout'"
        found = await asyncio.gather(*(databases.read(Airport, limits, {}, session=Session()) for _ in range(4)))
        assert {rows[0].code for rows in found} == {"3000"}


async def test_while_the_app_runs_the_quarters_of_the_year_ahead_are_made(cluster, database):
    later = datetime(2031, 5, 1, tzinfo=UTC)  # a year after the seed's day, which made those until 2031q2
    outer = {name: value for name, value in os.environ.items() if name.startswith("REFERENCE_APP_")}
    settings = database_settings({**outer, "REFERENCE_APP_DATABASE_URL": cluster.primary.url(database)})
    databases = databases_of(settings, instance="test", now=lambda: later)
    quarters = "SELECT name FROM missing_booking_partitions('2031-05-01Z', '2032-05-01Z')"
    assert cluster.primary.run(quarters, database) == [
        (f"bookings_{name}",) for name in ("2031q3", "2031q4", "2032q1", "2032q2")
    ]
    await databases.open()
    try:
        await poll(lambda: not cluster.primary.run(quarters, database), what="the quarters", seconds=10)
        await poll(lambda: databases.keeper.missing == 0, what="the app to see that none is missing")
    finally:
        await databases.close()
