"""Processes: the job worker that lets holds expire, and a replica that finishes what it accepted before it stops."""

from __future__ import annotations

import asyncio
import signal
import threading
from datetime import UTC, datetime

import httpx
import pytest

from reference_app.prepare import SeedTerms, prepare
from tests.integration.booking_fixtures import built_app, environment, jobs_process
from tests.integration.database_fixtures import Cluster, cluster, running_valkey, wait_until
from tests.integration.reference_app_fixtures import app_process, as_user, poll

__all__ = ["cluster"]
pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def today() -> datetime:
    return datetime.now(UTC)


@pytest.fixture(scope="module")
def database(cluster: Cluster, today: datetime) -> str:
    name = cluster.new_database()
    prepare(cluster.primary.url(name), today=today.date(), terms=SeedTerms())
    return name


async def test_the_worker_lets_holds_expire_and_mails_it(cluster, database, tmp_path):
    # Measure: REFERENCE_APP_HOLD_SWEEP. Switched off, the seats are held for ever.
    own = {"REFERENCE_APP_HOLD_SECONDS": "0.5", "REFERENCE_APP_SWEEP_MS": "50"}
    own["REFERENCE_APP_MAIL_FOLDER"] = str(tmp_path / "mail")
    url = cluster.primary.url(database)
    left = "SELECT seats_left FROM inventory WHERE instance_id = 90 AND cabin = 'economy'"
    with running_valkey() as (redis_url, _):
        settings = environment(url, **own, REFERENCE_APP_REDIS_URL=redis_url)
        async with built_app(url, at=datetime.now(UTC), **own) as app:
            before = cluster.primary.run(left, database)[0][0]
            held = await app.book(1, "expires-by-itself-1", flight_id=90, passengers=4, hold=True)
            assert (held.status_code, cluster.primary.run(left, database)[0][0]) == (201, before - 4)
            with jobs_process(settings) as worker:
                await poll(lambda: cluster.primary.run(left, database)[0][0] == before, what="the seats to come back")
                await poll(lambda: list(tmp_path.rglob("*.eml")), what="the mail")
                worker.send_signal(signal.SIGTERM)
                assert await asyncio.to_thread(worker.wait, 20) == 0
            after = await app.booking(1, held.json()["id"])
    assert after["status"] == "expired"


def test_a_replica_that_is_stopped_finishes_what_it_accepted(cluster, database):
    # Measure: REFERENCE_APP_FINISH_SECONDS. At 0 the requests under way are cut off.
    url = cluster.primary.url(database)
    own = {"REFERENCE_APP_SUPPLIER_LATENCY_MS": "0", "REFERENCE_APP_DRAIN_SECONDS": "0.1"}
    own |= {"REFERENCE_APP_PAYMENT_LATENCY_MS": "4000"}
    settings = environment(url) | own
    answers: list[httpx.Response | str] = []

    def bookings() -> int:
        return cluster.primary.run("SELECT count(*) FROM bookings WHERE instance_id = 91", database)[0][0]

    before = bookings()
    with app_process(settings) as (base, process):

        def buy(user: int) -> None:
            try:
                headers = as_user(user, **{"Idempotency-Key": f"stopped-while-{user}"})
                body = {"flight_id": 91, "passengers": 1}
                answers.append(httpx.post(f"{base}/api/bookings", json=body, headers=headers, timeout=30))
            except httpx.HTTPError as error:
                answers.append(type(error).__name__)

        wait_until(lambda: _status(f"{base}/readyz") == 200, what="the replica to be ready")
        buyers = [threading.Thread(target=buy, args=(user,)) for user in range(2, 7)]
        for buyer in buyers:
            buyer.start()
        wait_until(lambda: bookings() == before + 5 or len(answers) == 5, what="five purchases to begin")
        assert len(answers) < 5, answers  # some are under way
        process.send_signal(signal.SIGTERM)
        for buyer in buyers:
            buyer.join(30)
        assert process.wait(30) == 0
    assert [getattr(answer, "status_code", answer) for answer in answers] == [201] * 5


def _status(url: str) -> int:
    try:
        return httpx.get(url, timeout=2).status_code
    except httpx.HTTPError:
        return 0
