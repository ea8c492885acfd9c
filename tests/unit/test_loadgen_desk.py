"""Runs over HTTP: started, watched, stopped, one at a time; scheduled by night and by build."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from loadgen.metrics import Measured
from loadgen.safety import Limits
from loadgen.scenario.run import Progress, RunPlan, RunResult
from loadgen.scenario.thresholds import Verdict
from loadgen.server.api import create_app
from loadgen.server.desk import Desk
from loadgen.server.schedules import Schedule, ScheduleError, Schedules


class PretendedPlay:
    """Plays until it is stopped, or let go."""

    def __init__(self) -> None:
        self.let_go = asyncio.Event()
        self.plans: list[RunPlan] = []

    async def __call__(self, plan: RunPlan, stop: asyncio.Event, *, show: Any, **_more: Any) -> RunResult:
        self.plans.append(plan)
        measured = Measured(intended=10, done=10)
        while not (stop.is_set() or self.let_go.is_set()):
            show(Progress(2.0, 960.0, 7, 1, measured))
            await asyncio.sleep(0.001)
        return RunResult(
            plan, 1.8e9, 2.0, measured, {}, {}, [], Verdict("pass", ()), "stopped", 0.0, 0.0, None
        )  # fmt: skip


class Rig:
    def __init__(self, folder: Path) -> None:
        self.play = PretendedPlay()
        self.version: str | None = "v1"
        self.desk = Desk(Limits(), folder, play=self.play)
        self.schedules = Schedules(self.desk, folder / "schedules.json", lambda _service: self.version)
        self.client = httpx.AsyncClient(
            transport=httpx.ASGITransport(create_app(self.desk, self.schedules)), base_url="http://127.0.0.1:9402"
        )

    async def ask(self, method: str, path: str, status: int, body: Any = None) -> Any:
        answer = await self.client.request(method, path, json=body)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def until(self, run_id: str, state: str) -> dict[str, Any]:
        async with asyncio.timeout(5):
            while (run := await self.ask("GET", f"/v1/runs/{run_id}", 200))["state"] != state:
                await asyncio.sleep(0.002)
        found: dict[str, Any] = run
        return found


@asynccontextmanager
async def a_rig(folder: Path) -> AsyncIterator[Rig]:
    rig = Rig(folder)
    rig.schedules.start()
    try:
        async with rig.client:
            yield rig
    finally:
        rig.schedules.stop()
        rig.play.let_go.set()
        await rig.desk.close()


async def test_a_run_is_started_watched_and_stopped_and_keeps_its_summary(tmp_path: Path) -> None:
    async with a_rig(tmp_path) as rig:
        assert "flight_search_load" in (await rig.ask("GET", "/v1/scenarios", 200))["scenarios"]
        order = {"scenario": "flight_search_load", "target": "http://127.0.0.1:8001", "seed": 4}
        run_id = (await rig.ask("POST", "/v1/runs", 202, order))["run_id"]
        running = await rig.until(run_id, "running")
        assert running["progress"]["users"] == 7
        assert (rig.play.plans[0].seed, rig.play.plans[0].target.port) == (4, 8001)
        await rig.ask("POST", f"/v1/runs/{run_id}/stop", 202, {})
        finished = await rig.until(run_id, "finished")
        assert finished["summary"]["verdict"]["status"] == "pass"
        assert [run["run_id"] for run in (await rig.ask("GET", "/v1/runs", 200))["runs"]] == [run_id]


async def test_a_second_run_waits_for_nobody_and_is_refused(tmp_path: Path) -> None:
    async with a_rig(tmp_path) as rig:
        order = {"scenario": "booking_stress_test"}
        await rig.ask("POST", "/v1/runs", 202, order)
        assert "no run under way" in (await rig.ask("POST", "/v1/runs", 409, order))["error"]


@pytest.mark.parametrize(
    ("order", "why"),
    [
        ({"scenario": "../../etc/passwd"}, "expected one of"),
        ({"scenario": "flight_search_load", "target": "http://shop.example"}, "TIDEGAUGE_LOAD_ALLOWED_HOSTS"),
        ({"scenario": "flight_search_load", "users": 3}, "body.users"),
        ({}, "body.scenario"),
    ],
)
async def test_an_order_out_of_bounds_is_refused_with_what_was_expected(
    tmp_path: Path, order: dict[str, Any], why: str
) -> None:
    async with a_rig(tmp_path) as rig:
        assert why in (await rig.ask("POST", "/v1/runs", 400, order))["error"]
        assert rig.play.plans == []


async def test_a_page_of_another_site_can_start_nothing(tmp_path: Path) -> None:
    async with a_rig(tmp_path) as rig:
        form = await rig.client.post("/v1/runs", content=b'{"scenario": "x"}', headers={"content-type": "text/plain"})
        assert form.status_code == 415
        rebound = await rig.client.get("/v1/runs", headers={"host": "evil.example"})
        assert rebound.status_code == 400


async def test_schedules_outlive_the_process_and_tell_when_they_are_next(tmp_path: Path) -> None:
    nightly = {"scenario": "booking_stress_test", "nightly": "02:30"}
    async with a_rig(tmp_path) as rig:
        (told,) = (await rig.ask("PUT", "/v1/schedules/night", 200, nightly))["schedules"]
        assert told["next_at"].endswith("T02:30:00+00:00")
    async with a_rig(tmp_path) as rig:
        (told,) = (await rig.ask("GET", "/v1/schedules", 200))["schedules"]
        assert (told["name"], told["scenario"], told["nightly"]) == ("night", "booking_stress_test", "02:30")
        assert (await rig.ask("DELETE", "/v1/schedules/night", 200))["schedules"] == []
        await rig.ask("DELETE", "/v1/schedules/night", 404)


async def test_a_new_build_is_tested_once_and_the_first_one_seen_is_not_new(tmp_path: Path) -> None:
    async with a_rig(tmp_path) as rig:
        rig.schedules.put(Schedule("builds", "booking_stress_test", on_new_build_of="reference-app"))
        for version, runs in (("v1", 0), ("v1", 0), (None, 0), ("v2", 1), ("v2", 1)):
            rig.version = version
            await rig.schedules.look_for_builds()
            assert len(rig.desk.runs) == runs
        (run,) = rig.desk.runs.values()
        assert run.asked_by == "schedule builds"
    assert json.loads((tmp_path / "schedules.json").read_text())["last_versions"] == {"builds": "v2"}


async def test_a_build_that_comes_during_a_run_is_tested_after_it(tmp_path: Path) -> None:
    async with a_rig(tmp_path) as rig:
        rig.schedules.put(Schedule("builds", "booking_stress_test", on_new_build_of="reference-app"))
        await rig.schedules.look_for_builds()
        first = rig.desk.start("flight_search_load")
        rig.version = "v2"
        await rig.schedules.look_for_builds()
        assert len(rig.desk.runs) == 1
        rig.desk.stop(first.run_id)
        await rig.until(first.run_id, "finished")
        await rig.schedules.look_for_builds()
        assert len(rig.desk.runs) == 2


@pytest.mark.parametrize(
    "more", [{}, {"nightly": "25:00"}, {"nightly": "02:30", "on_new_build_of": "a"}, {"nightly": "2:30"}]
)
def test_a_schedule_without_one_sound_time_is_refused(more: dict[str, str]) -> None:
    with pytest.raises(ScheduleError):
        Schedule("s", "booking_stress_test", **more)
