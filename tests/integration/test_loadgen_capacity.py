"""A capacity measured on a live server: one worker with a fixed service time, behind real sockets."""

from __future__ import annotations

import asyncio

import pytest

from loadgen.capacity.run import CapacityPlan, measure_capacity
from loadgen.capacity.search import goal_of
from loadgen.safety import Target
from loadgen.scenario.file import parse_scenario
from loadgen.scenario.thresholds import parse_slo
from tests.integration.loadgen_fixtures import serving

pytestmark = pytest.mark.server

TEXT = """version: 1
name: pool
journeys: [{name: a, steps: [{name: one, get: /}]}]
scenarios: {a: {executor: constant-vus, vus: 1, duration: 1s}}
"""


async def test_what_is_found_on_a_pool_of_one_stays_below_what_it_can_serve_at_all() -> None:
    worker = asyncio.Semaphore(1)

    async def fixed(_: int) -> int:
        async with worker:
            await asyncio.sleep(0.02)
        return 200

    told: list[str] = []
    async with serving(fixed) as tiny:
        plan = CapacityPlan(
            parse_scenario(TEXT, name="pool"), Target("127.0.0.1", tiny.port),
            (goal_of(parse_slo("http_req_duration: p(90)<1000")),), "r", budget_seconds=1, most_rps=40,
            levels=(1, 2, 4), trial_seconds=3, requests=30,
        )  # fmt: skip
        found = await measure_capacity(plan, told.append)
    # A worker that takes at least 20 ms serves at most 50 in a second, however many users ask.
    assert 0 < found.ceiling_rps <= 52  # seconds are counted by when a request began: one may slip over the edge
    assert {level.users for level in found.levels} == {1, 2, 4}
    assert found.requests_per_arrival == 1
    if found.found.invalid_because:  # a machine too busy to send in time has to say so, and name no capacity
        assert found.interval is None
        return
    assert found.found.trials
    assert all(trial.rps <= 40 for trial in found.found.trials)
    if found.interval is not None:
        assert found.interval[0] < 50
