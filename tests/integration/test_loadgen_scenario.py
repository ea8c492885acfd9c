"""Scenarios with the real child and a real server: the sums hold, thresholds end runs, exit codes say so."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from collector.api.models import LoadRunIn
from loadgen.safety import Target
from loadgen.scenario.file import parse_scenario
from loadgen.scenario.recorded_run import play_recorded
from loadgen.scenario.run import RunPlan, RunResult, play
from tests.integration.loadgen_fixtures import TinyServer, always_ok, serving

pytestmark = pytest.mark.server

JOURNEY = """version: 1
name: tiny
journeys:
  - name: a
    steps:
      - {name: one, get: /one, check: {ok: {status: 200}}}
      - {name: two, get: /two}
scenarios:
"""
OPEN = "  open: {executor: constant-arrival-rate, rate: 40, duration: 2s, arrivals: uniform}\n"


async def run(tiny: TinyServer, text: str, **more: Any) -> RunResult:
    scenario = parse_scenario(JOURNEY + text, name="tiny.yaml")
    plan = RunPlan(scenario, Target("127.0.0.1", tiny.port), "r", size=1, drain_seconds=2, **more)
    return await play(plan, asyncio.Event(), show=lambda _progress: None)


async def test_open_and_closed_scenarios_run_side_by_side_and_every_request_is_counted() -> None:
    async with serving(always_ok) as tiny:
        result = await run(tiny, OPEN + "  closed: {executor: constant-vus, vus: 2, duration: 1s, startTime: 1s}\n")
    total = result.overall
    assert tiny.served == total.sent == total.done == total.intended
    assert result.checks["ok"] == (result.by_route["one"].done, 0)
    # 40/s for 2 s: 80 journeys of the open scenario, each with its second request, and those of the closed one.
    assert result.by_route["one"].done > 80
    assert total.lag.total == 80
    assert result.status == "finished"


async def test_a_crossed_threshold_that_aborts_ends_the_run_before_its_time() -> None:
    async def broken(_: int) -> int:
        return 500

    text = OPEN.replace("2s", "60s") + "thresholds:\n  http_req_failed: [{threshold: rate<0.1, abortOnFail: true}]\n"
    async with serving(broken) as tiny:
        result = await run(tiny, text)
    assert result.status == "aborted"
    assert result.seconds < 60
    assert result.overall.failed == result.overall.sent > 0


async def test_arrivals_beyond_the_users_wait_and_their_waiting_counts() -> None:
    async def slow(_: int) -> int:
        await asyncio.sleep(0.2)
        return 200

    text = "  o: {executor: constant-arrival-rate, rate: 20, duration: 1s, arrivals: uniform, maxVUs: 2}\n"
    async with serving(slow) as tiny:
        result = await run(tiny, text)
    # One user needs 0.4 s for a journey: two serve 5 journeys a second of the 20 that come in the one second.
    assert result.overall.intended >= 20
    assert (result.overall.lag.longest_us or 0) > 400_000
    assert result.overall.done + result.overall.failed + result.overall.unsent == result.overall.intended


async def cli(*arguments: str, folder: Path) -> tuple[int, str, str]:
    environment = {**os.environ, "TIDEGAUGE_DATA": str(folder)}
    environment.pop("TIDEGAUGE_COLLECTOR_URL", None)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "from tidegauge.cli import main; main()", "load", *arguments,
        env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def test_a_failing_threshold_exits_99_and_leaves_its_files(tmp_path: Path) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text(JOURNEY + OPEN.replace("2s", "1s") + "thresholds:\n  http_reqs: [count>1000000]\n")
    async with serving(always_ok) as tiny:
        target = f"http://127.0.0.1:{tiny.port}"
        out = tmp_path / "out"
        code, text, _ = await cli("run", str(file), "--target", target, "--out", str(out), "--json", folder=tmp_path)
    summary = json.loads(text)
    assert json.loads((out / "load.json").read_text()) == summary
    lines = [json.loads(line) for line in (out / "seconds.jsonl").read_text().splitlines()]
    assert sum(line["intended"] for line in lines) == summary["intended"] == 80
    (crossed, _) = summary["thresholds"]
    assert crossed == {"threshold": "http_reqs: count>1e+06", "value": 80.0, "held": False}
    # On a machine too busy to send in time the same run is invalid, and must say that instead.
    assert (summary["verdict"]["status"], code) in {("fail", 99), ("invalid", 1)}


async def test_a_scenario_that_is_wrong_is_misuse_and_says_where(tmp_path: Path) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text(JOURNEY + "  a: {executor: constant-vus, vus: 1}\n")
    code, _, err = await cli("run", str(file), "--target", "http://127.0.0.1:1", folder=tmp_path)
    assert code == 2
    assert f"{file}:9: scenarios.a.duration: expected this key, got none" in err


async def test_the_collector_is_told_of_every_request_in_its_own_words(tmp_path: Path) -> None:
    async with serving(always_ok) as tiny, serving(always_ok) as collector:
        scenario = parse_scenario(JOURNEY + OPEN, name="tiny.yaml")
        plan = RunPlan(scenario, Target("127.0.0.1", tiny.port), "told", size=1)
        result = await play_recorded(
            plan, asyncio.Event(), out=tmp_path, collector_url=f"http://127.0.0.1:{collector.port}",
            show=lambda _progress: None,
        )  # fmt: skip
    reports = [LoadRunIn.model_validate_json(body) for body in collector.bodies]
    assert sum(sum(report.seconds.intended) for report in reports) == result.overall.intended
    assert {report.run_id for report in reports} == {"told"}
    assert reports[-1].status == "finished"
    assert reports[-1].summary["verdict"]["status"] == result.verdict.status
    requests = [report.requests for report in reports]
    assert sum(len(one.name) for one in requests) == result.overall.sent
    for one in requests:
        assert set(one.status) <= {200}
        assert set(one.error) <= {None}
        times = zip(one.intended_us, one.sent_us, one.first_byte_us, one.done_us, strict=True)
        # To a microsecond or two: each is rounded for itself.
        assert all(a <= b + 2 and b <= c + 2 and c <= d + 2 for a, b, c, d in times if b and c and d)
    page = (tmp_path / "report.html").read_text()
    assert "<svg" in page
    assert f"<strong class={result.verdict.status}>" in page
