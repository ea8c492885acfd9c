"""`tidegauge load capacity`: what one replica carries within its SLOs, as an interval. Heavy imports stay inside."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from loadgen.scenario_commands import checked_scenario, collector_url, fail
from loadgen.tokens import collector_headers

if TYPE_CHECKING:
    from loadgen.capacity_run import CapacityFound

REPORT_TIMEOUT_SECONDS = 10.0
BELOW = 99


def capacity(
    scenario: Annotated[str, typer.Argument(help="a scenario file, or the name of a shipped one: whose journeys")],
    slo: Annotated[list[str], typer.Option(help="'http_req_duration: p(95)<200', 'http_req_failed: rate<0.01'")],
    target: Annotated[str | None, typer.Option(help="http://HOST:PORT of one replica, not of a balancer")] = None,
    budget: Annotated[str, typer.Option(help="about how long: 5m")] = "5m",
    seed: Annotated[int, typer.Option(min=0)] = 0,
    build: Annotated[str, typer.Option(help="the build that is measured; its capacity goes stale with it")] = "",
    fail_if_below: Annotated[float | None, typer.Option(help="exit 99 when the low end is below: requests/s")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="the result as JSON on stdout")] = False,
) -> None:
    """Measure how many requests per second one replica carries within its SLOs.

    Exit 0: measured; 1: invalid, with the reason; 2: misused; 99: below --fail-if-below. The result is posted to the
    collector when TIDEGAUGE_COLLECTOR_URL is set. Example: `tidegauge load capacity flight_search_load
    --target http://127.0.0.1:8001 --slo 'http_req_duration: p(95)<2000' --slo 'http_req_failed: rate<0.01'`.
    """
    import asyncio

    from loadgen.capacity_run import CapacityPlan, measure_capacity
    from loadgen.capacity_search import goal_of
    from loadgen.scenario_parts import seconds_of
    from loadgen.thresholds import parse_slo

    try:
        checked, where, limits = checked_scenario(scenario, target)
        goals = tuple(goal_of(parse_slo(text)) for text in slo)
        run_id = f"capacity-{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}"
        plan = CapacityPlan(checked, where, goals, run_id, seconds_of(budget), limits.max_rps, seed)
    except (ValueError, OSError) as error:
        fail(error, 2)
    try:
        found = asyncio.run(measure_capacity(plan, lambda text: typer.echo(text, err=True)))
    except (RuntimeError, OSError) as error:
        fail(error, 1)
    report = {"service": checked.service, "build": build, "scenario": checked.name, "slo": slo, **found.to_json()}
    typer.echo(json.dumps(report, indent=1) if as_json else "\n".join(capacity_lines(found)))
    interval = found.interval
    if interval is None:
        raise typer.Exit(1)
    _post(report, interval, checked.service, build)
    if fail_if_below is not None and interval[0] < fail_if_below:
        typer.echo(f"below: {interval[0]:.1f} requests/s, expected at least {fail_if_below:g}", err=True)
        raise typer.Exit(BELOW)


def capacity_lines(found: CapacityFound) -> list[str]:
    """Return the result for people."""
    from loadgen.capacity_run import little_warnings

    interval = found.interval
    if interval is None:
        reasons = found.found.invalid_because or ("no rate passed and was confirmed within the budget",)
        lines = ["INVALID", *(f"  {reason}" for reason in reasons)]
    else:
        low, high = interval
        lines = [
            f"capacity {'>= ' if high is None else ''}{low:.1f}{'' if high is None else f' to {high:.1f}'} requests/s"
        ]
    lines.append(f"ceiling {found.ceiling_rps:.1f} requests/s (closed loop; within no SLO)")
    if found.cpu_seconds_per_request is not None:
        lines.append(f"CPU {found.cpu_seconds_per_request * 1000:.2f} ms per request; saturated: {found.saturated}")
    if found.usl is not None:
        usl = found.usl
        lines.append(
            f"scalability law: one {usl.gamma:.1f}/s, contention {usl.alpha:.3f} "
            f"[{usl.alpha_interval[0]:.3f}, {usl.alpha_interval[1]:.3f}], coherency {usl.beta:.5f} "
            f"[{usl.beta_interval[0]:.5f}, {usl.beta_interval[1]:.5f}]"
        )
    lines += [f"note: {text}" for text in little_warnings(found.levels)]
    for trial in found.found.trials:
        lines.append(
            f"  {trial.purpose:<8}{trial.rps * found.requests_per_arrival:9.1f}/s  {trial.judgement:<8}"
            f"{trial.scheduled:7d} scheduled, broken {', '.join(str(count) for count in trial.broken)}"
        )
    return lines


def _post(report: dict[str, Any], interval: tuple[float, float | None], service: str, build: str) -> None:
    """Tell the collector. A high end that nothing showed is told as the low one: more was not measured."""
    import httpx

    url = collector_url()
    if url is None:
        return
    low, high = interval
    body = {
        "service": service, "version": build, "source": "load-test",
        "low_rps": low, "high_rps": low if high is None else high, "details": report,
    }  # fmt: skip
    try:
        httpx.post(
            f"{url}/v1/capacities", json=body, headers=collector_headers("INGEST"), timeout=REPORT_TIMEOUT_SECONDS
        ).raise_for_status()
    except httpx.HTTPError as error:
        fail(RuntimeError(f"the collector at {url} did not take the capacity: {error}"), 1)
