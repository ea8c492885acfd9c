"""Users of a Locust class behind a scenario file: the real child, a real server."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from loadgen.safety import Target
from loadgen.scenario.file import parse_scenario
from loadgen.scenario.run import RunPlan, RunResult, play
from tests.integration.loadgen_fixtures import TinyServer, always_ok, serving

pytestmark = pytest.mark.server

USERS = """
from locust import FastHttpUser, constant, task


class Shopper(FastHttpUser):
    wait_time = constant(0.05)

    @task
    def shop(self):
        self.client.get("/home", name="home")
        with self.client.get("/basket", name="basket", catch_response=True) as answer:
            answer.failure("empty")


class Stray(FastHttpUser):
    @task
    def elsewhere(self):
        self.client.get("http://shop.example/")
"""
OPEN = "{executor: constant-arrival-rate, rate: 20, duration: 2s, arrivals: uniform}"


async def run(tiny: TinyServer, folder: Path, scenarios: str, name: str = "Shopper") -> RunResult:
    (folder / "shopper.py").write_text(USERS)
    text = f"version: 1\nname: own\nusers: {{file: shopper.py, class: {name}}}\nscenarios: {scenarios}\n"
    scenario = parse_scenario(text, name="own.yaml", folder=folder)
    plan = RunPlan(scenario, Target("127.0.0.1", tiny.port), "r", size=1, drain_seconds=2)
    return await play(plan, asyncio.Event(), show=lambda _progress: None)


async def test_each_arrival_is_one_task_and_its_first_request_counts_from_the_intended_start(tmp_path: Path) -> None:
    async with serving(always_ok) as tiny:
        result = await run(tiny, tmp_path, f"{{o: {OPEN}}}")
    # 20/s for 2 s: 40 tasks of two requests, of which the class itself finds the second wanting.
    assert {name: (one.done, one.failed) for name, one in result.by_route.items() if one.sent} == {
        "home": (40, 0),
        "basket": (0, 40),
    }
    assert tiny.served == result.overall.sent == result.overall.intended == 80
    assert result.overall.lag.total == 40
    assert result.overall.reasons == {"http_200": 40}


async def test_users_of_the_closed_model_rest_as_their_class_says(tmp_path: Path) -> None:
    async with serving(always_ok) as tiny:
        result = await run(tiny, tmp_path, "{c: {executor: constant-vus, vus: 2, duration: 2s}}")
    # Two users that rest for at least 50 ms make at most 40 tasks a second between them.
    assert 0 < result.by_route["home"].done <= 82


async def test_a_class_that_asks_another_host_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    async with serving(always_ok) as tiny:
        result = await run(tiny, tmp_path, f"{{o: {OPEN}}}", name="Stray")
    assert tiny.served == result.overall.done == 0
    assert result.overall.failed == 40
