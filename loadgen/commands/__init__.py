"""`tidegauge load ...`: its commands, the quick run at a constant rate, and the own shape. Heavy imports stay inside.

What plays a scenario file stands in `scenarios` beside.
"""

from __future__ import annotations

import json
import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from loadgen.commands.capacity import capacity
from loadgen.commands.scenarios import collector_url, mount_scenarios, run_file

if TYPE_CHECKING:
    from loadgen.trial import Trial, TrialPlan

UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def span(text: str) -> timedelta:
    """Return a duration such as 500ms, 30s, 5m, 1h or 7d. Raises typer.BadParameter."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", text)
    if match is None:
        raise typer.BadParameter(f"expected a number and one of {', '.join(UNITS)}, such as 30s; got {text!r}")
    return timedelta(seconds=float(match[1]) * UNITS[match[2]])


def mount(app: typer.Typer) -> None:
    """Add the `load` commands."""
    load = typer.Typer(help="Send load with an open model, and see what users would have got.", no_args_is_help=True)
    load.command("run")(run)
    load.command("shape")(shape)
    load.command("capacity")(capacity)
    mount_scenarios(load)
    app.add_typer(load, name="load")


def run(
    scenario: Annotated[str | None, typer.Argument(help="a scenario file, or the name of a shipped one")] = None,
    target: Annotated[str | None, typer.Option(help="http://HOST:PORT; goes before the file's")] = None,
    rps: Annotated[float | None, typer.Option(min=0.001, help="arrivals per second, without a file")] = None,
    duration: Annotated[str | None, typer.Option(help="such as 30s or 5m, without a file")] = None,
    arrivals: Annotated[Literal["poisson", "uniform"], typer.Option(help="without a file")] = "poisson",
    seed: Annotated[int | None, typer.Option(min=0, help="the same seed: the same arrivals")] = None,
    path: Annotated[str | None, typer.Option(help="GET this path only, in place of the reference app's mix")] = None,
    service: Annotated[
        str | None, typer.Option(help="without a file: whose record is told, so that forecasts leave the run out")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="the run's files [TIDEGAUGE_DATA/load/RUN]")] = None,
    machines: Annotated[int, typer.Option(min=0, max=64, help="so many others send, each by `load join`")] = 0,
    listen: Annotated[str, typer.Option(help="where they join; without authentication")] = "127.0.0.1:5557",
    as_json: Annotated[bool, typer.Option("--json", help="the summary as JSON on stdout")] = False,
) -> None:
    """Play a scenario file, or send at a constant rate; latencies count from the intended start.

    Exit 0: measured, all thresholds held; 1: invalid, with the reason, or nobody answered; 2: misused; 99: a threshold
    was crossed. Examples: `tidegauge load run flight_search_load --target http://127.0.0.1:8000`,
    `tidegauge load run --target http://127.0.0.1:8000 --rps 20 --duration 30s`.
    """
    if scenario is not None:
        if any(given is not None for given in (rps, duration, path, service)):
            raise typer.BadParameter("expected either a scenario or --rps, --duration, --path and --service")
        if not re.fullmatch(r"[^\s]+:\d{1,5}", listen):
            raise typer.BadParameter(f"--listen: expected HOST:PORT, got {listen!r}")
        run_file(scenario, target=target, seed=seed, out=out, as_json=as_json, machines=machines, listen=listen)
        return
    if target is None or rps is None or duration is None or out is not None:
        raise typer.BadParameter("expected a scenario, or --target, --rps and --duration without --out")
    if service is not None and collector_url() is None:
        raise typer.BadParameter("--service: expected TIDEGAUGE_COLLECTOR_URL, where its record is told of the run")
    _run_rate(target, rps, span(duration), arrivals, seed or 0, path, service=service, as_json=as_json)


def _run_rate(
    target: str, rps: float, length: timedelta, arrivals: Literal["poisson", "uniform"], seed: int, path: str | None,
    *, service: str | None, as_json: bool,
) -> None:  # fmt: skip
    import asyncio
    import os

    from loadgen.safety import check_duration, check_rate, check_target, limits_from_environment
    from loadgen.trial import NoTargetError, TrialPlan

    try:
        limits = limits_from_environment(os.environ)
        plan = TrialPlan(check_target(target, limits), rps, length, arrivals, seed, path)
        check_rate(rps, limits)
        check_duration(length, limits)
    except ValueError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
    try:
        trial = asyncio.run(_tried(plan, service))
    except (NoTargetError, RuntimeError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    _print(trial, as_json=as_json)
    raise typer.Exit(1 if trial.invalid_because else 0)


async def _tried(plan: TrialPlan, service: str | None) -> Trial:
    """Run the trial while the collector knows that what the service gets comes from us, where one is named."""
    import uuid

    from loadgen.runs.announced import announced

    run = {
        "run_id": f"trial-{uuid.uuid4()}", "service": service or "", "scenario": "constant rate",
        "target": plan.target.url,
    }  # fmt: skip
    collector = None if service is None else collector_url()
    async with announced(collector, run, lambda text: typer.echo(text, err=True)) as told:
        trial = await _with_progress(plan)
        told.outcome = {"status": "invalid" if trial.invalid_because else "finished"}
    return trial


async def _with_progress(plan: TrialPlan) -> Trial:
    """Run the trial with a line of progress on stderr; Ctrl-C drains it."""
    import asyncio
    import signal

    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from loadgen.trial import run_trial

    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("starting", total=plan.duration.total_seconds())

        def show(seconds: float, text: str) -> None:
            progress.update(task, completed=seconds, description=text)

        return await run_trial(plan, stop, show)


def _print(trial: Trial, *, as_json: bool) -> None:
    from loadgen.runs.summary import k6_lines

    if as_json:
        typer.echo(json.dumps(trial.to_json(), indent=1))
        return
    for line in k6_lines(trial.totals.overall, seconds=trial.seconds):
        typer.echo(line)
    for reason in trial.invalid_because:
        typer.echo(f"INVALID: {reason}")


def shape(
    peak_rps: Annotated[float, typer.Option(min=0.001, help="the highest rate of a weekday, without noise")] = 1.0,
    days: Annotated[int, typer.Option(min=1, max=400)] = 7,
    first_day: Annotated[str | None, typer.Option(help="YYYY-MM-DD, UTC; default: today")] = None,
    step: Annotated[str, typer.Option(help="such as 1m or 1h")] = "1m",
    seed: Annotated[int, typer.Option(min=0)] = 0,
    out: Annotated[Path | None, typer.Option(help="write here in place of stdout")] = None,
) -> None:
    """Print loadgen's own daily-and-weekly curve as CSV `timestamp,rps`, as `python -m loadgen --curve` takes it."""
    from loadgen.shape import daily_weekly_rps

    try:
        start = datetime.fromisoformat(f"{first_day or datetime.now(UTC).date()}T00:00:00+00:00")
        frame = daily_weekly_rps(start, start + timedelta(days=days), step=span(step), peak_rps=peak_rps, seed=seed)
    except ValueError as error:
        typer.echo(f"expected a day as YYYY-MM-DD and a step above 0: {error}", err=True)
        raise typer.Exit(2) from error
    frame["rps"] = frame["rps"].round(4)
    frame.to_csv(out or sys.stdout, index=False, date_format="%Y-%m-%dT%H:%M:%SZ")
