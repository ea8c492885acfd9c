"""What a capacity is told as: beside live traffic, beside an earlier one, over replicas."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from loadgen.capacity.cross_check import LiveCost, cross_check, read_live_cost
from loadgen.capacity.fleet import ClusterReplicas, CommandReplicas, ReplicasError, measure_fleet
from loadgen.capacity.run import CapacityFound, CapacityPlan
from loadgen.capacity.search import Found, Trial, goal_of, is_lost, upper_end
from loadgen.commands.capacity import _counts, _read_previous, capacity_lines, capacity_report, is_below
from loadgen.safety import Target
from loadgen.scenario.file import parse_scenario
from loadgen.scenario.thresholds import parse_slo

FOUND = CapacityFound(Found(20.0, 22.0, True, (), ()), 1.0, 40.0, (), None, 0.010, "cpu")
NOTHING = cross_check(None, None)


def test_live_requests_that_cost_as_much_leave_the_capacity_as_it_is() -> None:
    check = cross_check(0.010, LiveCost(0.012, 5000, "v1"))
    assert not check.rescales
    assert capacity_report(FOUND, check, None)["capacity_rps"] == {"low": 20.0, "high": 22.0}


def test_live_requests_that_cost_a_quarter_more_rescale_the_capacity_with_a_warning() -> None:
    check = cross_check(0.010, LiveCost(0.0125, 5000, "v1"))
    report = capacity_report(FOUND, check, None)
    # 10 ms / 12.5 ms = 0.8: of 20 to 22 requests/s production carries 16 to 17.6.
    assert report["capacity_rps"] == {"low": pytest.approx(16), "high": pytest.approx(17.6)}
    assert report["measured_rps"] == {"low": 20.0, "high": 22.0}
    assert report["warnings"] == [check.said]
    assert "capacity 16.0 to 17.6" in capacity_lines(FOUND, check)[0]


@pytest.mark.parametrize("live", [None, LiveCost(None, 5000, "v1"), LiveCost(0.5, 99, "v1")])
def test_without_enough_live_requests_nothing_is_compared(live: LiveCost | None) -> None:
    assert cross_check(0.010, live).factor == 1.0
    assert "not compared" in cross_check(0.010, live).said


async def read_from(body: bytes, status: int = 200) -> LiveCost | None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"GET /v1/cpu?service=shop&from=2026-11-21T00%3A00%3A00%2B00%3A00&to=2026-11-22" in head
        writer.write(f"HTTP/1.1 {status} x\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    since, until = datetime(2026, 11, 21, tzinfo=UTC), datetime(2026, 11, 22, tzinfo=UTC)
    async with server:
        return await asyncio.to_thread(read_live_cost, url, "shop", since=since, until=until)


async def test_the_record_is_asked_in_its_own_words_for_what_live_traffic_cost() -> None:
    body = {"cpu_seconds": 60.0, "requests": 5000, "cpu_seconds_per_request": 0.012, "version": "v1"}
    assert await read_from(json.dumps(body).encode()) == LiveCost(0.012, 5000, "v1")
    assert await read_from(json.dumps({**body, "cpu_seconds_per_request": None}).encode()) == LiveCost(None, 5000, "v1")
    assert await read_from(b"{}", 404) is None
    with pytest.raises(ValueError, match="expected the CPU of 'shop'"):
        await read_from(b"{}")


def test_a_regression_is_an_interval_below_and_a_requirement_is_a_low_end_below(tmp_path: Path) -> None:
    assert is_below((20.0, 22.0), 21.0, beyond_doubt=False)
    assert not is_below((20.0, 22.0), 21.0, beyond_doubt=True)
    assert is_below((20.0, 22.0), 22.5, beyond_doubt=True)
    assert not is_below((20.0, None), 22.5, beyond_doubt=True)
    file = tmp_path / "before.json"
    file.write_text(json.dumps(capacity_report(FOUND, NOTHING, None)))
    assert _read_previous(str(file), "shop") == (20.0, True)
    assert _read_previous("17.5", "shop") == (17.5, False)
    with pytest.raises(ValueError, match="expected requests/s, a file"):
        _read_previous("nothing.json", "shop")


def test_a_trial_ends_early_when_it_cannot_pass_any_more() -> None:
    goal = goal_of(parse_slo("http_req_duration: p(95)<40"))
    # Allowed are 5 %. Wilson at 99 %: 20 of 100 is at least 12 %, beyond doubt; 9 of 100 is at least 4.3 %, not yet.
    assert is_lost(100, (20,), (goal,))
    assert not is_lost(100, (9,), (goal,))
    assert not is_lost(0, (0,), (goal,))


def test_the_trial_above_has_to_fail_or_the_upper_end_is_open() -> None:
    above = Trial(11.0, "above", "fail", 100, (50,))
    assert upper_end(None, above) == upper_end(15.0, above) == 11.0
    assert upper_end(10.5, above) == 10.5
    assert upper_end(10.8, replace(above, judgement="pass")) is None
    assert upper_end(15.0, replace(above, judgement="pass")) == 15.0
    assert upper_end(15.0, replace(above, judgement="unclear")) == 15.0


TEXT = """version: 1
name: pool
journeys: [{name: a, steps: [{name: one, get: /}]}]
scenarios: {a: {executor: constant-vus, vus: 1, duration: 1s}}
"""


class PretendedReplicas:
    def __init__(self) -> None:
        self.count, self.released = 0, False

    async def set(self, count: int) -> None:
        self.count = count

    def unsteady(self) -> None:
        return None

    async def release(self) -> None:
        self.released = True


async def test_the_law_over_replicas_is_fitted_to_what_each_number_carried() -> None:
    replicas, asked = PretendedReplicas(), []

    async def measure(plan: CapacityPlan, _show: Any) -> CapacityFound:
        asked.append((replicas.count, plan.budget_seconds))
        n = replicas.count
        low = 100 * n / (1 + 0.1 * (n - 1))  # contention 0.1, no coherency
        return replace(FOUND, found=Found(low, low * 1.05, True, (), ()))

    goal = goal_of(parse_slo("http_req_failed: rate<0.01"))
    plan = CapacityPlan(parse_scenario(TEXT, name="p"), Target("127.0.0.1", 1), (goal,), "r", 300, 1000)
    fleet = await measure_fleet(plan, [1, 2, 4], replicas, lambda _text: None, measure=measure)
    assert sorted(asked) == [(1, 100), (2, 100), (4, 100)]
    assert replicas.released
    assert fleet.usl is not None
    assert (fleet.usl.gamma, fleet.usl.alpha, fleet.usl.beta) == pytest.approx((100, 0.1, 0), abs=1e-6)
    assert [one["replicas"] for one in fleet.to_json()["fleet"]] == [1, 2, 4]


@pytest.mark.parametrize("text", ["2,4", "1,1", "1,x", "0,1"])
def test_numbers_of_replicas_that_say_nothing_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="--replicas"):
        _counts(text)


async def test_replicas_of_the_local_cluster_are_held_by_their_floor_and_given_back() -> None:
    state, patched = {"ready": 1, "current": 1}, []

    def cluster(request: httpx.Request) -> httpx.Response:
        if request.method == "PATCH":
            patched.append(json.loads(request.content))
            state["ready"] = state["current"] = patched[-1].get("min_replicas", 1)
        return httpx.Response(200, json=state)

    client = httpx.Client(transport=httpx.MockTransport(cluster))
    replicas = ClusterReplicas("http://c", "shop", client)
    await replicas.set(2)
    assert replicas.unsteady() is None
    state["ready"] = 3
    assert replicas.unsteady() == "3 replicas were ready, not 2"
    await replicas.release()
    assert patched == [
        {"min_replicas": 2, "field_manager": "tidegauge-load"},
        {"release": True, "field_manager": "tidegauge-load"},
    ]


async def test_a_command_sets_replicas_and_its_failure_is_told(tmp_path: Path) -> None:
    await CommandReplicas(f"touch {tmp_path}/{{n}}").set(4)
    assert (tmp_path / "4").exists()
    with pytest.raises(ReplicasError, match="to end with 0"):
        await CommandReplicas("false").set(1)
