"""A scenario's run with its files (`seconds.jsonl`, `load.json`, `report.html`) and its reports to the collector.

The files are the truth; a collector that is away costs nothing but a warning, and is told when the run is over if it
is back by then.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx

from loadgen.runs.files import RunFiles, RunFilesError
from loadgen.runs.html_report import html_report
from loadgen.runs.reporting import Reporter
from loadgen.runs.request_log import RequestLog
from loadgen.runs.summary import iso
from loadgen.runs.tokens import collector_headers
from loadgen.scenario.parts import DemandSpec
from loadgen.scenario.run import Progress, RunPlan, RunResult, play
from loadgen.scenario.summary import result_json
from loadgen.sending.crew import StartChild, start_player

log = logging.getLogger(__name__)
DEMAND_TIMEOUT_SECONDS = 10.0


async def play_recorded(
    plan: RunPlan, stop: asyncio.Event, *, out: Path, collector_url: str | None,
    show: Callable[[Progress], None], start_child: StartChild = start_player,
) -> RunResult:  # fmt: skip
    """Play the scenario and keep its files in `out`, which has to be new. Raises RunFilesError, CrewError."""
    files = RunFiles(out)
    if files.resume().settled:
        raise RunFilesError(f"{out}: expected a directory without a run in it")
    summary: dict[str, Any] = {
        "run_id": plan.run_id, "service": plan.scenario.service, "scenario": plan.scenario.name,
        "target": plan.target.url, "status": "running", "started_at": iso(time.time()), "ended_at": iso(time.time()),
    }  # fmt: skip
    files.write_summary(summary)
    async with httpx.AsyncClient() as client:
        log_of = RequestLog(out) if collector_url else None
        reporter = Reporter(files, plan.run_id, collector_url or "", client, lambda: summary, log_of)
        reporting = asyncio.create_task(reporter.report_for_ever()) if collector_url else None
        try:
            result = await play(
                plan, stop, show=show, sink=files.append, start_child=start_child,
                log_rows=log_of.add if log_of else (lambda _rows, _routes: None),
            )  # fmt: skip
        finally:
            if reporting is not None:
                reporting.cancel()
                with suppress(asyncio.CancelledError):
                    await reporting
        kept = {"requests_kept": log_of.kept, "requests_left_out": log_of.left_out} if log_of else {}
        summary = {**result_json(result), **kept}
        files.write_summary(summary)
        seconds, _ = files.read_from(0, most_lines=sys.maxsize)
        (out / "report.html").write_text(html_report(summary, seconds), encoding="utf-8")
        if collector_url:
            await reporter.report_last()
    return result


def read_demand_over_http(collector_url: str, spec: DemandSpec) -> tuple[list[float], list[float]]:
    """Return a service's recorded demand (epoch seconds, requests/s). Raises ValueError with what came instead."""
    query: dict[str, str | int] = {
        "service": spec.service, "from": spec.since, "to": spec.until, "step_seconds": int(spec.step),
    }  # fmt: skip
    try:
        answer = httpx.get(
            f"{collector_url}/v1/demand",
            params=query,
            headers=collector_headers("READ"),
            timeout=DEMAND_TIMEOUT_SECONDS,
        )
        answer.raise_for_status()
        body = answer.json()
        pairs = [(float(at), rps) for at, rps in zip(body["ts"], body["rps"], strict=True) if rps is not None]
    except (httpx.HTTPError, KeyError, TypeError) as error:
        raise ValueError(f"expected the demand of {spec.service!r} from {collector_url}, got {error!r}") from error
    return [at for at, _ in pairs], [float(rps) for _, rps in pairs]
