"""The API as its callers meet it: answers, caches, and a clear problem for everything that is wrong."""

from __future__ import annotations

import signal
from datetime import timedelta

import pytest

from reference_app.limits import LARGEST_BODY_BYTES
from reference_app.supplier import SupplierTerms
from tests.integration.database_fixtures import Cluster, cluster, running_valkey
from tests.integration.reference_app_fixtures import NOON, TOMORROW, as_user, running_app, seed

__all__ = ["cluster"]
pytestmark = pytest.mark.server

SEARCH = {"origin": "ATL", "destination": "LHR", "date": str(TOMORROW), "passengers": "2", "class": "economy"}
INJECTION = "'; DROP TABLE bookings; --"


@pytest.fixture(scope="module")
def url(cluster: Cluster) -> str:
    name = cluster.new_database()
    seed(cluster.primary.url(name))
    return cluster.primary.url(name)


async def test_a_search_finds_flights_with_live_prices_and_names_the_cache_level(url):
    async with running_app(url) as app:
        first = await app.client.get("/api/flights/search", params=SEARCH)
        second = await app.client.get("/api/flights/search", params=SEARCH)
    assert first.status_code == 200
    assert first.json() == second.json()
    offer = first.json()["flights"][0]
    assert (offer["origin"], offer["destination"], offer["class"]) == ("ATL", "LHR", "economy")
    assert offer["departs_at"].startswith(str(TOMORROW))
    assert [trail["cache_level"] for trail in app.trails] == ["db", "l1"]
    assert app.trails[0]["database_target"] == "primary"
    assert "database_target" not in app.trails[1]
    assert app.parts.supplier.asked_total == 2  # a cached search asks for live fares too


async def test_a_second_replica_finds_a_search_in_the_shared_cache(url):
    with running_valkey() as (redis_url, _):
        async with running_app(url, redis_url=redis_url) as one, running_app(url, redis_url=redis_url) as other:
            first = await one.client.get("/api/flights/search", params=SEARCH)
            second = await other.client.get("/api/flights/search", params=SEARCH)
    assert second.json() == first.json()
    assert (one.trails[0]["cache_level"], other.trails[0]["cache_level"]) == ("db", "l2")


async def test_a_dead_shared_cache_fails_nothing(url):
    with running_valkey() as (redis_url, server):
        async with running_app(url, redis_url=redis_url) as app:
            await app.client.get("/api/flights/search", params=SEARCH)
            server.send_signal(signal.SIGKILL)
            server.wait(10)
            later = SEARCH | {"date": str(TOMORROW + timedelta(days=1))}
            answer = await app.client.get("/api/flights/search", params=later)
    assert answer.status_code == 200
    assert answer.json()["flights"]
    assert app.trails[-1]["cache_level"] == "db"
    assert app.parts.caches.tiers.shared.failures_total == 1  # then it is given a rest, and the write is not tried


async def test_airports_flights_and_oneself_can_be_read(url):
    async with running_app(url) as app:
        airport = await app.client.get("/api/airports/JFK")
        again = await app.client.get("/api/airports/JFK")
        flight = await app.client.get("/api/flights/61")
        me = await app.client.get("/api/users/me", headers=as_user(7))
    assert airport.json() == again.json()
    assert (airport.json()["city"], airport.json()["country"]) == ("New York", "US")
    assert [trail["cache_level"] for trail in app.trails[:2]] == ["db", "l1"]
    assert [cabin["class"] for cabin in flight.json()["cabins"]] == ["economy", "business"]
    assert me.json()["id"] == 7
    assert app.parts.supplier.asked_total == 0


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"origin": "XXX"}, "unknown-airport"),
        ({"destination": "QQQ"}, "unknown-airport"),
        ({"destination": "ATL"}, "same-airport"),
        ({"origin": INJECTION}, "invalid-request"),
        ({"origin": "atl"}, "invalid-request"),
        ({"origin": "ATL\n"}, "invalid-request"),
        ({"origin": "A\x00L"}, "invalid-request"),
        ({"date": str(NOON.date() - timedelta(days=1))}, "past-date"),
        ({"date": "2040-01-01"}, "far-date"),
        ({"date": "2030-02-30"}, "invalid-request"),
        ({"date": "86400"}, "invalid-request"),
        ({"date": INJECTION}, "invalid-request"),
        ({"passengers": "0"}, "invalid-request"),
        ({"passengers": "50"}, "invalid-request"),
        ({"passengers": "-1"}, "invalid-request"),
        ({"passengers": "1e3"}, "invalid-request"),
        ({"passengers": "9" * 5000}, "invalid-request"),
        ({"class": INJECTION}, "invalid-request"),
    ],
)
async def test_a_bad_search_is_told_what_is_wrong(url, change, kind):
    async with running_app(url) as app:
        answer = await app.client.get("/api/flights/search", params=SEARCH | change)
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status_code, problem["status"]) == (422, 422)
    assert problem["type"] == f"urn:reference-app:problem:{kind}"
    assert problem["detail"]
    assert app.parts.supplier.asked_total == 0


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/flights/search", 422),
        ("GET", "/api/flights/0", 422),
        ("GET", "/api/flights/9223372036854775807", 404),
        ("GET", "/api/flights/9223372036854775808", 422),
        ("GET", f"/api/flights/{INJECTION}", 422),
        ("GET", "/api/airports/XXX", 404),
        ("GET", f"/api/airports/{INJECTION}", 422),
        ("GET", "/api/users/me", 401),
        ("GET", "/api/bookings/1", 401),
        ("POST", "/api/bookings/1/cancel", 401),
        ("POST", "/api/bookings", 401),
        ("GET", "/api/nothing", 404),
        ("DELETE", "/api/flights/search", 405),
    ],
)
async def test_every_error_is_a_problem_document(url, method, path, status):
    async with running_app(url) as app:
        answer = await app.client.request(method, path)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status


