"""The `tidegauge` command: the commands of every package in one place, and those that run the embedded stack.

Heavy imports stand inside the commands: `--help` must come at once. Results go to stdout, everything else to stderr.
Exit codes: 0 done, 1 failed, 2 misused.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import sys
from pathlib import Path
from typing import Annotated

import typer

PACKAGES = ("collector", "forecaster", "loadgen", "reference_app")

app = typer.Typer(
    name="tidegauge",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
    help="Records a service's traffic, forecasts it, and raises the replica floor before the peak.",
    epilog="Examples:  tidegauge up  |  tidegauge status --json  |  "
    "tidegauge import history.csv --service reference-app  |  tidegauge forecast reference-app --horizon 24h",
)
DataOption = Annotated[
    Path | None, typer.Option("--data", metavar="DIR", help="State directory. [TIDEGAUGE_DATA, default .tidegauge]")
]


@app.command(
    epilog="Examples:  tidegauge up --no-app  |  TIDEGAUGE_DASHBOARD_PORT=8600 tidegauge up --data /var/lib/tide"
)
def up(
    data: DataOption = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="[TIDEGAUGE_CONFIG, default tidegauge.yaml]")
    ] = None,
    app: Annotated[bool, typer.Option(help="Run the reference app with its databases; without: for your own.")] = True,
    dashboard: Annotated[bool, typer.Option(help="Run the dashboard.")] = True,
    load: Annotated[bool, typer.Option(help="Send load to the reference app.")] = True,
) -> None:
    """Run the whole stack until Ctrl-C: store, databases, collector, forecaster, reference app, load, dashboard."""
    import asyncio
    import os

    from tidegauge.clock import clock_from_environment
    from tidegauge.part import StackError
    from tidegauge.settings import read_settings
    from tidegauge.up import run_stack

    try:
        settings = read_settings(data=data, config=config)
        clock = clock_from_environment(os.environ)
        _check_config(settings.config)
    except (StackError, ValueError) as error:
        _fail(str(error), code=2)
    try:
        asyncio.run(run_stack(settings, clock, with_app=app, with_dashboard=dashboard, with_load=load))
    except StackError as error:
        _fail(str(error), code=1)


@app.command(epilog="Example:  tidegauge demo --headless --minutes 8 --trace traffic.csv --out out")
def demo(
    data: DataOption = None,
    trace: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Traffic to play: timestamp,value. [loadgen's own shape]")
    ] = None,
    minutes: Annotated[float, typer.Option(min=1, max=120, help="How long the window is played, in real minutes.")] = 8,
    speed: Annotated[float, typer.Option(min=1, max=240, help="Seconds of the demo per real second.")] = 60,
    headless: Annotated[bool, typer.Option(help="End by itself after the window.")] = False,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Where summary.json goes. [DATA/demo]")] = None,
    peak_rps: Annotated[
        float, typer.Option(min=20, max=500, help="The window's highest rate, in requests per real second.")
    ] = 150,
) -> None:
    """Import history, play a window of it that ends now, scale ahead of its peak, and say what came of it."""
    import asyncio

    from rich.console import Console

    from collector.clickhouse import StoreError
    from collector.sources.files import ImportRefusedError
    from forecaster.scaling.backtest.field import BacktestError
    from tidegauge.demo.play import DemoOptions, play_demo
    from tidegauge.demo.screen import Progress
    from tidegauge.demo.story import StoryError
    from tidegauge.part import StackError
    from tidegauge.settings import read_settings

    try:
        settings = read_settings(data=data)
        _check_config(settings.config)
    except (StackError, ValueError) as error:
        _fail(str(error), code=2)
    try:
        settings = settings.model_copy(update={"data": settings.data / "demo"})
        options = DemoOptions(trace, minutes, speed, headless, out or settings.data, peak_rps)
        code = asyncio.run(play_demo(settings, options, Progress(Console(stderr=True))))
    except (StoryError, ImportRefusedError) as error:
        _fail(str(error), code=2)
    except (StackError, StoreError, BacktestError) as error:
        _fail(str(error), code=1)
    raise typer.Exit(code)


@app.command(epilog="Example:  tidegauge status --json | jq '.parts[] | select(.state != \"ready\")'")
def status(
    data: DataOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Show the stack of a data directory. Exit code 0: it runs and every part is ready; 1 otherwise."""
    from tidegauge.part import StackError
    from tidegauge.settings import read_settings
    from tidegauge.up import is_whole, read_status, status_lines

    try:
        seen = read_status(read_settings(data=data).data)
    except StackError as error:
        _fail(str(error), code=2)
    if as_json:
        typer.echo(json.dumps(seen, indent=1))
    else:
        for line in status_lines(seen):
            typer.echo(line)
    raise typer.Exit(0 if is_whole(seen) else 1)


@app.command(epilog="Example:  tidegauge doctor --json | jq '.[] | select(.state == \"broken\")'")
def doctor(
    data: DataOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Look for what is usually wrong and say what to do; change nothing. Exit code 1: something is broken."""
    import logging
    import os
    from dataclasses import asdict

    from tidegauge.doctor.examine import World, examine
    from tidegauge.doctor.findings import is_broken, lines

    logging.getLogger("clickhouse_connect").addHandler(logging.NullHandler())  # what it would log is a finding
    found = examine(os.environ, World(), data=data)
    for line in [json.dumps([asdict(each) for each in found], indent=1)] if as_json else lines(found):
        typer.echo(line)
    raise typer.Exit(1 if is_broken(found) else 0)


@app.command()
def version() -> None:
    """Show the version."""
    typer.echo(importlib.metadata.version("tidegauge"))


def _check_config(path: Path) -> None:
    """End with what is wrong with the configuration, before anything is started that could not do without."""
    from collector.catalog import read_catalog

    if not path.is_file():
        _fail(f"{path}: no such file: name the configuration with --config or TIDEGAUGE_CONFIG", code=2)
    read_catalog(path)


def _fail(message: str, *, code: int) -> None:
    typer.echo(f"tidegauge: {message}", err=True)
    raise typer.Exit(code)


def mount_packages(onto: typer.Typer) -> None:
    """Mount the commands of every package that has some."""
    for package in PACKAGES:
        name = f"{package}.commands"
        try:
            commands = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name:
                raise
            continue
        commands.mount(onto)


def main() -> None:
    """Run the command."""
    mount_packages(app)
    try:
        app()
    except BrokenPipeError:  # the reader of our output has gone: `tidegauge status | head -1`
        sys.stderr.close()
        raise SystemExit(1) from None
