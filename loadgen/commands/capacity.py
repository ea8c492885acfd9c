"""`tidegauge load capacity`: what one replica carries within its SLOs, as an interval. Heavy imports stay inside."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from loadgen.commands.scenarios import checked_scenario, collector_url, fail
from loadgen.runs.tokens import collector_headers

if TYPE_CHECKING:
    from loadgen.capacity.cross_check import CrossCheck, Interval, LiveCost
    from loadgen.capacity.fleet import FleetFound, Replicas
    from loadgen.capacity.run import CapacityFound, CapacityPlan

REPORT_TIMEOUT_SECONDS = 10.0
LIVE_SPAN = timedelta(days=1)
BELOW = 99


def capacity(
    scenario: Annotated[str, typer.Argument(help="a scenario file, or the name of a shipped one: whose journeys")],
    slo: Annotated[list[str], typer.Option(help="'http_req_duration: p(95)<200', 'http_req_failed: rate<0.01'")],
    target: Annotated[str | None, typer.Option(help="http://HOST:PORT of one replica, not of a balancer")] = None,
    budget: Annotated[str, typer.Option(help="about how long: 5m")] = "5m",
    seed: Annotated[int, typer.Option(min=0)] = 0,
    build: Annotated[str, typer.Option(help="the build that is measured [the version that the record saw last]")] = "",
    replicas: Annotated[str, typer.Option(help="1,2,4: measure these too, behind --target, and fit the law")] = "",
    replicas_command: Annotated[str, typer.Option(help="sets them: 'kubectl scale deploy/shop --replicas={n}'")] = "",
    fail_if_below: Annotated[str, typer.Option(help="requests/s, a file of --json, or `stored`: exit 99 below")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="the result as JSON on stdout")] = False,
) -> None:
    """Measure how many requests per second one replica carries within its SLOs.

    Exit 0: measured; 1: invalid, with the reason; 2: misused; 99: below --fail-if-below. The result is posted to the
    collector when TIDEGAUGE_COLLECTOR_URL is set. --replicas without a command asks the local cluster
    (TIDEGAUGE_CLUSTER_URL), whose autoscaler must have no reason to add more. Example: `tidegauge load capacity
    flight_search_load --target http://127.0.0.1:8001 --slo 'http_req_duration: p(95)<2000' --fail-if-below stored`.
    """
    import asyncio

    from loadgen.capacity.cross_check import cross_check
    from loadgen.capacity.run import CapacityPlan
    from loadgen.capacity.search import goal_of
    from loadgen.scenario.parts import seconds_of
    from loadgen.scenario.thresholds import parse_slo

    try:
        checked, where, limits = checked_scenario(scenario, target)
        goals = tuple(goal_of(parse_slo(text)) for text in slo)
        run_id = f"capacity-{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}"
        plan = CapacityPlan(checked, where, goals, run_id, seconds_of(budget), limits.max_rps, seed)
        counts = _counts(replicas)
        live = _read_live(checked.service)
        build = build or (live.version if live is not None and live.version else "")
        least = _read_previous(fail_if_below, checked.service)
    except (ValueError, OSError) as error:
        fail(error, 2)
    try:
        found, fleet = asyncio.run(measure_and_tell(plan, counts, _starter(counts, replicas_command, checked.service)))
    except (RuntimeError, OSError) as error:
        fail(error, 1)
    check = cross_check(found.cpu_seconds_per_request, live)
    interval = found.interval if found.interval is None else check.rescaled(found.interval)
    report = capacity_report(found, check, fleet) | {
        "service": checked.service, "build": build, "scenario": checked.name, "slo": slo, "seed": seed,
        "measured_at": datetime.now(UTC).isoformat(),
    }  # fmt: skip
    typer.echo(json.dumps(report, indent=1) if as_json else "\n".join(capacity_lines(found, check, fleet)))
    if interval is None:
        raise typer.Exit(1)
    _post(report, interval, checked.service, build)
    if least is not None and is_below(interval, least[0], beyond_doubt=least[1]):
        typer.echo(f"below: {interval[0]:.1f} requests/s, expected at least {least[0]:g}", err=True)
        raise typer.Exit(BELOW)


def is_below(interval: Interval, least: float, *, beyond_doubt: bool) -> bool:
    """Return whether a capacity is lower than `least`: its low end, or (beyond doubt) all of its interval."""
    low, high = interval
    return low < least and (not beyond_doubt or (high is not None and high < least))


def capacity_report(found: CapacityFound, check: CrossCheck, fleet: FleetFound | None) -> dict[str, Any]:
    """Return the whole result; capacity_rps is production's, measured_rps the test's own."""
    report = found.to_json()
    measured = found.interval
    if measured is not None and check.rescales:
        low, high = check.rescaled(measured)
        report |= {"measured_rps": report["capacity_rps"], "capacity_rps": {"low": low, "high": high}}
    warnings = [check.said] if check.rescales else []
    return report | {"cross_check": check.to_json(), "warnings": warnings} | (fleet.to_json() if fleet else {})


def capacity_lines(found: CapacityFound, check: CrossCheck, fleet: FleetFound | None = None) -> list[str]:
    """Return the result for people."""
    from loadgen.capacity.run import little_warnings

    interval = found.interval
    if interval is None:
        reasons = found.found.invalid_because or ("no rate passed and was confirmed within the budget",)
        lines = ["INVALID", *(f"  {reason}" for reason in reasons)]
    else:
        lines = [f"capacity {_shown(check.rescaled(interval))} requests/s, Poisson arrivals"]
        if check.rescales:
            lines.append(f"measured {_shown(interval)} requests/s")
    lines += [check.said, f"ceiling {found.ceiling_rps:.1f} requests/s (closed loop; within no SLO)"]
    if found.cpu_seconds_per_request is not None:
        busy = "" if found.utilisation is None else f"; {found.utilisation:.2f} cores busy at the low end"
        lines.append(
            f"CPU {found.cpu_seconds_per_request * 1000:.2f} ms per request; saturated: {found.saturated}{busy}"
        )
    if found.usl is not None:
        lines.append(f"scalability law over users: {_law(found.usl)}")
    if fleet is not None:
        lines += [
            f"  {count} replicas: {'invalid' if one.interval is None else _shown(one.interval)} requests/s"
            for count, one in sorted(fleet.by_replicas.items())
        ]
        lines.append(f"scalability law over replicas: {'too few measured' if fleet.usl is None else _law(fleet.usl)}")
    lines += [f"note: {text}" for text in little_warnings(found.levels)]
    for trial in found.found.trials:
        lines.append(
            f"  {trial.purpose:<8}{trial.rps * found.requests_per_arrival:9.1f}/s  {trial.judgement:<8}"
            f"{trial.scheduled:7d} scheduled, broken {', '.join(str(count) for count in trial.broken)}"
        )
    return lines


def _shown(interval: Interval) -> str:
    low, high = interval
    return f">= {low:.1f}" if high is None else f"{low:.1f} to {high:.1f}"


def _law(usl: Any) -> str:
    return (
        f"one {usl.gamma:.1f}/s, contention {usl.alpha:.3f} [{usl.alpha_interval[0]:.3f}, {usl.alpha_interval[1]:.3f}],"
        f" coherency {usl.beta:.5f} [{usl.beta_interval[0]:.5f}, {usl.beta_interval[1]:.5f}]"
    )


def _counts(text: str) -> list[int]:
    if not text:
        return []
    found = [int(part) for part in text.split(",") if part.strip().isdecimal()]
    if len(found) != len(text.split(",")) or 1 not in found or min(found) < 1 or len(set(found)) != len(found):
        raise ValueError(f"--replicas: expected different numbers with 1 among them, such as 1,2,4; got {text!r}")
    return found


def _starter(counts: list[int], command: str, service: str) -> Replicas | None:
    import httpx

    from loadgen.capacity.fleet import ClusterReplicas, CommandReplicas

    if not counts:
        return None
    if command:
        return CommandReplicas(command)
    url = (os.environ.get("TIDEGAUGE_CLUSTER_URL") or "http://127.0.0.1:8010").rstrip("/")
    return ClusterReplicas(url, service, httpx.Client(trust_env=False))


async def measure_and_tell(
    plan: CapacityPlan, counts: list[int], replicas: Replicas | None
) -> tuple[CapacityFound, FleetFound | None]:
    """Measure, while the collector (if there is one) is told that what arrives now comes from us."""
    from loadgen.capacity.fleet import measure_fleet
    from loadgen.capacity.run import measure_capacity
    from loadgen.runs.announced import announced

    def show(text: str) -> None:
        typer.echo(text, err=True)

    run = {
        "run_id": plan.run_id, "service": plan.scenario.service, "scenario": plan.scenario.name,
        "target": plan.target.url,
    }  # fmt: skip
    async with announced(collector_url(), run, show) as told:
        if replicas is None:
            found, fleet = await measure_capacity(plan, show), None
        else:
            fleet = await measure_fleet(plan, counts, replicas, show)
            found = fleet.by_replicas[1]
        told.outcome = {"status": "invalid" if found.interval is None else "finished", "capacity": found.to_json()}
    return found, fleet


def _read_live(service: str) -> LiveCost | None:
    from loadgen.capacity.cross_check import read_live_cost

    url = collector_url()
    if url is None:
        return None
    now = datetime.now(UTC)
    return read_live_cost(url, service, since=now - LIVE_SPAN, until=now)


def _read_previous(given: str, service: str) -> tuple[float, bool] | None:
    """Return what is not to be undercut, and whether it was measured (noise is no regression). Raises ValueError."""
    if not given:
        return None
    if given == "stored":
        return _read_stored(service), True
    if Path(given).is_file():
        found = json.loads(Path(given).read_text(encoding="utf-8")).get("capacity_rps")
        if not isinstance(found, dict) or not isinstance(found.get("low"), int | float):
            raise ValueError(f"{given}: expected a capacity as --json prints it, with capacity_rps.low")
        return float(found["low"]), True
    try:
        return float(given), False
    except ValueError:
        raise ValueError(f"--fail-if-below: expected requests/s, a file, or `stored`; got {given!r}") from None


def _read_stored(service: str) -> float:
    import httpx

    url = collector_url()
    if url is None:
        raise ValueError("--fail-if-below stored: expected a collector (TIDEGAUGE_COLLECTOR_URL), got none")
    try:
        headers = collector_headers("READ")
        answer = httpx.get(
            f"{url}/v1/capacities", params={"service": service}, headers=headers, timeout=REPORT_TIMEOUT_SECONDS
        )
        answer.raise_for_status()
        found = [float(one["low_rps"]) for one in answer.json()["capacities"] if one["source"] == "load-test"]
    except (httpx.HTTPError, KeyError, TypeError) as error:
        raise ValueError(f"expected the capacities of {service!r} from {url}, got {error!r}") from error
    if not found:
        raise ValueError(f"--fail-if-below stored: expected a load test of {service!r} in the record, got none")
    return found[0]


def _post(report: dict[str, Any], interval: Interval, service: str, build: str) -> None:
    """Tell the collector. A high end that nothing showed is told as the low one: more was not measured."""
    import httpx

    url = collector_url()
    if url is None:
        return
    low, high = interval
    body = {
        "service": service, "version": build, "source": "load-test",
        "low_rps": low, "high_rps": low if high is None else max(low, high), "details": report,
    }  # fmt: skip
    try:
        httpx.post(
            f"{url}/v1/capacities", json=body, headers=collector_headers("INGEST"), timeout=REPORT_TIMEOUT_SECONDS
        ).raise_for_status()
    except httpx.HTTPError as error:
        fail(RuntimeError(f"the collector at {url} did not take the capacity: {error}"), 1)
