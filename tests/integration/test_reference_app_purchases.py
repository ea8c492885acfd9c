"""Holding, paying, confirming, changing and giving back, on a real PostgreSQL: seats and money never stay apart."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta

import psycopg
import pytest

from reference_app.database import Session
from tests.integration.booking_fixtures import BuiltApp, built_app
from tests.integration.database_fixtures import Cluster, cluster
from tests.integration.reference_app_fixtures import as_user, poll, seed

__all__ = ["cluster"]
pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def database(cluster: Cluster) -> str:
    name = cluster.new_database()
    seed(cluster.primary.url(name))
    return name


@pytest.fixture
def url(cluster: Cluster, database: str) -> str:
    return cluster.primary.url(database)


def seats(cluster: Cluster, database: str, flight: int, cabin: str = "economy") -> int:
    query = f"SELECT seats_left FROM inventory WHERE instance_id = {flight} AND cabin = '{cabin}'"
    return cluster.primary.run(query, database)[0][0]


def set_seats(cluster: Cluster, database: str, flight: int, left: int) -> None:
    cluster.primary.run(
        f"UPDATE inventory SET seats_left = {left} WHERE instance_id = {flight} AND cabin = 'economy'", database
    )


def messages(cluster: Cluster, database: str, booking: int) -> list[str]:
    query = f"SELECT name FROM outbox WHERE (payload->>'booking_id')::bigint = {booking} ORDER BY id"
    return [name for (name,) in cluster.primary.run(query, database)]


async def settle_all(app: BuiltApp, tmp_path) -> None:
    """Do every payments job of the outbox, as a worker would."""
    work = app.work(tmp_path)
    async with app.parts.outbox.batch(limit=1000) as batch:
        tasks = [task for task in batch.tasks if task.queue == "payments"]
        await batch.published(tasks)
    for task in tasks:
        await work.run(task)


async def test_two_hundred_buyers_of_the_last_ten_seats_get_exactly_ten(cluster, database, url, tmp_path):
    # Measure: REFERENCE_APP_SEAT_LOCK. Switched off, more than ten are told that they have a seat.
    set_seats(cluster, database, 100, 10)
    async with built_app(url, REFERENCE_APP_SETTLE_AFTER_MS="1") as app:

        async def persistent(user: int) -> int:
            # A busy pool answers 503 with Retry-After: a buyer asks again with the same key, as real ones do.
            while True:
                answer = await app.book(user, f"the-rush-{user}", flight_id=100)
                if answer.status_code != 503:
                    return answer.status_code

        statuses = await asyncio.gather(*(persistent(user) for user in range(1, 201)))
        # Whose first answer was a 503 may hold seats that are paid and not confirmed yet (202): that is settled.
        await asyncio.sleep(0.01)  # longer than a millisecond of the database's clock
        await app.sweep().sweep_once()
        await settle_all(app, tmp_path)
    assert Counter("sold" if status in (200, 201, 202) else status for status in statuses) == {"sold": 10, 409: 190}
    assert seats(cluster, database, 100) == 0
    sold = "SELECT sum(passengers), count(*) FROM bookings WHERE instance_id = 100 AND status = 'confirmed'"
    assert cluster.primary.run(sold, database) == [(10, 10)]
    paid = "SELECT count(*) FROM payments p JOIN bookings b ON b.id = booking_id WHERE b.instance_id = 100"
    assert cluster.primary.run(paid + " AND p.status = 'succeeded'", database) == [(10,)]


async def test_a_booking_is_paid_and_confirmed_in_one_go_with_mail_and_sale_in_its_transaction(cluster, database, url):
    async with built_app(url) as app:
        answer = await app.book(1, "one-go-1", flight_id=101, passengers=2)
    body = answer.json()
    assert (answer.status_code, body["status"], body["payment"]) == (201, "confirmed", "succeeded")
    assert messages(cluster, database, body["id"]) == ["booking-confirmed", "count-sale"]


async def test_a_hold_keeps_the_seats_until_it_is_paid(cluster, database, url):
    set_seats(cluster, database, 102, 3)
    async with built_app(url) as app:
        held = await app.book(2, "held-111", flight_id=102, passengers=3, hold=True)
        other = await app.book(3, "held-222", flight_id=102)
        paid = await app.pay(2, held.json()["id"], "pay-held-1")
        after = await app.booking(2, held.json()["id"])
    assert (held.status_code, held.json()["status"], held.json()["payment"]) == (201, "held", None)
    assert held.json()["hold_expires_at"] == "2030-05-01T12:15:00Z"  # a quarter of an hour after noon
    assert other.status_code == 409
    assert (paid.status_code, paid.json()["status"]) == (201, "succeeded")
    assert paid.json()["amount_cents"] == held.json()["price_cents"]
    assert after["status"] == "confirmed"


async def test_a_hold_that_is_over_gives_its_seats_back_once_though_several_sweep(cluster, database, url):
    set_seats(cluster, database, 103, 20)
    async with built_app(url) as app:
        for user in range(4, 9):
            await app.book(user, f"forgotten-{user}", flight_id=103, passengers=2, hold=True)
        assert seats(cluster, database, 103) == 10
        app.clock.instant += timedelta(minutes=14)
        assert await app.sweep().sweep_once() == 0
        app.clock.instant += timedelta(minutes=2)
        expired = await asyncio.gather(*(app.sweep().sweep_once() for _ in range(3)))
        late = await app.book(4, "forgotten-4", flight_id=103, passengers=2, hold=True)
        refused = await app.pay(4, late.json()["id"], "too-late-1")
    assert sum(expired) == 5
    assert seats(cluster, database, 103) == 20
    assert (late.status_code, late.json()["status"]) == (200, "expired")
    assert (refused.status_code, refused.json()["type"]) == (409, "urn:reference-app:problem:not-held")


@pytest.mark.parametrize("method", ["card-declined", "card-error"])
async def test_a_payment_that_fails_gives_the_seats_back(cluster, database, url, method):
    set_seats(cluster, database, 104, 5)
    async with built_app(url) as app:
        answer = await app.book(9, f"failed-{method}", flight_id=104, passengers=5, payment_method=method)
        again = await app.book(9, f"failed-{method}", flight_id=104, passengers=5, payment_method=method)
    assert (answer.status_code, answer.json()["type"]) == (402, "urn:reference-app:problem:payment-failed")
    assert again.status_code == 402
    assert seats(cluster, database, 104) == 5


async def test_a_declined_card_leaves_a_hold_for_another_try(cluster, database, url):
    async with built_app(url) as app:
        held = (await app.book(10, "another-try-1", flight_id=105, hold=True)).json()["id"]
        declined = await app.pay(10, held, "first-card-1", "card-declined")
        between = await app.booking(10, held)
        paid = await app.pay(10, held, "second-card-1")
    assert (declined.status_code, between["status"], paid.status_code) == (402, "held", 201)


async def test_a_payment_without_an_answer_is_settled_by_a_job_and_confirmed(cluster, database, url, tmp_path):
    set_seats(cluster, database, 106, 5)
    async with built_app(url) as app:
        answer = await app.book(11, "silent-1", flight_id=106, payment_method="card-timeout")
        assert (answer.status_code, answer.json()["status"], answer.json()["payment"]) == (202, "held", "timed_out")
        again = await app.book(11, "silent-1", flight_id=106, payment_method="card-timeout")
        twice = await app.pay(11, answer.json()["id"], "pay-twice-1")
        await settle_all(app, tmp_path)
        after = await app.booking(11, answer.json()["id"])
    assert again.status_code == 202
    assert (twice.status_code, twice.json()["type"]) == (409, "urn:reference-app:problem:payment-under-way")
    assert (after["status"], after["payment"]) == ("confirmed", "succeeded")
    assert seats(cluster, database, 106) == 4


async def test_a_payment_without_an_answer_is_made_void_when_the_hold_is_over(cluster, database, url, tmp_path):
    set_seats(cluster, database, 107, 5)
    async with built_app(url) as app:
        answer = await app.book(12, "silent-2", flight_id=107, payment_method="card-timeout")
        app.clock.instant += timedelta(minutes=16)
        assert await app.sweep().sweep_once() == 0  # not before it is known what became of the money
        await settle_all(app, tmp_path)
        after = await app.booking(12, answer.json()["id"])
    assert (after["status"], after["payment"]) == ("cancelled", "failed")
    assert seats(cluster, database, 107) == 5


async def test_a_request_that_dies_between_charge_and_confirmation_is_brought_to_its_end(
    cluster, database, url, tmp_path
):
    async with built_app(url, REFERENCE_APP_SETTLE_AFTER_MS="1") as app:

        async def dies(*_: object, **__: object) -> None:
            raise asyncio.CancelledError

        app.parts.payments.succeeded, alive = dies, app.parts.payments.succeeded  # as a kill would
        with pytest.raises(asyncio.CancelledError):
            await app.book(13, "died-111", flight_id=108)
        app.parts.payments.succeeded = alive
        await asyncio.sleep(0.01)  # the settlement is due after a millisecond of the database's clock
        await app.sweep().sweep_once()
        await settle_all(app, tmp_path)
        known = await app.book(13, "died-111", flight_id=108)
    assert (known.status_code, known.json()["status"]) == (200, "confirmed")


async def test_cancelling_a_paid_booking_gives_seats_and_money_back_once(cluster, database, url, tmp_path):
    set_seats(cluster, database, 109, 5)
    async with built_app(url) as app:
        made = (await app.book(14, "cancelled-9", flight_id=109, passengers=2)).json()["id"]
        path = f"/api/bookings/{made}/cancel"
        answers = await asyncio.gather(*(app.client.post(path, headers=as_user(14)) for _ in range(3)))
        await settle_all(app, tmp_path)
        after = await app.booking(14, made)
        given_back = app.parts.purchases._provider.outcomes_total["refunded"]
    assert {(answer.status_code, answer.json()["status"]) for answer in answers} == {(200, "cancelled")}
    assert (after["status"], after["payment"], given_back) == ("cancelled", "refunded", 1)
    assert seats(cluster, database, 109) == 5


async def test_a_hold_that_was_cancelled_while_it_was_paid_gives_the_money_back(cluster, database, url, tmp_path):
    async with built_app(url) as app:
        held = (await app.book(15, "raced-11", flight_id=110, hold=True)).json()["id"]
        begun = await app.parts.payments.begin(
            held, user_id=15, method="card", key="raced-pay-1", now=app.clock.now(), session=Session()
        )
        assert begun is not None
        await app.client.post(f"/api/bookings/{held}/cancel", headers=as_user(15))
        await app.parts.payments.succeeded(
            begun[0].id, "ch_raced", booking_id=held, now=app.clock.now(), session=Session()
        )
        await settle_all(app, tmp_path)
        after = await app.booking(15, held)
    assert (after["status"], after["payment"]) == ("cancelled", "refunded")


async def test_a_change_moves_seats_and_money_in_one_step(cluster, database, url, tmp_path):
    for flight in (111, 112):
        set_seats(cluster, database, flight, 5)
    async with built_app(url) as app:
        old = (await app.book(16, "to-change-1", flight_id=111, passengers=2)).json()["id"]
        headers = as_user(16, **{"Idempotency-Key": "change-1-1"})
        body = {"flight_id": 112, "passengers": 2}
        changed = await app.client.post(f"/api/bookings/{old}/change", json=body, headers=headers)
        again = await app.client.post(f"/api/bookings/{old}/change", json=body, headers=headers)
        await settle_all(app, tmp_path)
        before, after = await app.booking(16, old), await app.booking(16, changed.json()["id"])
    assert (changed.status_code, again.status_code) == (201, 200)
    assert (changed.json()["changed_from"], again.json()["id"]) == (old, changed.json()["id"])
    assert (before["status"], before["payment"]) == ("changed", "refunded")
    assert (after["status"], after["payment"]) == ("confirmed", "succeeded")
    assert (seats(cluster, database, 111), seats(cluster, database, 112)) == (5, 3)


async def test_a_change_that_can_not_be_paid_or_has_no_seats_changes_nothing(cluster, database, url):
    for flight, left in ((113, 5), (114, 5), (115, 0)):
        set_seats(cluster, database, flight, left)
    async with built_app(url) as app:
        old = (await app.book(17, "to-change-2", flight_id=113)).json()["id"]
        path = f"/api/bookings/{old}/change"
        declined = await app.client.post(
            path,
            json={"flight_id": 114, "payment_method": "card-declined"},
            headers=as_user(17, **{"Idempotency-Key": "change-2-1"}),
        )
        full = await app.client.post(
            path, json={"flight_id": 115}, headers=as_user(17, **{"Idempotency-Key": "change-2-2"})
        )
        after = await app.booking(17, old)
    assert (declined.status_code, full.status_code, after["status"]) == (402, 409, "confirmed")
    assert [seats(cluster, database, flight) for flight in (113, 114, 115)] == [4, 5, 0]


async def test_a_change_of_what_is_cancelled_meanwhile_gives_seats_and_money_back(cluster, database, url, tmp_path):
    set_seats(cluster, database, 121, 5)
    async with built_app(url) as app:
        old = (await app.book(22, "to-change-3", flight_id=120)).json()["id"]
        charge = app.parts.purchases._provider.charge

        async def cancelled_meanwhile(*given: object, **more: object) -> str:
            await app.client.post(f"/api/bookings/{old}/cancel", headers=as_user(22))
            return await charge(*given, **more)

        app.parts.purchases._provider.charge = cancelled_meanwhile
        headers = as_user(22, **{"Idempotency-Key": "change-3-1"})
        changed = await app.client.post(f"/api/bookings/{old}/change", json={"flight_id": 121}, headers=headers)
        await settle_all(app, tmp_path)
        new = await app.booking(22, int(changed.headers["location"].rsplit("/", 1)[1]))
    assert (changed.status_code, changed.json()["type"]) == (409, "urn:reference-app:problem:not-confirmed")
    assert (new["status"], new["payment"]) == ("cancelled", "refunded")
    assert seats(cluster, database, 121) == 5


async def test_nobody_confirms_pays_changes_or_cancels_the_booking_of_another(url):
    async with built_app(url) as app:
        held = (await app.book(18, "mine-111", flight_id=116, hold=True)).json()["id"]
        headers = as_user(19, **{"Idempotency-Key": "not-mine-1"})
        answers = [
            await app.pay(19, held, "not-mine-1"),
            await app.client.post(f"/api/bookings/{held}/confirm", json={}, headers=headers),
            await app.client.post(f"/api/bookings/{held}/change", json={"flight_id": 117}, headers=headers),
            await app.client.post(f"/api/bookings/{held}/cancel", headers=headers),
        ]
    assert [answer.status_code for answer in answers] == [404, 404, 404, 404]


async def test_travellers_are_kept_with_the_booking_and_must_be_as_many_as_fly(cluster, database, url):
    ada = {"name": "Ada Lovelace", "document": "P1234567", "birth_date": "1990-12-10"}
    async with built_app(url) as app:
        made = await app.book(20, "named-111", flight_id=118, passengers=1, travellers=[ada])
        wrong = await app.book(20, "named-222", flight_id=118, passengers=2, travellers=[ada])
    kept = f"SELECT name, document FROM passengers WHERE booking_id = {made.json()['id']}"
    assert cluster.primary.run(kept, database) == [("Ada Lovelace", "P1234567")]
    assert (wrong.status_code, wrong.json()["type"]) == (422, "urn:reference-app:problem:travellers")


async def test_a_request_past_its_deadline_leaves_no_statement_behind_and_can_be_sent_again(cluster, database, url):
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%UPDATE inventory%'"
    set_seats(cluster, database, 119, 5)
    async with built_app(url) as app:
        with psycopg.connect(url) as blocker:
            blocker.execute("SELECT FROM inventory WHERE instance_id = 119 FOR UPDATE")
            headers = as_user(21, **{"Idempotency-Key": "too-slow-1", "X-Request-Timeout-Ms": "300"})
            late = await app.client.post("/api/bookings", json={"flight_id": 119}, headers=headers)
            await poll(lambda: cluster.primary.run(waiting, database) == [(0,)], what="the statement to be given up")
        again = await app.book(21, "too-slow-1", flight_id=119)
    assert (late.status_code, late.headers["content-type"]) == (504, "application/problem+json")
    assert again.status_code == 201
    assert seats(cluster, database, 119) == 4
