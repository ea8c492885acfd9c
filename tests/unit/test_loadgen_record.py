"""What the load generator asks of the record: demand to replay, runs to list and compare."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
import typer
from typer.testing import CliRunner

from loadgen.commands import mount
from loadgen.runs.stored_runs import read_stored_run, read_stored_runs
from loadgen.scenario.executors import Rate
from loadgen.scenario.file import parse_scenario
from loadgen.scenario.recorded_run import read_demand_over_http

Answer = TypeVar("Answer")
app = typer.Typer()
mount(app)
REPLAY = """version: 1
name: again
journeys: [{name: a, steps: [{name: one, get: /}]}]
scenarios:
  r:
    executor: replay
    demand: {service: shop, from: "2026-11-01T00:00:00Z", to: "2026-11-01T00:02:00Z", step: 1m}
    timeFactor: 60
    rateFactor: 2
"""


async def with_record(answers: dict[str, tuple[int, Any]], ask: Callable[[str], Answer]) -> tuple[Answer, list[str]]:
    """Return what `ask` of the record's URL gave, and the paths it asked for."""
    asked: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1].decode()
        asked.append(path)
        status, body = answers.get(path.split("?")[0], (404, {"error": "unknown"}))
        data = json.dumps(body).encode()
        writer.write(f"HTTP/1.1 {status} x\r\ncontent-length: {len(data)}\r\nconnection: close\r\n\r\n".encode() + data)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        return await asyncio.to_thread(ask, url), asked


async def test_a_replay_follows_a_services_stored_demand_faster_and_larger() -> None:
    at = 1_793_491_200
    demand = {"service": "shop", "step_seconds": 60, "ts": [at, at + 60, at + 120], "rps": [10.0, None, 30.0]}

    def ask(url: str) -> Rate:
        scenario = parse_scenario(REPLAY, name="r.yaml", read_demand=lambda spec: read_demand_over_http(url, spec))
        executor = scenario.parts[0].executor
        assert isinstance(executor, Rate)
        return executor

    rate, (path,) = await with_record({"/v1/demand": (200, demand)}, ask)
    # Two minutes at 60 times the speed are 2 s; twice as many: from 20/s to 60/s. The step nobody knows is left out.
    assert rate.points == ((0.0, 20.0), (2.0, 60.0))
    assert "service=shop" in path
    assert "step_seconds=60" in path


async def test_demand_that_is_not_there_is_told_with_file_and_line() -> None:
    def ask(url: str) -> None:
        parse_scenario(REPLAY, name="r.yaml", read_demand=lambda spec: read_demand_over_http(url, spec))

    with pytest.raises(ValueError, match=r"r\.yaml:.*expected two or more steps of demand, got 0"):
        await with_record({"/v1/demand": (200, {"ts": [], "rps": []})}, ask)
    with pytest.raises(ValueError, match=r"r\.yaml:.*expected the demand of 'shop'"):
        await with_record({}, ask)


def stored(run_id: str, failed: int) -> dict[str, Any]:
    summary = {
        "run_id": run_id, "sent": 1000, "failed": failed, "verdict": {"status": "pass"},
        "response_ms": {"p50": 1.0, "p95": 2.0, "p99": 3.0}, "response_histogram": {"80": 1000},
    }  # fmt: skip
    return {
        "run_id": run_id, "service": "shop", "scenario": "s", "target": "http://a", "status": "finished",
        "started_at": "2026-11-22T10:00:00+00:00", "ended_at": "2026-11-22T10:10:00+00:00", "summary": summary,
    }  # fmt: skip


async def test_runs_of_the_record_are_read_with_their_summaries() -> None:
    record = {"/v1/load-runs": (200, {"runs": [stored("a", 0)]}), "/v1/load-runs/a": (200, stored("a", 0))}
    runs, (path,) = await with_record(record, lambda url: read_stored_runs(url, "shop", 7))
    assert (runs[0]["run_id"], runs[0]["sent"], runs[0]["service"]) == ("a", 1000, "shop")
    assert path == "/v1/load-runs?limit=7&service=shop"
    assert (await with_record(record, lambda url: read_stored_run(url, "a")))[0] == runs[0]
    assert (await with_record(record, lambda url: read_stored_run(url, "b")))[0] is None


async def test_two_runs_of_the_record_are_compared_with_the_significance_of_their_difference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = {f"/v1/load-runs/{name}": (200, stored(name, failed)) for name, failed in (("a", 0), ("b", 40))}

    def ask(url: str) -> Any:
        monkeypatch.setenv("TIDEGAUGE_COLLECTOR_URL", url)
        monkeypatch.setenv("TIDEGAUGE_DATA", str(tmp_path))
        return CliRunner().invoke(app, ["load", "compare", "a", "b", "--json"])

    found, _ = await with_record(record, ask)
    assert found.exit_code == 0, found.output
    (failed, *_) = json.loads(found.stdout)["differences"]
    # 0 and 40 of 1000: pooled 2 %, deviation sqrt(0.02 * 0.98 * 2 / 1000) = 0.63 %, z = 6.4: no chance.
    assert (failed["what"], failed["before"], failed["after"], failed["significant"]) == ("share failed", 0, 0.04, True)


async def test_the_list_is_of_the_folder_and_of_the_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = {"run_id": "own", "service": "shop", "started_at": "2026-11-23T00:00:00Z", "status": "finished", "sent": 1}
    folder = tmp_path / "load" / "own"
    folder.mkdir(parents=True)
    (folder / "load.json").write_text(json.dumps(own))

    def ask(url: str) -> Any:
        monkeypatch.setenv("TIDEGAUGE_COLLECTOR_URL", url)
        monkeypatch.setenv("TIDEGAUGE_DATA", str(tmp_path))
        return CliRunner().invoke(app, ["load", "list", "--json"])

    found, _ = await with_record({"/v1/load-runs": (200, {"runs": [stored("a", 0)]})}, ask)
    assert [run["run_id"] for run in json.loads(found.stdout)] == ["own", "a"]
