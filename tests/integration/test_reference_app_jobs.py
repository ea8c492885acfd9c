"""Jobs on a real Valkey and PostgreSQL: ordered with the booking, tried again, done once, and not lost by any kill."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from reference_app.database import DatabaseDown, Session
from reference_app.jobs.relay import Relay
from reference_app.jobs.report import report_jobs
from reference_app.jobs.terms import JobTerms, Task
from reference_app.stores import outbox
from reference_app.stores.outbox import Message
from tests.integration.booking_fixtures import AS_ADMIN, BuiltApp, built_app, environment, jobs_process, working
from tests.integration.database_fixtures import Cluster, cluster, running_valkey, valkey_at
from tests.integration.reference_app_fixtures import as_user, poll, seed

__all__ = ["cluster"]
pytestmark = pytest.mark.server

FAST = {"REFERENCE_APP_JOB_BACKOFF_MS": "20", "REFERENCE_APP_JOB_LOCK_MS": "1000", "REFERENCE_APP_JOB_LOST_MS": "500"}


@pytest.fixture
def database(cluster: Cluster) -> str:
    name = cluster.new_database()
    seed(cluster.primary.url(name))
    return name


@pytest.fixture
def url(cluster: Cluster, database: str) -> str:
    return cluster.primary.url(database)


@pytest.fixture(scope="module")
def shared_redis() -> Iterator[str]:
    with running_valkey() as (redis_url, _):
        yield redis_url


@pytest.fixture
def redis_url(shared_redis: str) -> str:
    import redis

    with redis.Redis.from_url(shared_redis) as client:
        client.flushall()
    return shared_redis


def count(cluster: Cluster, database: str, query: str) -> int:
    return cluster.primary.run(f"SELECT count(*) FROM {query}", database)[0][0]


async def order(app: BuiltApp, *messages: Message) -> None:
    async with app.parts.databases.write(Session()) as connection:
        await outbox.put(connection, messages)


async def relay_all(relay, queues, *, until) -> None:
    """Relay until `until` is true."""
    deadline = asyncio.get_running_loop().time() + 30
    while not await until():
        assert asyncio.get_running_loop().time() < deadline, "waited 30 s for the jobs"
        await relay.relay_once()
        await asyncio.sleep(0.02)


async def test_a_booking_writes_its_mail_by_a_job_and_not_within_the_request(
    cluster, database, url, redis_url, tmp_path
):
    # Measure: REFERENCE_APP_JOBS. Switched off, the request writes the mail itself.
    own = FAST | {"REFERENCE_APP_MAIL_FOLDER": str(tmp_path / "mail")}
    async with built_app(url, **own) as app:
        made = await app.book(1, "mailed-by-job-1")
        assert made.status_code == 201
        assert not list(tmp_path.rglob("*.eml"))
        async with working(app, redis_url, tmp_path / "mail") as (relay, queues, workers):

            async def done() -> bool:
                return workers.done_total["email"] == 1 and workers.done_total["analytics"] == 1

            await relay_all(relay, queues, until=done)
    (mail,) = tmp_path.rglob("*.eml")
    assert f"booking {made.json()['id']}, " in mail.read_text()
    assert count(cluster, database, "outbox") == 0
    assert cluster.primary.run("SELECT bookings, passengers FROM daily_sales", database) == [(1, 1)]


async def test_a_job_that_was_run_twice_has_its_effect_once(cluster, database, url, tmp_path):
    async with built_app(url) as app:
        await app.book(2, "counted-once-1", passengers=3)
        async with app.parts.outbox.batch(limit=100) as batch:
            (sale,) = [task for task in batch.tasks if task.name == "count-sale"]
        for _ in range(3):
            await app.work(tmp_path).run(sale)
    assert cluster.primary.run("SELECT bookings, passengers FROM daily_sales", database) == [(1, 3)]


async def test_a_job_that_fails_is_tried_three_times_with_growing_pauses_and_then_given_up(
    cluster, database, url, redis_url, tmp_path
):
    at: list[float] = []
    async with (
        built_app(url, **FAST | {"REFERENCE_APP_JOB_BACKOFF_MS": "200"}) as app,
        working(app, redis_url, tmp_path) as (relay, queues, workers),
    ):

        async def fails(_: Task) -> None:
            at.append(asyncio.get_running_loop().time())
            raise OSError("the mail server is away")

        workers._run = fails
        await order(app, Message("email", "booking-confirmed", {"booking_id": 1}, "fails-1"))

        async def given_up() -> bool:  # the worker counts it, and only then moves it
            return (await queues.counts())["email"]["failed"] == 1

        await relay_all(relay, queues, until=given_up)
        states = await queues.counts()
        assert workers.failed_total["email"] == 1
    assert (len(at), workers.retried_total["email"]) == (3, 2)
    assert at[1] - at[0] >= 0.2  # 200 ms, then twice that
    assert at[2] - at[1] >= 0.4
    assert states["email"]["failed"] == 1
    with psycopg.connect(url, autocommit=True) as connection:
        (failed,) = report_jobs(connection, []).failed
        again = report_jobs(connection, [failed.id])
    assert (failed.name, failed.failure) == ("booking-confirmed", "OSError: the mail server is away")
    assert (again.ordered_anew, again.failed, again.waiting) == (1, [], {"email": 1})
    assert "email 1" in again.text(as_json=False)


async def test_a_database_that_is_away_costs_a_job_no_attempt(cluster, database, url, redis_url, tmp_path):
    ran = 0
    async with built_app(url, **FAST) as app, working(app, redis_url, tmp_path) as (relay, queues, workers):

        async def away_at_first(_: Task) -> None:
            nonlocal ran
            ran += 1
            if ran <= 2:
                raise DatabaseDown("it was restarted")

        workers._run = away_at_first
        await order(app, Message("email", "x", {}, "away-1"))

        async def done() -> bool:
            return workers.done_total["email"] == 1

        await relay_all(relay, queues, until=done)
    assert (ran, workers.retried_total["email"], workers.failed_total["email"]) == (3, 0, 0)


def test_the_stated_terms_are_the_defaults():
    terms = JobTerms()
    assert dict(terms.concurrency) == {"email": 10, "payments": 5, "analytics": 2}
    assert (terms.attempts, terms.backoff_seconds, terms.keep_done, terms.keep_failed) == (3, 2.0, 100, 50)


async def test_a_worker_runs_as_many_jobs_of_a_queue_at_once_as_its_concurrency_says(url, redis_url, tmp_path):
    async with built_app(url, **FAST) as app:
        running: dict[str, int] = {"email": 0, "analytics": 0}
        most = dict(running)

        async def counted(task: Task) -> None:
            running[task.queue] += 1
            most[task.queue] = max(most[task.queue], running[task.queue])
            await asyncio.sleep(0.05)
            running[task.queue] -= 1

        async with working(app, redis_url, tmp_path) as (relay, queues, workers):
            workers._run = counted
            await order(app, *(Message(queue, "x", {}, f"{queue}-{n}") for queue in running for n in range(40)))

            async def done() -> bool:
                return all(workers.done_total[queue] == 40 for queue in running)

            await relay_all(relay, queues, until=done)
    assert most == {"email": 10, "analytics": 2}


async def test_the_more_urgent_job_of_a_queue_is_run_first_and_the_last_hundred_are_kept(url, redis_url, tmp_path):
    ran: list[str] = []
    async with built_app(url, **FAST, REFERENCE_APP_JOB_CONCURRENCY_EMAIL="1") as app:
        await order(app, *(Message("email", "later", {}, f"later-{n}", 10) for n in range(110)))
        await order(app, Message("email", "urgent", {}, "urgent-1", 1))
        async with working(app, redis_url, tmp_path) as (relay, queues, workers):

            async def noted(task: Task) -> None:
                ran.append(task.name)

            workers._run = noted
            await relay.relay_once()

            async def done() -> bool:
                return workers.done_total["email"] == 111

            await relay_all(relay, queues, until=done)
            kept = await queues.counts()
    assert "urgent" in ran[:2]  # the first may have begun before
    assert kept["email"]["completed"] == 100


async def test_what_redis_has_lost_is_enqueued_again_from_the_outbox(cluster, database, url, redis_url, tmp_path):
    import redis

    async with built_app(url, **FAST) as app:
        await app.book(3, "redis-lost-it-1")
        async with working(app, redis_url, tmp_path) as (relay, queues, workers):
            for worker in workers._workers:
                await worker.pause(True)
            await relay.relay_once()
            with redis.Redis.from_url(redis_url) as client:
                client.flushall()  # as a Redis without a disk comes back from a kill
            for worker in workers._workers:
                worker.resume()

            async def done() -> bool:
                await relay.find_lost_once()
                return workers.done_total["email"] == 1 and workers.done_total["analytics"] == 1

            await relay_all(relay, queues, until=done)
    assert relay.found_lost_total == 2
    assert count(cluster, database, "outbox") == 0


async def test_what_changed_is_told_to_the_caches_after_the_commit_with_the_tags_of_what_shows_it(url):
    told: list[tuple[str, frozenset[str]]] = []

    async def publish(event, tags, *, committed_at=None) -> None:
        assert committed_at is not None
        told.append((event, frozenset(tags)))

    async with built_app(url) as app:
        made = (await app.book(4, "told-to-caches-1", flight_id=61)).json()
        await app.client.patch("/api/users/me", json={"name": "Grace"}, headers=as_user(4))
        await app.client.post("/api/admin/prices", json={"airport": "JFK", "add_cents": 1}, headers=AS_ADMIN)
        async with app.parts.outbox.batch(limit=100) as batch:  # jobs are not what is looked at here
            await batch.done([task for task in batch.tasks if task.queue != "events"])
        relay = Relay(app.parts.outbox, NoQueues(), publish, lost_seconds=30)
        assert await relay.relay_once() == 3
        assert await relay.relay_once() == 0
    seats = f"seats:{made['origin']}-{made['destination']}:{made['date']}"
    assert dict(told) == {
        "inventory.updated": {seats, "flight:61"},
        "user.updated": {"user:4"},
        "pricing.updated": {"pricing-rules", "airport:JFK"},
    }


class NoQueues:
    """Takes no jobs."""

    async def add(self, tasks) -> None:
        assert not tasks

    async def state(self, task) -> str:
        raise AssertionError(task)


async def test_killing_the_worker_and_redis_under_load_loses_no_booking_and_no_job(cluster, database, url, tmp_path):
    # 60 bookings, 10 of them cancelled, while worker and Redis are killed (SIGKILL) again and again.
    own = FAST | {"REFERENCE_APP_MAIL_FOLDER": str(tmp_path / "mail"), "REFERENCE_APP_JOB_LOST_MS": "1000"}
    socket_path = Path(tempfile.mkdtemp(prefix="tg-vk-")) / "valkey.sock"  # a socket's path must be short
    redis_url = f"unix://{socket_path}"
    settings = environment(url, **own, REFERENCE_APP_REDIS_URL=redis_url)
    made: list[int] = []
    async with built_app(url, **own, REFERENCE_APP_REDIS_URL=redis_url) as app:

        async def load() -> None:
            for n in range(60):
                answer = await app.book(1 + n % 20, f"under-load-{n}", flight_id=200 + n % 5)
                assert answer.status_code == 201, answer.text
                made.append(answer.json()["id"])
                if n % 6 == 0:
                    await app.client.post(f"/api/bookings/{made[-1]}/cancel", headers=as_user(1 + n % 20))
                await asyncio.sleep(0.05)

        loading = asyncio.create_task(load())
        for _ in range(2):
            with killed_valkey(socket_path), jobs_process(settings) as worker:
                await poll(
                    lambda: count(cluster, database, "outbox WHERE published_at IS NOT NULL") > 0, what="jobs in Redis"
                )
                os.kill(worker.pid, signal.SIGKILL)
        await loading
        with killed_valkey(socket_path), jobs_process(settings):
            await poll(lambda: count(cluster, database, "outbox") == 0, what="every job to be done", seconds=60)
    assert len(made) == 60
    kept = (
        "bookings WHERE status = 'confirmed'",
        "bookings WHERE status = 'cancelled'",
        "payments WHERE status = 'refunded'",
    )
    assert [count(cluster, database, query) for query in kept] == [50, 10, 10]
    # 60 confirmations and 10 cancellations were mailed, 60 sales and 10 returns counted, 10 payments given back
    assert count(cluster, database, "done_jobs") == 60 + 10 + 60 + 10 + 10
    sums = "SELECT sum(bookings), sum(returned_bookings) FROM daily_sales"
    assert cluster.primary.run(sums, database) == [(60, 10)]


@contextmanager
def killed_valkey(path: Path) -> Iterator[None]:
    """Run a Valkey without a disk at this socket, and kill it at the end: it forgets everything."""
    path.unlink(missing_ok=True)
    process = valkey_at(path)
    try:
        yield
    finally:
        process.kill()
        process.wait(10)
