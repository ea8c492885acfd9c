"""Which server answers: the replica when it is fit and has seen the caller's last write, else the primary."""

from __future__ import annotations

import concurrent.futures
import signal

import psycopg
import pytest

from reference_app.database import DatabaseDown
from reference_app.migrations import migrate, packaged_migrations
from tests.integration.database_fixtures import Cluster, cluster
from tests.integration.reference_app_fixtures import RunningApp, as_user, poll, running_app, seed

__all__ = ["cluster"]
pytestmark = pytest.mark.server


@pytest.fixture(autouse=True)
def no_cache_in_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every read here is to reach a database."""
    monkeypatch.setenv("REFERENCE_APP_L1", "off")


@pytest.fixture(scope="module")
def database(cluster: Cluster) -> str:
    name = cluster.new_database()
    seed(cluster.primary.url(name))
    cluster.wait_for_replica()
    return name


@pytest.fixture
def urls(cluster: Cluster, database: str) -> dict[str, str]:
    return {"database_url": cluster.primary.url(database), "replica_url": cluster.replica.url(database)}


async def target_of_a_read(app: RunningApp, **headers: str) -> str:
    # what is one's own is kept by no cache
    answer = await app.client.get("/api/users/me/bookings", headers=as_user(9, **headers))
    assert answer.status_code == 200, answer.text
    return app.trails[-1]["database_target"]


async def test_reads_go_to_the_replica_and_writes_to_the_primary(urls):
    async with running_app(urls["database_url"], replica_url=urls["replica_url"]) as app:
        await poll(lambda: app.parts.databases.replica_fit, what="the replica to be fit")
        assert await target_of_a_read(app) == "replica"
        made = await book_one(app, 1)
        assert made.status_code == 201
        assert app.trails[-1]["database_target"] == "primary"


async def test_a_read_after_ones_own_write_goes_to_the_primary_until_the_replica_has_replayed_it(
    cluster, urls, database
):
    async with running_app(urls["database_url"], replica_url=urls["replica_url"]) as app:
        await poll(lambda: app.parts.databases.replica_fit, what="the replica to be fit")
        cluster.replica.run("SELECT pg_wal_replay_pause()")
        try:
            made = await book_one(app, 2)
            position = made.headers["x-last-write"]
            own = await app.client.get(made.headers["location"], headers=as_user(2, **{"x-last-write": position}))
            assert (own.status_code, app.trails[-1]["database_target"]) == (200, "primary")
            by_cookie = await app.client.get(made.headers["location"], headers=as_user(2))  # the client keeps cookies
            assert (by_cookie.status_code, app.trails[-1]["database_target"]) == (200, "primary")
            app.client.cookies.clear()
            assert await target_of_a_read(app) == "replica"  # someone who has written nothing
        finally:
            cluster.replica.run("SELECT pg_wal_replay_resume()")
        cluster.wait_for_replica()
        high, low = position.split("/")
        written = int(high, 16) * 2**32 + int(low, 16)
        await poll(lambda: app.parts.databases.replicas[0].replayed >= written, what="the app to notice the replay")
        assert await target_of_a_read(app, **{"x-last-write": position}) == "replica"


async def test_a_dead_replica_fails_no_read_and_is_used_again_when_it_comes_back(cluster, urls):
    async with running_app(urls["database_url"], replica_url=urls["replica_url"]) as app:
        await poll(lambda: app.parts.databases.replica_fit, what="the replica to be fit")
        cluster.replica.stop(signal.SIGQUIT)
        assert await target_of_a_read(app) == "primary"
        await poll(lambda: not app.parts.databases.replica_fit, what="the app to notice")
        cluster.replica.start()
        await poll(lambda: app.parts.databases.replica_fit, what="the replica to be fit again")
        assert await target_of_a_read(app) == "replica"


async def test_a_lagging_replica_is_taken_out_and_comes_back(cluster, urls, database):
    async with running_app(urls["database_url"], replica_url=urls["replica_url"]) as app:
        app.parts.databases._max_lag_seconds = 0.5
        await poll(lambda: app.parts.databases.replica_fit, what="the replica to be fit")
        cluster.replica.run("SELECT pg_wal_replay_pause()")
        try:
            cluster.primary.run("CREATE TABLE something_to_replay (n int)", database)
            await poll(lambda: not app.parts.databases.replica_fit, what="the lag to be noticed")
            assert await target_of_a_read(app) == "primary"
        finally:
            cluster.replica.run("SELECT pg_wal_replay_resume()")
        await poll(lambda: app.parts.databases.replica_fit, what="the replica to be fit again")


async def test_a_server_that_is_no_replica_is_not_read_as_one(urls):
    async with running_app(urls["database_url"], replica_url=urls["database_url"]) as app:
        watched = app.parts.databases
        await poll(lambda: len(watched._positions) >= 2, what="two looks at the servers")
        assert not watched.replica_fit
        assert await target_of_a_read(app) == "primary"


async def test_without_a_database_the_app_is_alive_and_not_ready_and_says_so(tmp_path):
    async with running_app(f"postgresql://postgres@/none?host={tmp_path}") as app:
        alive = await app.client.get("/healthz")
        ready = await app.client.get("/readyz")
        with pytest.raises(DatabaseDown):
            await target_fails(app)
    assert (alive.status_code, ready.status_code) == (200, 503)
    assert ready.headers["content-type"] == "application/problem+json"
    assert ready.headers["retry-after"]


async def target_fails(app: RunningApp) -> None:
    answer = await app.client.get("/api/flights/61")
    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
    raise DatabaseDown(answer.json()["detail"])


async def test_without_a_schema_the_app_is_not_ready(cluster):
    async with running_app(cluster.primary.url(cluster.new_database())) as app:
        ready = await app.client.get("/readyz")
    assert ready.status_code == 503


def test_many_replicas_that_migrate_and_seed_at_once_do_it_once(cluster):
    url = cluster.primary.url(cluster.new_database())
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(seed, [url] * 4))
    with psycopg.connect(url, autocommit=True) as connection:
        counts = connection.execute(
            "SELECT (SELECT count(*) FROM schema_migrations), (SELECT count(*) FROM airports),"
            " (SELECT count(*) FROM flight_instances), (SELECT count(*) FROM inventory)"
        ).fetchone()
        assert migrate(connection, packaged_migrations()) == []
    flying = 60 * 61  # 60 flights a day, today and the 60 days after it
    assert counts == (len(packaged_migrations()), 40, flying, 2 * flying)


async def book_one(app: RunningApp, user: int):
    body = {"flight_id": 61, "class": "economy", "passengers": 1}
    key = {"Idempotency-Key": f"database-{user}"}
    return await app.client.post("/api/bookings", json=body, headers=as_user(user, **key))
