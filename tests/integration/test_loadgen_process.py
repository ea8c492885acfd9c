"""`python -m loadgen` as the stack runs it: files and reports, an orderly end, a crash, and nobody left behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.integration.loadgen_fixtures import TinyServer, always_ok, serving

pytestmark = pytest.mark.server

PATIENCE_SECONDS = 30


async def until(condition: Callable[[], Any], what: str) -> None:
    """Poll until the condition holds."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not condition():
                await asyncio.sleep(0.05)
    except TimeoutError:
        pytest.fail(f"waited {PATIENCE_SECONDS} s in vain until {what}")


async def start(out: Path, target: TinyServer, *arguments: str, collector: TinyServer | None = None) -> Any:
    environment = {**os.environ}
    environment.pop("TIDEGAUGE_CLOCK", None)
    environment.pop("TIDEGAUGE_COLLECTOR_URL", None)
    if collector is not None:
        environment["TIDEGAUGE_COLLECTOR_URL"] = f"http://127.0.0.1:{collector.port}"
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "loadgen", "--target", f"http://127.0.0.1:{target.port}", "--out", str(out), *arguments,
        env=environment,
    )  # fmt: skip


def seconds_on_file(out: Path) -> list[dict[str, Any]]:
    path = out / "seconds.jsonl"
    return (
        [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
        if path.exists()
        else []
    )


def curve_of(rps: int, folder: Path) -> str:
    file = folder / "curve.csv"
    file.write_text(f"timestamp,rps\n2026-01-01T00:00:00Z,{rps}\n2026-01-02T00:00:00Z,{rps}\n")
    return str(file)


async def test_a_stopped_generator_has_drained_told_everything_and_goes_on_under_the_same_run(tmp_path: Path) -> None:
    out = tmp_path / "out"
    async with serving(always_ok) as target, serving(always_ok) as collector:
        arguments = ("--curve", curve_of(50, tmp_path), "--run-id", "first")
        process = await start(out, target, *arguments, collector=collector)
        await until(lambda: len(seconds_on_file(out)) >= 2, "two seconds are on file")
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), PATIENCE_SECONDS) == 0
        summary, seconds = json.loads((out / "load.json").read_text()), seconds_on_file(out)
        bodies = [json.loads(body) for body in collector.bodies]
        assert summary["status"] == "stopped"
        assert summary["done"] == sum(second["done"] for second in seconds) > 0
        assert summary["intended"] == summary["done"] + summary["failed"] + summary["unsent"]
        reported = [second for body in bodies for second in body["seconds"]["second"]]
        assert reported == [second["second"] for second in seconds]
        assert bodies[-1]["status"] == "stopped"
        assert bodies[-1]["summary"]["done"] == summary["done"]

        again = await start(out, target, *arguments)
        await until(lambda: len(seconds_on_file(out)) > len(seconds), "the second process has settled a second")
        again.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(again.wait(), PATIENCE_SECONDS) == 0
        resumed = json.loads((out / "load.json").read_text())
        assert resumed["run_id"] == "first"
        assert resumed["started_at"] == summary["started_at"]
        assert resumed["done"] == sum(second["done"] for second in seconds_on_file(out)) > summary["done"]


async def test_a_killed_generator_leaves_no_child_and_its_gap_is_unsent_when_it_comes_back(tmp_path: Path) -> None:
    out = tmp_path / "out"
    async with serving(always_ok) as target:
        arguments = ("--curve", curve_of(30, tmp_path))
        process = await start(out, target, *arguments)
        await until(lambda: len(seconds_on_file(out)) >= 2, "two seconds are on file")
        children = psutil.Process(process.pid).children()
        assert len(children) == 1
        process.kill()
        await process.wait()
        await until(lambda: not any(alive(child) for child in children), "the child has ended by itself")
        before = {second["real_second"] for second in seconds_on_file(out)}

        again = await start(out, target, *arguments)
        await until(
            lambda: any(s["done"] for s in seconds_on_file(out) if s["real_second"] > max(before)), "it sends again"
        )
        again.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(again.wait(), PATIENCE_SECONDS) == 0
    seconds = {second["real_second"]: second for second in seconds_on_file(out)}
    assert len(seconds) == len(seconds_on_file(out))
    assert sorted(seconds) == list(range(min(seconds), max(seconds) + 1))
    gap = seconds[max(before) + 1]
    assert gap["unsent"] == gap["reasons"]["generator_down"] > 0
    assert gap["intended"] == gap["unsent"] + gap["done"]  # done: it may be back before that second is over
    summary = json.loads((out / "load.json").read_text())
    assert summary["intended"] == summary["done"] + summary["failed"] + summary["unsent"]


def alive(process: psutil.Process) -> bool:
    return bool(process.is_running()) and process.status() != psutil.STATUS_ZOMBIE


async def test_a_target_that_is_not_allowed_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "loadgen", "--target", "http://shop.example", "--out", str(tmp_path / "out"),
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, errors = await process.communicate()
    assert process.returncode == 2
    assert b"TIDEGAUGE_LOAD_ALLOWED_HOSTS" in errors
    assert not (tmp_path / "out").exists()
