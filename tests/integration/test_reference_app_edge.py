"""The edge before a real app on a real database: what it keeps, forgets, passes on, and counts."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass

import httpx
import pytest

from tests.integration.database_fixtures import Cluster, cluster, wait_until
from tests.integration.edge_fixtures import Events, recorded, running_edge, served
from tests.integration.reference_app_fixtures import TOMORROW, RunningApp, as_user, running_app, seed
from tests.integration.valkey_fixtures import valkey_node

__all__ = ["cluster"]
pytestmark = pytest.mark.server

SEARCH = {"origin": "ATL", "destination": "LHR", "date": str(TOMORROW), "passengers": "2", "class": "economy"}
PATH = "/api/flights/search"
TRACE = "4bf92f3577b34da6a3ce929d0e0effff"


@pytest.fixture(scope="module")
def url(cluster: Cluster) -> str:
    name = cluster.new_database()
    seed(cluster.primary.url(name))
    return cluster.primary.url(name)


@dataclass
class Both:
    viewer: httpx.AsyncClient
    origin: RunningApp
    edge_events: Events
    origin_events: Events

    async def search(self, **headers: str) -> httpx.Response:
        return await self.viewer.get(PATH, params=SEARCH, headers=headers)


@asynccontextmanager
async def edge_and_origin(url: str, *, redis_url: str | None = None, **environ: str) -> AsyncIterator[Both]:
    edge_events, origin_events = Events(), Events()
    async with (
        running_app(url, redis_url=redis_url, environ=environ) as origin,
        served(recorded(origin.asgi, origin_events), lifespan="off") as origin_url,
        running_edge(
            origin_url, events=edge_events, environ={"REFERENCE_APP_REDIS_URL": redis_url or "", **environ}
        ) as viewer,
    ):
        yield Both(viewer, origin, edge_events, origin_events)


async def test_the_edge_serves_a_popular_search_by_itself_and_each_region_has_a_shelf_of_its_own(url):
    async with edge_and_origin(url) as both:
        answers = [await both.search() for _ in range(4)]
        elsewhere = await both.search(**{"x-region": "eu-west"})
    # kept at the second question of five minutes: popular
    assert [answer.headers["x-cache"] for answer in answers] == ["miss", "miss", "hit", "hit"]
    assert elsewhere.headers["x-cache"] == "miss"
    assert len({answer.content for answer in answers}) == 1
    assert len(both.origin.trails) == 3
    assert "surrogate-key" not in answers[-1].headers


async def test_the_same_search_with_its_parameters_in_another_order_is_the_same_search(url):
    async with edge_and_origin(url) as both:
        for _ in range(2):
            await both.search()
        answer = await both.viewer.get(PATH, params=dict(reversed(SEARCH.items())))
    assert answer.headers["x-cache"] == "hit"


async def test_a_viewer_who_has_the_answer_gets_304_from_the_edge(url):
    async with edge_and_origin(url) as both:
        etag = [await both.search() for _ in range(2)][-1].headers["etag"]
        again = await both.search(**{"if-none-match": etag})
        other = await both.search(**{"if-none-match": '"another"'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    assert other.status_code == 200


async def test_when_the_origin_is_gone_a_stale_answer_is_better_than_none(url):
    async with AsyncExitStack() as stack:
        app = await stack.enter_async_context(running_app(url, environ={"REFERENCE_APP_S_MAXAGE_SECONDS": "1"}))
        origin = AsyncExitStack()
        origin_url = await origin.enter_async_context(served(app.asgi, lifespan="off"))
        viewer = await stack.enter_async_context(running_edge(origin_url))
        kept = [await viewer.get(PATH, params=SEARCH) for _ in range(2)][-1]
        await origin.aclose()
        deadline = time.monotonic() + 20
        while (answer := await viewer.get(PATH, params=SEARCH)).headers["x-cache"] == "hit":
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        unknown = await viewer.get(PATH, params=SEARCH | {"passengers": "3"})
    assert (answer.status_code, answer.headers["x-cache"]) == (200, "stale")
    assert answer.content == kept.content
    assert (unknown.status_code, unknown.headers["content-type"]) == (502, "application/problem+json")


async def test_a_purge_by_surrogate_key_needs_the_token_and_forgets_what_carries_the_key(url):
    key = f"seats:ATL-LHR:{TOMORROW}"
    async with edge_and_origin(url, REFERENCE_APP_EDGE_PURGE_TOKEN="sesame") as both:
        for _ in range(2):
            await both.search()

        async def purge(token: str, body: object) -> int:
            headers = {"Authorization": f"Bearer {token}"}
            return (await both.viewer.post("/edge/purge", json=body, headers=headers)).status_code

        statuses = [await purge("open", {"surrogate_keys": [key]}), await purge("sesame", {"surrogate_keys": "all"})]
        untouched = await both.search()
        statuses.append(await purge("sesame", {"surrogate_keys": [key]}))
        purged = await both.search()
    assert statuses == [401, 422, 200]
    assert (untouched.headers["x-cache"], purged.headers["x-cache"]) == ("hit", "miss")
    assert both.edge_events[-1].route == PATH  # a purge is no demand
    assert "/edge/purge" not in {event.route for event in both.edge_events}


async def test_without_a_token_nobody_can_purge(url):
    async with edge_and_origin(url) as both:
        answer = await both.viewer.post(
            "/edge/purge", json={"surrogate_keys": []}, headers={"Authorization": "Bearer None"}
        )
    assert answer.status_code == 404


async def test_what_is_somebodys_own_is_passed_on_and_never_kept(url):
    async with edge_and_origin(url) as both:
        mine = [await both.viewer.get("/api/users/me", headers=as_user(number)) for number in (7, 8)]
        made_up = [await both.viewer.get(PATH, params=SEARCH | {"made-up": "1"}) for _ in range(3)]
        after_write = [await both.search(**{"x-last-write": "0/1"}) for _ in range(3)]
        body = {"flight_id": 61, "class": "economy", "passengers": 1}
        headers = as_user(1, **{"Idempotency-Key": "through-the-edge"})
        booked = await both.viewer.post("/api/bookings", json=body, headers=headers)
    assert [answer.json()["id"] for answer in mine] == [7, 8]
    assert {answer.headers["x-cache"] for answer in [*mine, *made_up, *after_write]} == {"pass"}
    assert mine[0].headers["cache-control"] == "private, no-store"
    assert booked.status_code == 201
    assert booked.headers["x-last-write"]


async def test_every_request_of_a_viewer_counts_once_with_level_edge_for_what_the_edge_served(url):
    async with edge_and_origin(url) as both:
        for number in range(5):
            await both.search(**{"cf-ipcountry": "BR"}, traceparent=f"00-{TRACE[:-4]}000{number}-00f067aa0ba902b7-01")
        await both.viewer.get("/api/users/me", headers=as_user(7))
        await both.viewer.get("/api/nothing")
        text = (await both.viewer.get("/metrics")).text
    # two misses, then three hits; the other two were passed on
    assert [(event.route, event.cache_level) for event in both.edge_events] == [(PATH, "edge")] * 3
    assert [event.route for event in both.origin_events] == [PATH, PATH, "/api/users/me", "/unmatched"]
    assert {event.region for event in both.edge_events} == {"us-east"}
    assert [event.country for event in [*both.edge_events, *both.origin_events]] == ["BR"] * 5 + ["", ""]
    labels = f'cache_level="edge",method="GET",route="{PATH}",status="200"'
    assert f"http_request_duration_seconds_count{{{labels}}} 3.0" in text


async def test_a_trace_goes_on_through_the_edge_with_a_span_of_its_own(url):
    seen: list[bytes] = []

    async def origin(scope, receive, send):
        seen.extend(value for name, value in scope["headers"] if name in (b"traceparent", b"tracestate"))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    async with served(origin, lifespan="off") as origin_url, running_edge(origin_url) as viewer:
        headers = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01", "tracestate": "vendor=1"}
        await viewer.get("/api/users/me", headers=headers)
        await viewer.get("/api/users/me", headers={"traceparent": "nonsense"})
    continued, state = sorted(seen[:2], key=len, reverse=True)
    assert continued.startswith(f"00-{TRACE}-".encode())
    assert continued.endswith(b"-01")
    assert b"00f067aa0ba902b7" not in continued
    assert state == b"vendor=1"
    assert len(seen[2]) == len(continued)
    assert TRACE.encode() not in seen[2]


async def test_an_origin_that_gave_no_answer_is_counted_by_the_edge(url):
    events = Events()
    async with running_edge("http://127.0.0.1:9", events=events) as viewer:
        answer = await viewer.get(PATH, params=SEARCH)
    assert answer.status_code == 502
    assert [(event.route, event.status) for event in events] == [(PATH, 502)]


PUBLIC = [(b"cache-control", b"public, s-maxage=1, stale-if-error=60"), (b"etag", b'"e"')]


async def test_viewers_who_ask_at_once_share_one_question_to_the_origin_and_count_once_each():
    asked, gate, edge_events, origin_events = 0, asyncio.Event(), Events(), Events()

    async def origin(scope, receive, send):
        nonlocal asked
        asked += 1
        await gate.wait()
        await send({"type": "http.response.start", "status": 200, "headers": PUBLIC})
        await send({"type": "http.response.body", "body": b"{}"})

    async with (
        served(recorded(origin, origin_events), lifespan="off") as origin_url,
        running_edge(origin_url, events=edge_events) as viewer,
    ):
        known = {"if-none-match": '"e"'}  # the first has the answer already: the others must get it whole all the same
        asking = [
            asyncio.create_task(viewer.get(PATH, params=SEARCH, headers=known if number == 0 else {}))
            for number in range(10)
        ]
        while not asked:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)  # time for the others to do the wrong thing
        gate.set()
        statuses = sorted([(await answer).status_code for answer in asking])
    assert asked == 1
    assert statuses == [200] * 9 + [304]
    assert (len(edge_events), len(origin_events)) == (9, 1)
    assert {event.cache_level for event in edge_events} == {"edge"}


async def test_an_origin_that_answers_with_an_error_is_replaced_by_a_stale_answer_and_has_counted_it():
    broken, edge_events, origin_events = False, Events(), Events()

    async def origin(scope, receive, send):
        await send({"type": "http.response.start", "status": 503 if broken else 200, "headers": PUBLIC})
        await send({"type": "http.response.body", "body": b"{}"})

    async with (
        served(recorded(origin, origin_events), lifespan="off") as origin_url,
        running_edge(origin_url, events=edge_events) as viewer,
    ):
        asked = 2
        for _ in range(2):
            await viewer.get(PATH, params=SEARCH)
        broken = True
        deadline = time.monotonic() + 20
        while True:
            answer = await viewer.get(PATH, params=SEARCH)
            asked += 1
            if answer.headers["x-cache"] == "stale":
                break
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        refused = await viewer.get(PATH, params=SEARCH | {"passengers": "3"})
    assert answer.status_code == 200
    assert refused.status_code == 503
    assert len(edge_events) + len(origin_events) == asked + 1


async def test_a_region_picks_its_own_origin(url):
    async def named(name: bytes):
        async def origin(scope, receive, send):
            region = dict(scope["headers"])[b"x-region"]
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": name + b" asked for " + region})

        return origin

    async with (
        served(await named(b"Ireland"), lifespan="off") as ireland,
        served(await named(b"Virginia"), lifespan="off") as virginia,
        running_edge(f"eu-west={ireland},{virginia}") as viewer,
    ):
        answers = [
            (await viewer.get("/api/x", headers=headers)).text
            for headers in ({"x-region": "eu-west"}, {"host": "eu-west.example.com"}, {"x-region": "us-west"}, {})
        ]
    assert answers == [
        "Ireland asked for eu-west",
        "Ireland asked for eu-west",
        "Virginia asked for us-west",
        "Virginia asked for us-east",
    ]


async def test_a_change_reaches_every_replicas_caches_and_the_edge_within_two_seconds(url):
    """Books through one replica; asks another replica and the edge until neither shows the old seats."""
    with valkey_node() as node:
        async with edge_and_origin(url, redis_url=node.url) as both, running_app(url, redis_url=node.url) as other:

            async def seats() -> tuple[int, int]:
                answers = await asyncio.gather(both.search(), other.client.get(PATH, params=SEARCH))
                return tuple(answer.json()["flights"][0]["seats_left"] for answer in answers)  # type: ignore[return-value]

            for _ in range(3):
                before = await seats()
            flight = (await both.search()).json()["flights"][0]["flight_id"]
            body = {"flight_id": flight, "class": "economy", "passengers": 1}
            headers = as_user(1, **{"Idempotency-Key": "seen-by-everybody"})
            async with httpx.AsyncClient(base_url=both.viewer.base_url) as buyer:  # keeps its cookie to itself
                assert (await buyer.post("/api/bookings", json=body, headers=headers)).status_code == 201
            committed = time.monotonic()
            while (now := await seats()) != (before[0] - 1, before[1] - 1):
                assert time.monotonic() - committed < 2.0, f"still {now} after {before}"
            text = (await other.client.get("/metrics")).text
            edge_text = (await both.viewer.get("/metrics")).text
    assert both.origin.trails  # the measure itself is a metric of every process that caches:
    assert 'reference_app_invalidation_seconds_count{tier="l1"} 1.0' in text
    assert 'reference_app_invalidation_seconds_count{tier="edge"} 1.0' in edge_text


@contextmanager
def edge_process(**environment: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    outer = {name: value for name, value in os.environ.items() if not name.startswith(("TIDEGAUGE_", "REFERENCE_"))}
    command = [sys.executable, "-m", "tidegauge", "edge", "--port", str(port)]
    process = subprocess.Popen(command, env={**outer, **environment}, stderr=subprocess.PIPE, text=True)
    try:
        yield f"http://127.0.0.1:{port}", process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=10)


def test_the_command_runs_an_edge_that_stops_politely():
    def status(url: str) -> int | None:
        try:
            return httpx.get(url, timeout=5).status_code
        except httpx.TransportError:
            return None

    with edge_process(REFERENCE_APP_EDGE_ORIGINS="http://127.0.0.1:9", REFERENCE_APP_DRAIN_SECONDS="0.5") as (
        url,
        process,
    ):
        wait_until(lambda: status(f"{url}/readyz") == 200, what="the edge to be ready")
        assert status(f"{url}/api/airports/JFK") == 502
        process.send_signal(signal.SIGTERM)
        wait_until(lambda: status(f"{url}/readyz") in (503, None), what="the edge to say unready")
        assert process.wait(20) == 0


def test_a_wrong_setting_of_the_edge_is_named_and_ends_with_2():
    with edge_process(REFERENCE_APP_EDGE_LEAST_USES="none") as (_, process):
        assert process.wait(30) == 2
        assert process.stderr is not None
        assert "REFERENCE_APP_EDGE_LEAST_USES: expected a number of at least 1" in process.stderr.read()