@pytest.mark.parametrize(
    "authorization",
    [
        "Bearer wrong",
        "Bearer ' OR 1=1 --",
        "Bearer " + "x" * 10_000,
        "Basic dXNlcjE6eA==",
        "Bearer",
        b"Bearer \xff\xfe",
    ],
)
async def test_a_wrong_token_is_a_401_with_a_challenge(url, authorization):
    async with running_app(url) as app:
        answer = await app.client.get("/api/users/me", headers={"Authorization": authorization})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"


KEY = {"Idempotency-Key": "some-key-1"}


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b'{"flight_id": 61, "passengers": 0}', KEY, 422),
        (b'{"flight_id": 61, "passengers": 50}', KEY, 422),
        (b'{"flight_id": "x"}', KEY, 422),
        (b'{"flight_id": 1e400}', KEY, 422),
        (b'{"flight_id": NaN}', KEY, 422),
        (b'{"flight_id": 61, "class": "\\ud800"}', KEY, 422),
        (b'{"flight_id": 61, "free": true}', KEY, 422),
        (b'{"flight_id": 61', KEY, 422),
        (b"\xff\xfe", KEY, 422),
        (b"[" * 10_000, KEY, 400),
        (b"", KEY, 422),
        (b'{"flight_id": 61}', {}, 422),
        (b'{"flight_id": 61}', {"Idempotency-Key": "a b"}, 422),
        (b'{"flight_id": 61}', KEY | {"x-last-write": INJECTION}, 422),
        (b'{"flight_id": 99999999}', KEY, 404),
        (b" " * (LARGEST_BODY_BYTES + 1), KEY, 413),
    ],
)
async def test_a_bad_booking_is_refused_with_a_problem(url, body, headers, status):
    content_type = {"Content-Type": "application/json"}
    async with running_app(url) as app:
        answer = await app.client.post("/api/bookings", content=body, headers=as_user(1, **headers) | content_type)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_body_that_does_not_announce_its_size_is_limited_too(url):
    async def endless():
        for _ in range(100):
            yield b" " * 1024

    async with running_app(url) as app:
        headers = as_user(1, **KEY, **{"Content-Type": "application/json"})
        answer = await app.client.post("/api/bookings", content=endless(), headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (413, "application/problem+json")


async def test_a_replica_that_is_full_sheds_with_retry_after_and_before_it_asks_the_database(url):
    terms = SupplierTerms(concurrency=1, mean_latency_seconds=3600.0, queue=5, wait_seconds=0.01)
    async with running_app(url, terms=terms) as app:
        await app.client.get("/api/airports/ATL")
        await app.client.get("/api/airports/LHR")
        slot = app.parts.supplier._slots  # takes the only connection
        await slot.acquire()
        answer = await app.client.get("/api/flights/search", params=SEARCH)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["type"] == "urn:reference-app:problem:overloaded"
    assert "database_target" not in app.trails[-1]


async def test_the_openapi_document_describes_problems_and_examples(url):
    async with running_app(url) as app:
        document = (await app.client.get("/openapi.json")).json()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation["summary"], f"{method} {path}"
            for status, response in operation["responses"].items():
                if int(status) >= 400:
                    assert list(response["content"]) == ["application/problem+json"], f"{method} {path} {status}"
    assert document["components"]["schemas"]["BookingRequest"]["examples"]


async def test_the_metrics_count_requests_by_route_template_and_not_by_path(url):
    async with running_app(url) as app:
        await app.client.get("/api/airports/JFK")
        await app.client.get("/api/made-up-by-anyone")
        text = (await app.client.get("/metrics")).text
    labels = 'cache_level="db",method="GET",route="/api/airports/{code}",status="200"'
    assert f"http_request_duration_seconds_count{{{labels}}} 1.0" in text
    assert "made-up-by-anyone" not in text
    assert "reference_app_supplier_waiting 0.0" in text
