"""Several machines behind one scenario: Locust's master and two workers, real processes on loopback."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from typing import Any

import pytest

from loadgen.safety import Target
from loadgen.scenario.file import parse_scenario
from loadgen.scenario.run import RunPlan, RunResult, play
from loadgen.sending.machines import Machines
from tests.integration.loadgen_fixtures import always_ok, serving
from tests.integration.store_fixtures import free_port

pytestmark = pytest.mark.server

TEXT = """version: 1
name: spread
journeys: [{name: a, steps: [{name: one, get: /}]}]
scenarios:
  open: {executor: constant-arrival-rate, rate: 40, duration: DURATION, arrivals: uniform}
  closed: {executor: constant-vus, vus: 2, duration: 1s, journeys: [a]}
"""


async def joined(port: int) -> Any:
    return await asyncio.create_subprocess_exec(sys.executable, "-m", "loadgen.sending.join", "127.0.0.1", str(port))


async def run_on_two(tiny_port: int, duration: str, *, kill_one_at: float | None = None) -> tuple[RunResult, list[int]]:
    port = free_port()
    workers = [await joined(port), await joined(port)]
    try:
        machines = await Machines.listen("127.0.0.1", port, 2)
        scenario = parse_scenario(TEXT.replace("DURATION", duration), name="spread")
        plan = RunPlan(scenario, Target("127.0.0.1", tiny_port), "r", size=2, drain_seconds=2)

        def show(progress: Any) -> None:
            if kill_one_at is not None and progress.seconds > kill_one_at and workers[0].returncode is None:
                with suppress(ProcessLookupError):
                    workers[0].kill()

        try:
            result = await play(plan, asyncio.Event(), show=show, start_child=machines.start)
        finally:
            await machines.close()
        codes = [await asyncio.wait_for(worker.wait(), 20) for worker in workers]
    finally:
        for worker in workers:
            if worker.returncode is None:
                worker.kill()
                await worker.wait()
    return result, codes


async def test_two_machines_share_arrivals_and_users_and_every_request_is_counted_once() -> None:
    async with serving(always_ok) as tiny:
        result, codes = await run_on_two(tiny.port, "3s")
    assert codes == [0, 0]
    assert result.status == "finished"
    # 40/s for 3 s, dealt out card by card; the closed model's come on top.
    assert result.overall.lag.total == 120
    assert tiny.served == result.overall.sent == result.overall.done == result.overall.intended > 120
    assert result.overall.unsent == 0


async def test_a_machine_that_is_lost_ends_the_run_as_invalid() -> None:
    async with serving(always_ok) as tiny:
        result, _ = await run_on_two(tiny.port, "60s", kill_one_at=1.0)
    assert result.status == "broken"
    assert result.verdict.status == "invalid"
    overall = result.overall
    assert overall.done + overall.failed + overall.unsent == overall.intended
