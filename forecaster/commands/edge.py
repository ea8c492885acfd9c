"""The edge where words from a shell become values: one world per command, one line per complaint, one shape of options.

Results go to stdout, complaints as one line to stderr; exit 0 done, 1 failed, 2 misused. The heavy imports stay inside
the functions, so that `tidegauge --help` is quick.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    from collector.catalog import Catalog
    from forecaster.actuators.contract import Actuator
    from forecaster.loop.world import World
    from forecaster.settings import Settings

AsJson = Annotated[bool, typer.Option("--json", help="Answer with JSON on stdout.")]
ServiceName = Annotated[str, typer.Argument(metavar="SERVICE", help="A service of tidegauge.yaml.")]
OneService = Annotated[str | None, typer.Argument(metavar="SERVICE", help="A service of tidegauge.yaml.")]
CsvFile = Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="A file `timestamp,value` instead.")]
ChartFile = Annotated[
    Path | None,
    typer.Option("--chart", metavar="FILE", help="Draw into a file: .svg, or .html that needs nothing else."),
]


@contextmanager
def told() -> Iterator[None]:
    """Turn what went wrong into one line on stderr: exit 1 when a part does not answer, 2 when we were asked amiss."""
    from collector.clickhouse import StoreError, StoreSettingsError
    from forecaster.actuators.contract import ActuatorUnavailable

    try:
        yield
    except StoreSettingsError as error:
        complain(str(error))
        raise typer.Exit(2) from None
    except (StoreError, ActuatorUnavailable) as error:
        complain(_of_the_store(str(error)) if isinstance(error, StoreError) else str(error))
        raise typer.Exit(1) from None
    except (ValueError, OSError) as error:  # every complaint about input is a ValueError; a file can be unreadable
        complain(str(error))
        raise typer.Exit(2) from None


def _of_the_store(error: str) -> str:
    """A table that is not there: each part brings its own at its first start."""
    if "UNKNOWN_TABLE" in error:
        return f"the store: a table is missing; start the platform on it once (`tidegauge up --no-app`): {error}"
    return f"the store: {error}"


def exactly_one(service: str | None, csv: Path | None) -> None:
    """Refuse neither and both of a service and a file."""
    if (service is None) == (csv is None):
        raise ValueError(f"expected exactly one of SERVICE and --csv FILE, got {'none' if service is None else 'both'}")


def named(option: str, parse: Callable[[str], Any], text: str) -> Any:
    """Return what `parse` makes of an option; its complaint begins with the option's name."""
    try:
        return parse(text)
    except ValueError as error:
        raise ValueError(f"{option}: {error}") from None


def window(text: str | None) -> Any:
    """Return the span of `--window`, None without one."""
    from forecaster.settings import parse_span

    return named("--window", parse_span, text) if text is not None else None


def settings() -> Settings:
    """Return the settings of the environment."""
    from forecaster.settings import settings_from_environment

    return settings_from_environment(os.environ)


def configuration() -> tuple[Catalog, Settings]:
    """Return what is watched, and the settings of the environment."""
    from collector.catalog import read_catalog

    known = settings()
    return read_catalog(known.config), known


def scaled(service: str) -> None:
    """Refuse a service that is not known or has no scaling target. Raises ValueError."""
    from forecaster.loop.world import scaling_of

    scaling_of(configuration()[0].service(service))


@contextmanager
def actuator(told_by: Settings) -> Iterator[Actuator]:
    """Return whoever holds the floors, by the configuration and the environment, closed afterwards."""
    import time

    import httpx

    from forecaster.actuators.chosen import Outside, Unreachable, choose

    with httpx.Client(timeout=5.0) as http:
        try:
            chosen = choose(configuration()[0], Outside(told_by.cluster_url, http, os.environ, "", time.monotonic))
        except ValueError as error:  # most commands can do without
            yield Unreachable(str(error))
            return
        try:
            yield chosen.actuator
        finally:
            chosen.close()


@contextmanager
def world(told_by: Settings) -> Iterator[World]:
    """The command's composition root: store, clock, actuator and orders from the environment, closed afterwards."""
    from datetime import UTC, datetime

    from collector.clickhouse import connect, settings_from_environment
    from forecaster.loop.world import World
    from forecaster.orders import Orders
    from tidegauge.clock import clock_from_environment

    client = connect(settings_from_environment(os.environ))
    try:
        with actuator(told_by) as acting:
            orders = Orders(told_by.data, now=lambda: datetime.now(UTC))
            clock = clock_from_environment(os.environ)
            yield World(client, clock, acting, told_by, orders=orders, catalog=configuration()[0])
    finally:
        client.close()


@contextmanager
def world_if_any(told_by: Settings) -> Iterator[World | None]:
    """Return the command's world, None where the store does not answer: for what has to work without it."""
    from contextlib import ExitStack

    from collector.clickhouse import StoreError

    with ExitStack() as opened:
        try:
            found = opened.enter_context(world(told_by))
        except StoreError as error:
            complain(f"the store: {error}")
            found = None
        yield found


@contextmanager
def progress(doing: str = "playing the past") -> Iterator[Callable[[float], None]]:
    """A progress bar on stderr, of a share from 0 to 1; rich draws none where nobody looks."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(doing, total=1.0)
        yield lambda share: bar.update(task, completed=share)


def console() -> Any:
    """Return where people read results."""
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else 120)


def aside() -> Any:
    """Return where people read what is not the result."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def print_json(value: Any) -> None:
    """Print a result for a program."""
    typer.echo(json.dumps(value, allow_nan=False))


def complain(message: str) -> None:
    """Print one line to stderr."""
    typer.echo(f"tidegauge: {' '.join(message.split())}", err=True)
