"""The run's files and reports: durable, resumed after a crash, told to the collector once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from loadgen.generator import Health
from loadgen.results import Histogram, Second, Tally, Totals
from loadgen.runs.files import RunFiles, RunFilesError
from loadgen.runs.reporting import Reporter
from loadgen.runs.summary import RunFacts, load_summary, reasons_invalid
from loadgen.supervised import first_second_to_plan

HEALTH = Health(child_ready=True, restarts=0, cpu_seconds=1.0, outstanding=0, in_flight=0)
FACTS = RunFacts("run", "reference-app", "follow-curve", "http://127.0.0.1:1", "poisson", 0, "own", 1_795_305_600.0)


def a_second(at: int, done: int = 2) -> Second:
    tally = Tally(intended=done, done=done, response=Histogram({80: done}))
    return Second(at, at, 1.0, tally, {"search": Tally(intended=done, done=done)})


def a_summary(totals: Totals, status: str = "running") -> dict[str, Any]:
    return load_summary(FACTS, totals, HEALTH, status=status, now=1_795_305_660.0)


def test_totals_are_made_again_from_the_seconds_on_file(tmp_path: Path) -> None:
    files = RunFiles(tmp_path / "run")
    assert files.resume().settled == frozenset()
    files.append([a_second(10), a_second(11, 5)])
    totals = files.resume().totals
    files.append([a_second(13)])
    files.write_summary(a_summary(totals))
    resumed = files.resume()
    assert resumed.settled == {10, 11, 13}
    assert (resumed.run_id, resumed.status, resumed.started_at) == ("run", "running", FACTS.started_at_seconds)
    assert resumed.totals.overall.done == 2 + 5 + 2
    assert resumed.totals.routes["search"].intended == 9


def test_a_line_that_a_crash_left_unfinished_is_cut_off(tmp_path: Path) -> None:
    files = RunFiles(tmp_path)
    files.append([a_second(10)])
    with files.seconds_path.open("a") as file:
        file.write('{"second": 11, "real')
    assert files.resume().settled == {10}
    files.append([a_second(11)])
    assert files.resume().settled == {10, 11}


def test_a_whole_line_that_is_no_second_is_refused_with_its_number(tmp_path: Path) -> None:
    files = RunFiles(tmp_path)
    files.append([a_second(10)])
    with files.seconds_path.open("a") as file:
        file.write('{"second": 11}\n')
    with pytest.raises(RunFilesError, match=r"seconds\.jsonl:2: expected a settled second"):
        files.resume()


def test_a_crashed_run_goes_on_at_its_first_gap_and_a_stopped_one_at_the_present(tmp_path: Path) -> None:
    files = RunFiles(tmp_path)
    assert first_second_to_plan(files.resume(), 500.5) == 502
    files.append([a_second(100), a_second(101), a_second(103)])
    files.write_summary(a_summary(Totals(), "running"))
    assert first_second_to_plan(files.resume(), 500.5) == 102
    files.write_summary(a_summary(Totals(), "stopped"))
    assert first_second_to_plan(files.resume(), 500.5) == 502


def test_the_summary_says_null_where_there_is_no_data() -> None:
    summary = json.loads(json.dumps(a_summary(Totals()), allow_nan=False))
    assert summary["response_ms"] == {"p50": None, "p95": None, "p99": None}
    assert summary["peak_minute"] is None
    assert (summary["started_at"], summary["ended_at"]) == ("2026-11-22T00:00:00.000Z", "2026-11-22T00:01:00.000Z")


class PretendedCollector:
    """Stores each batch once; says no as often as it is told to, with or without having stored."""

    def __init__(self) -> None:
        self.batches: dict[str, dict[str, Any]] = {}
        self.refusals: list[str] = []
        self.calls = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.calls += 1
        refusal = self.refusals.pop(0) if self.refusals else None
        if refusal == "unstored":
            return httpx.Response(503)
        body = json.loads(request.content)
        self.batches.setdefault(body["batch_id"], body)
        if refusal == "stored":
            raise httpx.ReadTimeout("the answer was lost", request=request)
        return httpx.Response(200, json={"acknowledged": len(body["seconds"]["second"])})

    def seconds(self) -> list[int]:
        return [second for body in self.batches.values() for second in body["seconds"]["second"]]


def reporter(files: RunFiles, collector: PretendedCollector, totals: Totals, status: str = "running") -> Reporter:
    client = httpx.AsyncClient(transport=httpx.MockTransport(collector))
    return Reporter(files, "run", "http://collector", client, lambda: a_summary(totals, status))


async def test_a_report_has_the_contract_s_columns(tmp_path: Path) -> None:
    files, collector = RunFiles(tmp_path), PretendedCollector()
    files.append([a_second(10), a_second(11, 5)])
    assert await reporter(files, collector, files.resume().totals).report_once()
    (body,) = collector.batches.values()
    assert {
        "batch_id",
        "run_id",
        "service",
        "scenario",
        "target",
        "started_at",
        "ended_at",
        "status",
        "summary",
    } <= set(body)
    columns = body["seconds"]
    assert columns["second"] == [10, 11]
    assert columns["intended"] == columns["sent"] == columns["done"] == [2, 5]
    assert columns["failed"] == columns["unsent"] == columns["send_lag_us_max"] == [0, 0]
    assert columns["response_histogram"] == [{"80": 2}, {"80": 5}]
    assert body["summary"]["done"] == 7


@pytest.mark.parametrize("refusal", ["unstored", "stored"])
async def test_each_second_is_stored_once_whatever_is_refused_lost_or_restarted(tmp_path: Path, refusal: str) -> None:
    files, collector = RunFiles(tmp_path), PretendedCollector()
    files.append([a_second(10), a_second(11)])
    collector.refusals = [refusal]
    with pytest.raises(httpx.HTTPError):
        await reporter(files, collector, Totals()).report_once()
    files.append([a_second(12)])  # meanwhile the run goes on, and the process is replaced
    successor = reporter(files, collector, Totals())
    while await successor.report_once():
        pass
    assert collector.seconds() == [10, 11, 12]


async def test_without_news_nothing_is_reported_and_a_new_status_is_news(tmp_path: Path) -> None:
    files, collector = RunFiles(tmp_path), PretendedCollector()
    files.append([a_second(10)])
    running = reporter(files, collector, Totals())
    assert await running.report_once()
    assert not await running.report_once()
    await reporter(files, collector, Totals(), "finished").report_last()
    assert [body["status"] for body in collector.batches.values()] == ["running", "finished"]
    assert collector.calls == 2


def test_a_run_is_invalid_without_data_unsent_late_or_out_of_breath() -> None:
    good = Tally(intended=100, done=100, send_lag=Histogram({80: 100}))  # 2^10 us, 1 ms
    assert reasons_invalid(good, cpu_share=0.5) == []
    assert "nothing was measured" in reasons_invalid(Tally(), cpu_share=0.0)[0]
    late = Tally(intended=100, done=100, send_lag=Histogram({80: 98, 120: 2}))  # 2^15 us, 32.8 ms
    assert reasons_invalid(late, cpu_share=0.5) == ["send lag p99 was 32.8 ms, above 20 ms"]
    unsent = Tally(intended=100, done=99, unsent=1)
    assert reasons_invalid(unsent, cpu_share=0.5) == ["1 of 100 arrivals were never sent"]
    assert reasons_invalid(good, cpu_share=0.9) == ["the generator used 90% of a core, above 80%"]
