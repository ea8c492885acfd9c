"""One test for each measure around the routes: each fails when its setting switches the measure off.

The settings come from the environment, so they can be switched off from outside: REFERENCE_APP_L1=off, ..HTTP_CACHE,
..COMPRESSION, ..REGIONS. Those of the shared cache, the edge, invalidation and instruments stand in their own modules.
"""

from __future__ import annotations

import pytest

from reference_app.regions import profile_from
from tests.integration.database_fixtures import Cluster, cluster
from tests.integration.edge_fixtures import Events, recorded, running_edge, served
from tests.integration.reference_app_fixtures import TOMORROW, as_user, running_app, seed

__all__ = ["cluster"]
pytestmark = pytest.mark.server

PATH = "/api/flights/search"
SEARCH = {"origin": "ATL", "destination": "LHR", "date": str(TOMORROW), "passengers": "2", "class": "economy"}
HOURLY = {"REFERENCE_APP_FARES": "hourly"}


@pytest.fixture(scope="module")
def url(cluster: Cluster) -> str:
    name = cluster.new_database()
    seed(cluster.primary.url(name))
    return cluster.primary.url(name)


async def test_what_was_asked_before_is_answered_from_the_process_itself(url):
    async with running_app(url) as app:
        for _ in range(2):
            await app.client.get(PATH, params=SEARCH)
            await app.client.get("/api/airports/JFK")
            await app.client.get("/api/users/me", headers=as_user(7))
        loads = app.parts.caches.tiers.loads_total
    assert [trail["cache_level"] for trail in app.trails] == ["db"] * 3 + ["l1"] * 3
    assert loads == 5  # one search, the airports of its two ends and JFK, the pricing rules


async def test_with_hourly_fares_a_search_is_sent_again_as_it_was_and_the_supplier_is_asked_once(url):
    async with running_app(url, environ=HOURLY) as app:
        answers = [await app.client.get(PATH, params=SEARCH) for _ in range(3)]
        live = await app.client.get(PATH, params=SEARCH | {"passengers": "1"})
    async with running_app(url) as app:
        same = await app.client.get(PATH, params=SEARCH)
    assert app.parts.supplier.asked_total == 1
    assert len({answer.content for answer in [*answers, same]}) == 1
    assert live.status_code == 200


async def test_a_search_may_be_kept_by_caches_and_is_304_for_who_has_it_and_what_is_ones_own_is_not(url):
    async with running_app(url) as app:
        first = await app.client.get(PATH, params=SEARCH)
        again = await app.client.get(PATH, params=SEARCH, headers={"if-none-match": first.headers["etag"]})
        me = await app.client.get("/api/users/me", headers=as_user(7))
        wrong = await app.client.get(PATH, params=SEARCH | {"passengers": "50"})
    assert first.headers["cache-control"] == "public, max-age=0, s-maxage=300, stale-if-error=3600"
    tags = f"seats:ATL-LHR:{TOMORROW} route:ATL-LHR airport:ATL airport:LHR prices"
    assert first.headers["surrogate-key"] == tags
    assert first.headers["vary"] == "Accept-Encoding"
    assert (again.status_code, again.content) == (304, b"")
    assert {answer.headers["cache-control"] for answer in (me, wrong)} == {"private, no-store"}


async def test_the_time_that_caches_may_keep_an_answer_can_be_set_from_0_to_600(url):
    for seconds in ("0", "600"):
        async with running_app(url, environ={"REFERENCE_APP_S_MAXAGE_SECONDS": seconds}) as app:
            answer = await app.client.get("/api/airports/JFK")
        assert f"s-maxage={seconds}," in answer.headers["cache-control"]


async def test_long_answers_are_compressed_as_the_caller_accepts(url):
    async with running_app(url) as app:
        chosen = {}
        for accepted in ("gzip", "gzip, zstd", "identity"):
            answer = await app.client.get("/openapi.json", headers={"accept-encoding": accepted})
            chosen[accepted] = answer.headers.get("content-encoding")
            assert answer.json()["paths"]
        small = await app.client.get("/api/airports/JFK", headers={"accept-encoding": "gzip"})
    assert chosen == {"gzip": "gzip", "gzip, zstd": "zstd", "identity": None}
    assert "content-encoding" not in small.headers


async def test_the_region_of_a_request_is_the_headers_or_the_hosts_and_the_record_says_so(url):
    events = Events()
    async with (
        running_app(url) as app,
        served(recorded(app.asgi, events), lifespan="off") as origin,
        running_edge(origin) as viewer,
    ):
        for headers in ({"x-region": "eu-west"}, {"host": "us-west.example.com"}, {"x-region": "moon"}):
            await viewer.get("/api/users/me", headers=as_user(7, **headers))
    assert [event.region for event in events] == ["eu-west", "us-west", "us-east"]


def test_every_place_of_the_network_profile_is_within_half_a_second_of_an_answer():
    # A miss at the nearest edge with an origin in us-east: one round trip to the edge, one from there to the origin.
    # What is left of 500 ms is for the servers.
    world = profile_from("world")
    assert world is not None
    for place in world.places:
        edge = world.nearest(place)
        assert world.seconds(place, edge) + world.seconds(edge, "us-east") < 0.35, place
