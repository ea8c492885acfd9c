"""The two shipped scenarios, shortened, against the reference app itself: what they ask for is what it answers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from loadgen.safety import Limits, check_target
from loadgen.scenario.file import SHIPPED, parse_scenario
from loadgen.scenario.run import RunPlan, RunResult, play
from reference_app.prepare import SeedTerms, prepare
from tests.integration.database_fixtures import Cluster, cluster, wait_until
from tests.integration.reference_app_fixtures import app_process

__all__ = ["cluster"]
pytestmark = pytest.mark.server

# What one replica needs to carry a hundred bookings a second: the supplier must not be what bounds it.
GENEROUS = {"REFERENCE_APP_SUPPLIER_CONCURRENCY": "64", "REFERENCE_APP_SUPPLIER_LATENCY_MS": "5"}


@pytest.fixture(scope="module")
def app_url(cluster: Cluster) -> Iterator[str]:
    import httpx

    url = cluster.primary.url(cluster.new_database())
    prepare(url, today=datetime.now(UTC).date(), terms=SeedTerms())

    def is_ready(base: str) -> bool:
        try:
            return httpx.get(f"{base}/readyz", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    with app_process({"REFERENCE_APP_DATABASE_URL": url, **GENEROUS}) as (base, _):
        wait_until(lambda: is_ready(base), what="the app is ready", seconds=60)
        yield base


async def run(name: str, url: str, *changes: tuple[str, str]) -> RunResult:
    text = (SHIPPED / f"{name}.yaml").read_text()
    for long, short in changes:
        assert long in text
        text = text.replace(long, short)
    plan = RunPlan(parse_scenario(text, name=name), check_target(url, Limits()), f"short-{name}", size=1)
    return await play(plan, asyncio.Event(), show=lambda _progress: None)


async def test_flight_search_load_finds_flights_and_looks_closer_at_them(app_url: str) -> None:
    short = ("duration: 2m", "duration: 1s"), ("duration: 5m", "duration: 1s"), ("think: [1s, 3s]", "think: 300ms")
    result = await run(
        "flight_search_load", app_url, *short, ("target: 200", "target: 20"), ("target: 100", "target: 15")
    )
    assert result.overall.failed == result.overall.unsent == 0, result.overall.reasons
    assert result.by_route["search"].done > 0
    assert result.by_route["flight"].done > 0
    assert all(failed == 0 and passed > 0 for passed, failed in result.checks.values())
    assert [one.threshold.name for one in result.judged][:3] == [
        "http_req_duration: p(95)<2000",
        "http_req_failed: rate<0.01",
        "http_reqs: rate>50",
    ]


async def test_booking_stress_test_books_or_is_told_that_it_is_sold_out(app_url: str) -> None:
    result = await run("booking_stress_test", app_url, ("duration: 10m", "duration: 3s"), ("rate: 100", "rate: 20"))
    assert result.overall.failed == result.overall.unsent == 0, result.overall.reasons
    assert result.checks["booked or sold out"] == (result.overall.done, 0)
    assert result.overall.intended > 20
