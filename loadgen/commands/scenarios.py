"""`tidegauge load run SCENARIO`, `schema`, `list`, `show` and `compare`. Heavy imports stay inside the functions."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine

    from loadgen.safety import Limits, Target
    from loadgen.scenario.file import Scenario
    from loadgen.scenario.run import Progress, RunPlan, RunResult


def mount_scenarios(load: typer.Typer) -> None:
    """Add the commands around scenario files."""
    load.command("schema")(schema)
    load.command("list")(list_runs)
    load.command("show")(show)
    load.command("compare")(compare)
    load.command("join")(join)


def runs_folder() -> Path:
    """Return where runs are kept unless told otherwise."""
    return Path(os.environ.get("TIDEGAUGE_DATA") or ".tidegauge") / "load"


def fail(error: Exception, code: int) -> NoReturn:
    """Say what went wrong on stderr, and end."""
    typer.echo(str(error), err=True)
    raise typer.Exit(code) from error


def schema() -> None:
    """Print the JSON Schema of scenario files; an editor checks and completes them with it."""
    from loadgen.scenario.file import json_schema

    typer.echo(json.dumps(json_schema(), indent=1))


def read_run(name: str) -> dict[str, Any]:
    """Return what is known of a run: of a directory, of one under TIDEGAUGE_DATA/load, or of the record.

    Raises ValueError when there is none of that name.
    """
    from loadgen.runs.stored_runs import read_stored_run

    for folder in (Path(name), runs_folder() / name):
        if (folder / "load.json").is_file():
            found: dict[str, Any] = json.loads((folder / "load.json").read_text(encoding="utf-8"))
            return found
    url = collector_url()
    stored = None if url is None else read_stored_run(url, name)
    if stored is None:
        where = "" if url else "; without TIDEGAUGE_COLLECTOR_URL the record is not asked"
        raise ValueError(
            f"expected a run: a directory with load.json, or a name of `tidegauge load list`; got {name!r}{where}"
        )
    return stored


def list_runs(
    service: Annotated[str | None, typer.Option(help="of this service only")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 50,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """List runs, the newest first: those under TIDEGAUGE_DATA/load, and with TIDEGAUGE_COLLECTOR_URL the record's.

    Example: `tidegauge load list --service reference-app --limit 10`.
    """
    from loadgen.runs.stored_runs import read_stored_runs

    runs = {str(run["run_id"]): run for run in (read_run(str(path.parent)) for path in _run_files())}
    url = collector_url()
    try:
        stored = [] if url is None else read_stored_runs(url, service, limit)
    except ValueError as error:
        fail(error, 1)
    runs = {str(run["run_id"]): run for run in stored} | runs
    found = [run for run in runs.values() if service is None or run.get("service") == service]
    found = sorted(found, key=lambda run: str(run["started_at"]), reverse=True)[:limit]
    if as_json:
        typer.echo(json.dumps(found, indent=1))
        return
    for run in found:
        verdict = run.get("verdict", {}).get("status", run["status"])
        sent = run.get("sent", "-")  # nobody counted them of a capacity search, or of a run under way
        typer.echo(f"{run['started_at']}  {verdict:<8}{sent:>9} sent  {run['run_id']}")


def _run_files() -> list[Path]:
    return list(runs_folder().glob("*/load.json"))


def show(run: Annotated[str, typer.Argument(help="a directory, or a name of `tidegauge load list`")]) -> None:
    """Print everything that is known of a run, as JSON. Its charts are in report.html of its directory.

    Example: `tidegauge load show flight_search_load-20261122T123119-9974`.
    """
    try:
        typer.echo(json.dumps(read_run(run), indent=1))
    except ValueError as error:
        fail(error, 2)


def compare(
    before: Annotated[str, typer.Argument(help="a directory, or a name of `tidegauge load list`")],
    after: Annotated[str, typer.Argument(help="the same")],
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Print what differs between two runs, and whether chance alone would make such a difference.

    Example: `tidegauge load compare before-the-change after-the-change`.
    """
    from dataclasses import asdict

    from loadgen.runs.comparison import compare as differences
    from loadgen.runs.comparison import compare_lines

    try:
        runs = read_run(before), read_run(after)
        if as_json:
            found = [{**asdict(one), "significant": one.significant} for one in differences(*runs)]
            typer.echo(json.dumps({"before": before, "after": after, "differences": found}, indent=1))
        else:
            typer.echo("\n".join(compare_lines(*runs)))
    except KeyError as error:
        fail(ValueError(f"expected two finished runs of scenarios, one has no {error}"), 2)
    except ValueError as error:
        fail(error, 2)


