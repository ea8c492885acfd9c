"""The forecaster's HTTP API on a store in which nothing is recorded, and on none at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import httpx
import pytest

from collector.catalog import Catalog
from collector.clickhouse import StoreUnavailableError
from forecaster.actuators.memory import MemoryCluster
from forecaster.api.app import ApiParts, build_app
from forecaster.loop.tick import World
from forecaster.metrics import ForecasterMetrics
from forecaster.settings import Settings
from tests.unit.forecaster_fakes import HPA, SERVICE, FakeStore, a_world


@contextmanager
def _running() -> Iterator[None]:
    yield


def _parts(world: World | None, why_not: str | None) -> ApiParts:
    from tidegauge.clock import Clock

    catalog = Catalog({"shop": SERVICE, "plain": replace(SERVICE, name="plain", scaling=None)})
    return ApiParts(catalog, ForecasterMetrics(Clock(), Settings()), lambda: world, lambda: why_not, _running)


def _client(parts: ApiParts) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(build_app(parts)), base_url="http://forecaster")


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
def parts(store: FakeStore) -> ApiParts:
    return _parts(a_world(store, MemoryCluster({"app": HPA})), None)


async def test_it_is_alive_but_not_ready_until_the_store_was_reached() -> None:
    async with _client(_parts(None, "the store at http://127.0.0.1:1: connection refused")) as http:
        assert (await http.get("/healthz")).status_code == 200
        ready = await http.get("/readyz")
        assert ready.status_code == 503
        assert "connection refused" in ready.json()["error"]
        assert (await http.get("/v1/services/shop")).status_code == 503


async def test_the_overview_says_why_nothing_was_done(parts: ApiParts) -> None:
    async with _client(parts) as http:
        body = (await http.get("/v1/services/shop")).json()
    assert (body["mode"], body["forecast_origin"], body["last_decision"]) == ("act", None, None)
    assert body["why"] == ["no decision has been taken yet"]
    assert body["autoscaler"]["floor"] == 2


async def test_the_plan_is_decided_now_and_changes_nothing(parts: ApiParts) -> None:
    async with _client(parts) as http:
        body = (await http.get("/v1/services/shop/plan")).json()
    assert body["outcome"] == "no_plan"
    assert "no forecast" in body["reasons"][0]
    world = parts.world()
    assert world is not None
    assert world.actuator.read("app") == HPA


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/v1/services/nobody", "known: plain, shop"),
        ("/v1/services/nobody/decisions", "known: plain, shop"),
        ("/v1/services/plain/plan", "no scaling target"),
        ("/v1/services/shop/forecast", "no forecast of shop"),
    ],
)
async def test_what_is_not_there_is_404_with_the_reason(parts: ApiParts, path: str, words: str) -> None:
    async with _client(parts) as http:
        answer = await http.get(path)
    assert answer.status_code == 404
    assert words in answer.json()["error"]


async def test_a_store_that_is_down_is_503_not_an_empty_answer(parts: ApiParts, store: FakeStore) -> None:
    store.error = StoreUnavailableError("connection refused")
    async with _client(parts) as http:
        answer = await http.get("/v1/services/shop/decisions")
    assert answer.status_code == 503
    assert "connection refused" in answer.json()["error"]


async def test_metrics_are_in_the_text_format_of_prometheus(parts: ApiParts) -> None:
    async with _client(parts) as http:
        answer = await http.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "# TYPE tidegauge_tick_seconds histogram" in answer.text
