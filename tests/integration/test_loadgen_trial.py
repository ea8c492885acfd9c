"""Trials with the real child against a real server: the sums hold, stalls show, and a killed child is replaced."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from loadgen.results import Histogram, buckets_of
from loadgen.safety import Target
from loadgen.sending.child import ChildProcess
from loadgen.trial import NoTargetError, Trial, TrialPlan, run_trial
from tests.integration.loadgen_fixtures import TinyServer, always_ok, serving

pytestmark = pytest.mark.server

HALF_SECOND_US = 500_000


def a_plan(tiny: TinyServer, *, rps: float = 40, seconds: float = 2, **more: Any) -> TrialPlan:
    return TrialPlan(Target("127.0.0.1", tiny.port), rps, timedelta(seconds=seconds), path="/", **more)


async def run(plan: TrialPlan, **more: Any) -> Trial:
    return await run_trial(plan, asyncio.Event(), lambda _seconds, _text: None, **more)


def longer_than(histogram: Histogram, microseconds: int) -> int:
    (edge,) = buckets_of(np.array([microseconds]))
    return sum(count for bucket, count in histogram.counts.items() if bucket > edge)


async def test_every_arrival_is_done_failed_or_unsent_and_the_server_saw_those_that_were_sent() -> None:
    async def every_tenth_fails(number: int) -> int:
        return 503 if number % 10 == 0 else 200

    async with serving(every_tenth_fails) as tiny:
        trial = await run(a_plan(tiny, kind="uniform"))
    total = trial.totals.overall
    # 40/s for 2 s, evenly spaced: 80 arrivals, of which every tenth is answered with 503.
    assert total.intended == 80
    assert total.done + total.failed + total.unsent == total.intended
    assert tiny.served == total.sent
    assert total.failed == total.reasons["http_503"] == total.sent // 10
    assert total.response.total() == total.sent


async def test_the_same_seed_is_the_same_number_of_arrivals() -> None:
    async with serving(always_ok) as tiny:
        first, second = [await run(a_plan(tiny, seed=5, seconds=1)) for _ in range(2)]
    assert first.totals.overall.intended == second.totals.overall.intended > 0


async def test_response_time_counts_the_wait_for_a_stalled_server_and_service_time_does_not() -> None:
    async def first_one_stalls(number: int) -> int:
        if number == 1:
            await asyncio.sleep(1.5)
        return 200

    async def start_with_one_user(plan: Mapping[str, Any]) -> ChildProcess:
        return await ChildProcess.start({**plan, "parts": [{**plan["parts"][0], "most_users": 1}]})

    async with serving(first_one_stalls) as tiny:
        trial = await run(a_plan(tiny, kind="uniform"), start_child=start_with_one_user)
    total = trial.totals.overall
    assert total.unsent == 0
    # The one user is held for 1.5 s. What is due in its first second, 40 arrivals, waits for more than half a second;
    # a closed loop would have sent, and counted, a single slow request.
    slow_service = longer_than(total.service, HALF_SECOND_US)
    assert slow_service >= 1
    assert longer_than(total.response, HALF_SECOND_US) >= slow_service + 20
    assert any("send lag" in reason for reason in trial.invalid_because)


async def test_what_exceeds_the_limit_in_flight_is_unsent_and_makes_the_trial_invalid() -> None:
    async def slow(_: int) -> int:
        await asyncio.sleep(1.0)
        return 200

    async def start_with_little_room(plan: Mapping[str, Any]) -> ChildProcess:
        return await ChildProcess.start({**plan, "parts": [{**plan["parts"][0], "most_users": 5, "most_waiting": 5}]})

    async with serving(slow) as tiny:
        trial = await run(a_plan(tiny), start_child=start_with_little_room)
    total = trial.totals.overall
    assert total.settled
    assert total.reasons["unsent_limit"] == total.unsent > 0
    assert any("never sent" in reason for reason in trial.invalid_because)


async def test_a_killed_child_is_replaced_and_the_sums_hold() -> None:
    children: list[ChildProcess] = []

    async def start_and_remember(plan: Mapping[str, Any]) -> ChildProcess:
        children.append(await ChildProcess.start(plan))
        return children[-1]

    async def kill_at_the_thirtieth(number: int) -> int:
        if number == 30:
            os.kill(children[0].pid, signal.SIGKILL)
        return 200

    async with serving(kill_at_the_thirtieth) as tiny:
        trial = await run(a_plan(tiny, seconds=7, kind="uniform"), start_child=start_and_remember)
    total = trial.totals.overall
    assert len(children) == 2
    assert total.intended == 280
    assert total.done + total.failed + total.unsent == total.intended
    assert total.done > 30  # the second child sent, too
    assert total.reasons["generator_down"] == total.unsent > 0
    assert tiny.served >= total.done


async def test_a_target_that_is_not_there_is_told_before_anything_is_sent() -> None:
    async with serving(always_ok) as tiny:
        pass
    with pytest.raises(NoTargetError, match="nobody listens"):
        await run(a_plan(tiny))


async def test_the_collector_is_told_of_a_run_at_a_services_own_address() -> None:
    words = ["load", "run", "--rps", "20", "--duration", "1s", "--path", "/", "--service", "shop", "--target"]
    async with serving(always_ok) as shop, serving(always_ok) as collector:
        command = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tidegauge", *words, f"http://127.0.0.1:{shop.port}",
            env={**os.environ, "TIDEGAUGE_COLLECTOR_URL": f"http://127.0.0.1:{collector.port}"},
        )  # fmt: skip
        code = await command.wait()
    told = [json.loads(body) for body in collector.bodies]
    assert [run["service"] for run in told] == ["shop"] * len(told)
    assert [run["status"] for run in told] == ["running"] * (len(told) - 1) + [("finished", "invalid")[code]]
    assert len({run["run_id"] for run in told}) == 1
    assert told[0]["started_at"] < told[-1]["ended_at"]