def collector_url() -> str | None:
    """Return the collector to report to."""
    return (os.environ.get("TIDEGAUGE_COLLECTOR_URL") or "").rstrip("/") or None


def checked_scenario(name: str, target: str | None) -> tuple[Scenario, Target, Limits]:
    """Return the scenario, within the limits, and where it goes. Raises ValueError."""
    from loadgen.safety import check_target, limits_from_environment
    from loadgen.scenario.file import find_scenario, read_scenario
    from loadgen.scenario.recorded_run import read_demand_over_http

    limits, url = limits_from_environment(os.environ), collector_url()
    demand = None if url is None else (lambda spec: read_demand_over_http(url, spec))
    scenario = read_scenario(find_scenario(name), read_demand=demand)
    if target is None and scenario.target is None:
        raise ValueError("expected a target: in the file, or as --target http://HOST:PORT")
    return scenario, check_target(target or scenario.target or "", limits), limits


def join(address: Annotated[str, typer.Argument(help="HOST:PORT where `load run --machines` listens")]) -> None:
    """Send for another machine: this one becomes a worker of its run, and ends with it.

    The target has to be allowed here too (TIDEGAUGE_LOAD_ALLOWED_HOSTS). Example: `tidegauge load join 10.0.0.5:5557`.
    """
    import subprocess
    import sys

    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        fail(ValueError(f"expected HOST:PORT, got {address!r}"), 2)
    try:
        done = subprocess.run([sys.executable, "-m", "loadgen.sending.join", host, port], check=False)  # noqa: S603 - ourselves
    except KeyboardInterrupt:
        raise typer.Exit(1) from None
    raise typer.Exit(done.returncode)


def run_file(
    name: str, *, target: str | None, seed: int | None, out: Path | None, as_json: bool, machines: int = 0,
    listen: str = "127.0.0.1:5557",
) -> None:  # fmt: skip
    """Play a scenario file; see `tidegauge load run --help` for the exit codes."""
    import asyncio
    from dataclasses import replace

    from loadgen.runs.files import RunFilesError
    from loadgen.safety import check_scenario
    from loadgen.scenario.recorded_run import play_recorded
    from loadgen.scenario.run import RunPlan
    from loadgen.scenario.summary import result_json, result_lines
    from loadgen.sending.machines import Machines

    try:
        scenario, where, limits = checked_scenario(name, target)
        check_scenario(scenario, limits)
    except (ValueError, OSError) as error:
        fail(error, 2)
    run_id = f"{scenario.name}-{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}"
    plan = RunPlan(scenario, where, run_id, scenario.seed if seed is None else seed, limits=limits)
    folder = out or runs_folder() / run_id

    async def recorded(stop: asyncio.Event, show: Callable[[Progress], None]) -> RunResult:
        if not machines:
            return await play_recorded(plan, stop, out=folder, collector_url=collector_url(), show=show)
        host, _, port = listen.rpartition(":")
        typer.echo(f"waiting for {machines} machines: tidegauge load join {listen}", err=True)
        others = await Machines.listen(host, int(port), machines)
        try:
            return await play_recorded(
                replace(plan, size=machines), stop, out=folder, collector_url=collector_url(), show=show,
                start_child=others.start,
            )  # fmt: skip
        finally:
            await others.close()

    try:
        result = asyncio.run(watched(plan, recorded))
    except RunFilesError as error:
        fail(error, 2)
    except (RuntimeError, OSError) as error:
        fail(error, 1)
    typer.echo(json.dumps(result_json(result), indent=1) if as_json else "\n".join(result_lines(result)))
    typer.echo(f"files: {folder}", err=True)
    raise typer.Exit(result.verdict.exit_code)


async def watched(
    plan: RunPlan, play: Callable[[asyncio.Event, Callable[[Progress], None]], Coroutine[Any, Any, RunResult]]
) -> RunResult:  # fmt: skip
    """Play with a line of progress on stderr; Ctrl-C drains, and the summary is still written."""
    import asyncio
    import signal

    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    from loadgen.scenario.summary import progress_line

    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    columns = (TextColumn("{task.description}"), BarColumn(20))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=plan.scenario.duration_seconds)
        return await play(
            stop, lambda now: bar.update(task, completed=now.seconds, description=progress_line(now))
        )  # fmt: skip
