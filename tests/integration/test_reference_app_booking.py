"""Booking against a real PostgreSQL: right under contention, idempotent, and only one's own."""

from __future__ import annotations

import asyncio
from collections import Counter

import httpx
import pytest

from reference_app.commands import mount
from tests.integration.database_fixtures import Cluster, cluster
from tests.integration.reference_app_fixtures import NOON, as_user, running_app, seed

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


FLIGHT = 61  # the first flight of the second day: 60 fly on the first


async def book(client: httpx.AsyncClient, user: int, key: str, **wish: object) -> httpx.Response:
    body = {"flight_id": FLIGHT, "class": "economy", "passengers": 1, **wish}
    return await client.post("/api/bookings", json=body, headers=as_user(user, **{"Idempotency-Key": key}))


def seats(cluster: Cluster, database: str, flight: int, cabin: str = "economy") -> int:
    query = f"SELECT seats_left FROM inventory WHERE instance_id = {flight} AND cabin = '{cabin}'"
    return cluster.primary.run(query, database)[0][0]


def set_seats(cluster: Cluster, database: str, flight: int, left: int) -> None:
    cluster.primary.run(
        f"UPDATE inventory SET seats_left = {left} WHERE instance_id = {flight} AND cabin = 'economy'", database
    )


def search_of(cluster: Cluster, database: str, flight: int) -> dict[str, str]:
    query = "SELECT origin, destination, day FROM flight_instances WHERE id ="
    origin, destination, day = cluster.primary.run(f"{query} {flight}", database)[0]
    return {"origin": origin, "destination": destination, "date": str(day)}


async def test_two_replicas_sell_the_same_seats_once(cluster, database, url):
    set_seats(cluster, database, 71, 10)
    async with running_app(url) as one, running_app(url) as other:
        answers = await asyncio.gather(
            *(
                book((one, other)[user % 2].client, user, f"two-replicas-{user}", flight_id=71, passengers=3)
                for user in range(1, 21)
            )
        )
    # 10 seats hold three parties of three; one seat stays
    assert Counter(answer.status_code for answer in answers) == {201: 3, 409: 17}
    assert seats(cluster, database, 71) == 1


async def test_the_same_key_sells_once_even_at_the_same_time(cluster, database, url):
    set_seats(cluster, database, 72, 100)
    async with running_app(url) as app:
        answers = await asyncio.gather(*(book(app.client, 1, "same-key-1", flight_id=72) for _ in range(8)))
    # the others come while it is being paid (202), or after that (200)
    assert Counter(answer.status_code == 201 for answer in answers) == {True: 1, False: 7}
    assert {answer.status_code for answer in answers} <= {200, 201, 202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert seats(cluster, database, 72) == 99


async def test_the_same_key_for_something_else_is_refused(url):
    async with running_app(url) as app:
        await book(app.client, 2, "reused-key-1", passengers=1)
        answer = await book(app.client, 2, "reused-key-1", passengers=2)
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:reference-app:problem:key-reused")


async def test_another_users_equal_key_is_another_booking(url):
    async with running_app(url) as app:
        first = await book(app.client, 3, "equal-key-1")
        second = await book(app.client, 4, "equal-key-1")
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json()["id"] != second.json()["id"]


async def test_cancelling_gives_the_seats_back_once(cluster, database, url):
    set_seats(cluster, database, 73, 5)
    async with running_app(url) as app:
        made = await book(app.client, 5, "cancelled-1", flight_id=73, passengers=2)
        path = made.headers["location"]
        answers = await asyncio.gather(*(app.client.post(f"{path}/cancel", headers=as_user(5)) for _ in range(3)))
    assert {(answer.status_code, answer.json()["status"]) for answer in answers} == {(200, "cancelled")}
    assert seats(cluster, database, 73) == 5


async def test_another_users_booking_does_not_exist_for_me(url):
    async with running_app(url) as app:
        made = await book(app.client, 6, "mine-alone-1")
        path = made.headers["location"]
        seen = await app.client.get(path, headers=as_user(7))
        cancelled = await app.client.post(f"{path}/cancel", headers=as_user(7))
        own = await app.client.get(path, headers=as_user(6))
    assert (seen.status_code, cancelled.status_code) == (404, 404)
    assert own.json() == made.json()


async def test_a_flight_that_has_left_cannot_be_booked(cluster, database, url):
    gone = cluster.primary.run(f"SELECT min(id) FROM flight_instances WHERE departs_at < '{NOON}'", database)[0][0]
    async with running_app(url) as app:
        answer = await book(app.client, 8, "too-late-1", flight_id=gone)
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:reference-app:problem:sold-out")


async def test_the_price_is_the_live_one_that_the_search_showed(cluster, database, url):
    query = search_of(cluster, database, FLIGHT) | {"passengers": "2"}
    async with running_app(url) as app:
        found = (await app.client.get("/api/flights/search", params=query)).json()["flights"]
        made = await book(app.client, 9, "live-price-1", passengers=2)
    price = next(offer["price_cents"] for offer in found if offer["flight_id"] == FLIGHT)
    assert made.json()["price_cents"] == 2 * price


async def test_a_booking_is_seen_by_the_next_search_of_its_replica(cluster, database, url):
    search = search_of(cluster, database, 75)
    async with running_app(url) as app:
        before = (await app.client.get("/api/flights/search", params=search)).json()["flights"]
        await book(app.client, 10, "seen-next-1", flight_id=75, passengers=4)
        after = (await app.client.get("/api/flights/search", params=search)).json()["flights"]
    left = [next(offer["seats_left"] for offer in flights if offer["flight_id"] == 75) for flights in (before, after)]
    assert left[0] - left[1] == 4


def test_the_seed_command_says_what_it_made_and_how_tokens_are_made(url):
    import typer
    from typer.testing import CliRunner

    app = typer.Typer()
    mount(app)
    done = CliRunner().invoke(app, ["reference", "seed"], env={"REFERENCE_APP_DATABASE_URL": url})
    assert done.exit_code == 0, done.output
    assert "40 airports, 60 daily flights, 500 users" in done.output
    assert "sha256('tidegauge-demo:<n>')" in done.output
    refused = CliRunner().invoke(app, ["reference", "seed", "--scale", "0"], env={"REFERENCE_APP_DATABASE_URL": url})
    assert refused.exit_code == 2
