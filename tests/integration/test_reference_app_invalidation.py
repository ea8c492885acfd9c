"""News of changes over a real Valkey stream: followers that hear, that were away, and that lost their place."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from prometheus_client import CollectorRegistry
from redis.exceptions import RedisError

from reference_app.background import in_background
from reference_app.caching.invalidation import STREAM, Follower, FollowerMetrics, Publisher
from reference_app.caching.l1 import TaggedCache
from reference_app.caching.l2 import connect
from reference_app.caching.tags import EVENTS, INVENTORY_UPDATED, PRICING_UPDATED, USER_UPDATED
from tests.integration.database_fixtures import Cluster, cluster
from tests.integration.reference_app_fixtures import TOMORROW, as_user, poll, running_app, seed
from tests.integration.valkey_fixtures import Node, valkey_cluster, valkey_node

__all__ = ["cluster"]
pytestmark = pytest.mark.server

SEARCH = {"origin": "ATL", "destination": "LHR", "date": str(TOMORROW), "passengers": "2", "class": "economy"}


@pytest.fixture(scope="module")
def url(cluster: Cluster) -> str:
    name = cluster.new_database()
    seed(cluster.primary.url(name))
    return cluster.primary.url(name)


class Heard:
    def __init__(self, url: str, *, in_cluster: bool = False) -> None:
        self.cache, self.registry = TaggedCache(), CollectorRegistry()
        client = connect(url, cluster=in_cluster, timeout_seconds=3.0)
        self.metrics = FollowerMetrics(self.registry, tier="l1")
        self.follower = Follower(client, self.cache, self.metrics)

    def going_on(self, url: str) -> Heard:
        """Follow again from where we stopped."""
        client = connect(url, cluster=False, timeout_seconds=3.0)
        position = self.follower.position
        self.follower = Follower(client, self.cache, self.metrics, after=position)
        return self

    def clears(self) -> float:
        return self.registry.get_sample_value("reference_app_cache_clears_total", {"tier": "l1"}) or 0.0

    def count(self) -> float:
        return self.registry.get_sample_value("reference_app_invalidation_seconds_count", {"tier": "l1"}) or 0.0


@asynccontextmanager
async def following(heard: Heard) -> AsyncIterator[Heard]:
    async with in_background(heard.follower.run()):
        await poll(lambda: heard.follower.following, what="the follower to hear")
        yield heard


@asynccontextmanager
async def publishing(node: Node, *, in_cluster: bool = False, most_entries: int = 10_000) -> AsyncIterator[Publisher]:
    publisher = Publisher(connect(node.url, cluster=in_cluster), most_entries=most_entries)
    try:
        yield publisher
    finally:
        await publisher.close()


@pytest.mark.parametrize("event", sorted(EVENTS))
async def test_each_event_makes_every_follower_forget_by_tag(event: str):
    with valkey_node() as node:
        async with (
            following(Heard(node.url)) as one,
            following(Heard(node.url)) as other,
            publishing(node) as publisher,
        ):
            for heard in (one, other):
                heard.cache.put("a", 1, tags=("x",))
                heard.cache.put("b", 2, tags=("y",))
            await publisher.publish(event, ["x"])
            for heard in (one, other):
                await poll(lambda heard=heard: heard.cache.get("a") is None, what="the value to be forgotten")
                assert heard.cache.get("b") == 2
                assert heard.count() == 1


async def test_in_a_cluster_news_travels_too():
    with valkey_cluster() as nodes:
        async with (
            following(Heard(nodes[0].url, in_cluster=True)) as heard,
            publishing(nodes[1], in_cluster=True) as publisher,
        ):
            heard.cache.put("a", 1, tags=("x",))
            await publisher.publish(PRICING_UPDATED, ["x", "another-slot"])
            await poll(lambda: heard.cache.get("a") is None, what="the value to be forgotten")


async def test_a_follower_that_was_away_goes_on_where_it_stopped():
    with valkey_node() as node:
        heard = Heard(node.url)
        async with publishing(node) as publisher:
            async with following(heard):
                await publisher.publish(USER_UPDATED, ["user:1"])
                await poll(lambda: heard.count() == 1, what="the first change")
                heard.cache.put("a", 1, tags=("user:7",))
                heard.cache.put("b", 2, tags=("user:8",))
            await publisher.publish(USER_UPDATED, ["user:7"])  # while it was away
            async with following(heard.going_on(node.url)):
                await poll(lambda: heard.cache.get("a") is None, what="the missed change")
        assert heard.cache.get("b") == 2
        assert heard.clears() == 0


async def test_a_follower_whose_place_in_the_stream_is_gone_forgets_everything():
    with valkey_node() as node:
        heard = Heard(node.url)
        async with publishing(node, most_entries=5) as publisher:
            async with following(heard):
                await publisher.publish(USER_UPDATED, ["user:1"])
                await poll(lambda: heard.count() == 1, what="the first change")
                heard.cache.put("a", 1, tags=("user:7",))
            for number in range(300):  # trimmed by whole nodes of 100 entries
                await publisher.publish(USER_UPDATED, [f"user:{100 + number}"])
            async with following(heard.going_on(node.url)):
                assert heard.clears() == 1
                assert heard.cache.get("a") is None


async def test_when_the_server_dies_and_comes_back_followers_hear_again_and_miss_nothing():
    with valkey_node() as node:
        async with following(Heard(node.url)) as heard:
            async with publishing(node) as publisher:
                await publisher.publish(INVENTORY_UPDATED, ["x"])
            await poll(lambda: heard.count() == 1, what="the first change")
            heard.cache.put("a", 1, tags=("y",))
            node.kill()
            await poll(lambda: not heard.follower.following, what="the follower to notice")
            async with publishing(node) as publisher:
                with pytest.raises((RedisError, OSError)):  # the relay has to try again
                    await publisher.publish(INVENTORY_UPDATED, ["y"])
                node.start()
                await publisher.publish(INVENTORY_UPDATED, ["y"])
            await poll(lambda: heard.cache.get("a") is None, what="the change after the restart")
            assert heard.follower.following


async def test_a_follower_that_hears_nothing_for_long_keeps_things_only_briefly():
    seconds = 0.0
    with valkey_node() as node:
        heard = Heard(node.url)
        heard.follower._monotonic = lambda: seconds
        async with following(heard):
            heard.cache.put("a", 1)
            node.kill()
            await poll(lambda: not heard.follower.following, what="the follower to notice")
            assert heard.cache.get("a") == 1
            seconds = 6.0  # it is deaf after 5
            await poll(lambda: heard.cache.limit_seconds == 30.0, what="the limit")
            assert heard.cache.get("a") is None
            node.start()
            await poll(lambda: heard.cache.limit_seconds is None, what="the limit to be lifted")


async def test_words_of_another_version_make_it_forget_everything():
    with valkey_node() as node:
        async with following(Heard(node.url)) as heard:
            heard.cache.put("a", 1)
            with node.client() as client:
                client.xadd(STREAM, {"what": "is this"})
            await poll(lambda: heard.cache.get("a") is None, what="everything to be forgotten")
            assert heard.follower.following


async def test_an_event_that_is_none_is_refused():
    with pytest.raises(ValueError, match=r"expected an event of inventory\.updated, .*got 'price'"):
        await Publisher(None).publish("price", ["x"])


async def test_a_user_who_was_changed_is_read_anew_by_every_replica(url, cluster):
    with valkey_node() as node:
        async with running_app(url, redis_url=node.url) as one, running_app(url, redis_url=node.url) as other:
            for app in (one, other):
                await app.client.get("/api/users/me", headers=as_user(9))
            database = url.partition("@/")[2].partition("?")[0]
            cluster.primary.run("UPDATE users SET name = 'Changed' WHERE id = 9", database)
            await one.parts.caches.publisher.publish(USER_UPDATED, ["user:9"])
            names: set[str] = set()

            async def ask() -> set[str]:
                answers = [await app.client.get("/api/users/me", headers=as_user(9)) for app in (one, other)]
                return {answer.json()["name"] for answer in answers}

            deadline = asyncio.get_running_loop().time() + 5
            while names != {"Changed"}:
                assert asyncio.get_running_loop().time() < deadline
                await asyncio.sleep(0.01)  # an answer from L1 never waits: the follower needs a turn too
                names = await ask()


async def test_a_price_change_reaches_a_search_that_another_replica_keeps(url, cluster):
    with valkey_node() as node:
        async with running_app(url, redis_url=node.url) as one, running_app(url, redis_url=node.url) as other:
            before = (await other.client.get("/api/flights/search", params=SEARCH)).json()["flights"][0]
            database = url.partition("@/")[2].partition("?")[0]
            doubled = f"base_price_cents = 2 * base_price_cents WHERE instance_id = {before['flight_id']}"
            cluster.primary.run(f"UPDATE inventory SET {doubled}", database)
            await one.parts.caches.publisher.publish(PRICING_UPDATED, ["route:ATL-LHR"])
            deadline = asyncio.get_running_loop().time() + 5
            while True:
                after = (await other.client.get("/api/flights/search", params=SEARCH)).json()["flights"][0]
                if after["price_cents"] >= 2 * before["price_cents"] - 2:
                    break
                assert asyncio.get_running_loop().time() < deadline
                await asyncio.sleep(0.01)
