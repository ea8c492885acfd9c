"""What ends a run before its time: Ctrl-C, a dead child, too much memory; and a generator not up to its task."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from loadgen.safety import Limits, Target
from loadgen.scenario.file import parse_scenario
from loadgen.scenario.run import RunPlan, RunResult, play
from loadgen.sending.child import Child, ChildProcess
from tests.integration.loadgen_fixtures import TinyServer, always_ok, serving
from tests.integration.store_fixtures import free_port

pytestmark = pytest.mark.server

TEXT = """version: 1
name: long
journeys: [{name: a, steps: [{name: one, get: /}]}]
scenarios: {a: {executor: constant-arrival-rate, rate: 30, duration: 60s}}
"""
PATIENCE_SECONDS = 40


async def run(tiny: TinyServer, text: str = TEXT, **more: Any) -> RunResult:
    start = more.pop("start_child", ChildProcess.start)
    plan = RunPlan(parse_scenario(text, name="l"), Target("127.0.0.1", tiny.port), "r", size=1, drain_seconds=2, **more)
    return await play(plan, asyncio.Event(), show=lambda _progress: None, start_child=start)


async def test_ctrl_c_drains_and_the_summary_is_still_written(tmp_path: Path) -> None:
    async def slow(_: int) -> int:
        await asyncio.sleep(0.5)
        return 200

    (tmp_path / "long.yaml").write_text(TEXT)
    environment = {**os.environ, "TIDEGAUGE_DATA": str(tmp_path)}
    environment.pop("TIDEGAUGE_COLLECTOR_URL", None)
    async with serving(slow) as tiny:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", "from tidegauge.cli import main; main()", "load", "run", str(tmp_path / "long.yaml"),
            "--target", f"http://127.0.0.1:{tiny.port}", "--out", str(tmp_path / "out"), "--json",
            env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        async with asyncio.timeout(PATIENCE_SECONDS):
            while tiny.served < 20:
                await asyncio.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, _ = await asyncio.wait_for(process.communicate(), PATIENCE_SECONDS)
        summary = json.loads(out)
        assert summary == json.loads((tmp_path / "out" / "load.json").read_text())
        # Half a second of requests was under way: drained, not cut off.
        assert tiny.served == summary["sent"] == summary["done"]
    assert summary["status"] == "stopped"
    assert summary["seconds"] < 60
    assert process.returncode in (0, 1)  # passed, or invalid where the machine was too busy to send in time
    assert (tmp_path / "out" / "report.html").exists()


async def test_a_dead_child_ends_the_run_as_invalid_with_the_reason() -> None:
    children: list[Child] = []

    async def start_and_remember(plan: Mapping[str, Any]) -> Child:
        children.append(await ChildProcess.start(plan))
        return children[-1]

    async def kill_at_the_tenth(number: int) -> int:
        if number == 10:
            os.kill(children[0].pid, signal.SIGKILL)
        return 200

    async with serving(kill_at_the_tenth) as tiny:
        result = await run(tiny, start_child=start_and_remember)
    assert result.status == "broken"
    assert result.verdict.status == "invalid"
    assert "a generating process died" in result.verdict.reasons
    overall = result.overall
    assert overall.done + overall.failed + overall.unsent == overall.intended
    assert overall.unsent > 0


async def test_a_run_that_takes_more_memory_than_it_may_is_ended_as_invalid() -> None:
    async with serving(always_ok) as tiny:
        result = await run(tiny, limits=Limits(max_memory_bytes=1_000_000))
    assert result.seconds < 60
    assert any("TIDEGAUGE_LOAD_MAX_MEMORY_BYTES" in reason for reason in result.verdict.reasons)


async def test_an_overloaded_generator_says_invalid_whatever_the_thresholds_say() -> None:
    children: list[Child] = []

    async def start_and_remember(plan: Mapping[str, Any]) -> Child:
        children.append(await ChildProcess.start(plan))
        return children[-1]

    async def take_its_cpu_away_at_the_hundredth(number: int) -> int:
        if number == 100:
            os.kill(children[0].pid, signal.SIGSTOP)
            asyncio.get_running_loop().call_later(1.0, os.kill, children[0].pid, signal.SIGCONT)
        return 200

    # A second of 200 arrivals in 800 is sent late, so the 99th percentile of its own delay is near a second.
    text = TEXT.replace("rate: 30, duration: 60s", "rate: 200, duration: 4s")
    async with serving(take_its_cpu_away_at_the_hundredth) as tiny:
        result = await run(tiny, text + "thresholds: {http_req_failed: [rate<=1]}\n", start_child=start_and_remember)
    assert (result.verdict.status, result.verdict.exit_code) == ("invalid", 1)
    assert any("p99 was" in reason for reason in result.verdict.reasons)


async def test_the_server_process_plays_what_it_is_asked_to_and_ends_on_sigterm(tmp_path: Path) -> None:
    scenarios, port = tmp_path / "scenarios", free_port()
    scenarios.mkdir()
    (scenarios / "brief.yaml").write_text(TEXT.replace("60s", "1s"))
    environment = {
        **os.environ, "TIDEGAUGE_LOADGEN_PORT": str(port), "TIDEGAUGE_DATA": str(tmp_path),
        "TIDEGAUGE_LOAD_SCENARIOS": str(scenarios),
    }  # fmt: skip
    environment.pop("TIDEGAUGE_COLLECTOR_URL", None)
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "loadgen", "serve", env=environment)
    url = f"http://127.0.0.1:{port}"
    async with serving(always_ok) as tiny, httpx.AsyncClient(trust_env=False) as client, asyncio.timeout(90):
        while True:
            try:
                await client.get(f"{url}/readyz")
                break
            except httpx.TransportError:
                await asyncio.sleep(0.05)
        order = {"scenario": "brief", "target": f"http://127.0.0.1:{tiny.port}"}
        run_id = (await client.post(f"{url}/v1/runs", json=order)).json()["run_id"]
        while (found := (await client.get(f"{url}/v1/runs/{run_id}")).json())["state"] not in ("finished", "failed"):
            await asyncio.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
    assert found["summary"]["sent"] == tiny.served > 0
    assert (tmp_path / "load" / run_id / "report.html").exists()
