"""`tidegauge forecast | plan | backtest policy|forecast | scale ...`: the edge where words from a shell become values.

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
    from forecaster.settings import Settings
    from forecaster.tick import World

AsJson = Annotated[bool, typer.Option("--json", help="Answer with JSON on stdout.")]
ServiceName = Annotated[str, typer.Argument(metavar="SERVICE", help="A service of tidegauge.yaml.")]
OneService = Annotated[str | None, typer.Argument(metavar="SERVICE", help="A service of tidegauge.yaml.")]
CsvFile = Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="A file `timestamp,value` instead.")]

_FORECAST_HELP = """Say what demand will be, with quantiles.

\b
tidegauge forecast reference-app
tidegauge forecast reference-app --horizon 6h --as-of 2026-05-04T12:00:00Z --json
tidegauge forecast --csv traffic.csv --as-of 2026-05-01 --as-of 2026-05-02 --json
"""
_PLAN_HELP = """Say what floor would be set now, and which ones over the next day, with reasons. Changes nothing.

\b
tidegauge plan reference-app
tidegauge plan reference-app --json
"""
_BACKTEST_HELP = """Play the scaling policy on the past, against the autoscaler alone. `act` needs a passed one.

\b
tidegauge backtest policy reference-app --window 7d
tidegauge backtest policy --csv traffic.csv --peak-replicas 20
"""
_SKILL_HELP = """Score past forecasts by what came, beside the naive baselines. Ratios under 1 beat the yardstick.

\b
tidegauge backtest forecast reference-app
tidegauge backtest forecast --csv traffic.csv --origins 12 --horizon 24h --json
"""
_STATUS_HELP = """Say how a service's autoscaler and its forecaster stand.

\b
tidegauge scale status reference-app --json
"""
_HISTORY_HELP = """List past decisions about the floor, newest first.

\b
tidegauge scale history reference-app --since 24h --limit 50
"""


def mount(app: typer.Typer) -> None:
    """Add the forecaster's commands to `app`."""
    app.command("forecast", help=_FORECAST_HELP)(forecast)
    app.command("plan", help=_PLAN_HELP)(plan)
    backtest = typer.Typer(no_args_is_help=True, help="Judge on the past, with the code that runs live.")
    backtest.command("policy", help=_BACKTEST_HELP)(backtest_policy)
    backtest.command("forecast", help=_SKILL_HELP)(backtest_forecasts)
    app.add_typer(backtest, name="backtest")
    scale = typer.Typer(no_args_is_help=True, help="What was decided about replicas, and how they stand.")
    scale.command("status", help=_STATUS_HELP)(scale_status)
    scale.command("history", help=_HISTORY_HELP)(scale_history)
    app.add_typer(scale, name="scale")


def forecast(
    service: OneService = None,
    csv: CsvFile = None,
    horizon: Annotated[str, typer.Option(help="How far ahead, such as 90m, 24h or 7d.")] = "24h",
    quantiles: Annotated[str, typer.Option(help="Levels between 0 and 1, ascending.")] = "0.1,0.5,0.9,0.95,0.99",
    as_of: Annotated[
        list[str] | None,
        typer.Option("--as-of", metavar="T", help="Forecast as if it were then (ISO 8601); may be repeated."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Answer `tidegauge forecast`."""
    from forecaster.answers import Question, answer_from_csv, answer_from_record, parse_instant
    from forecaster.forecast.types import NoForecast
    from forecaster.screen import show_answer
    from forecaster.settings import parse_quantiles, parse_span
    from forecaster.shapes import forecasts_json

    with _told():
        _exactly_one(service, csv)
        question = Question(
            horizon=_named("--horizon", parse_span, horizon),
            quantiles=_named("--quantiles", parse_quantiles, quantiles),
            as_of=tuple(_named("--as-of", parse_instant, text) for text in as_of or ()),
        )
        if csv is not None:
            answer = answer_from_csv(csv, question)
        else:
            catalog, settings = _configuration()
            known = catalog.service(service or "")
            with _world(settings) as world:
                answer = answer_from_record(world.client, known, question, clock=world.clock, settings=settings)
    if as_json:
        _print_json(forecasts_json(answer.series, answer.step, answer.forecasts))
    else:
        show_answer(_console(), answer)
    missing = [one for one in answer.forecasts if isinstance(one, NoForecast)]
    if missing:
        _complain(f"no forecast from {missing[0].origin:%Y-%m-%dT%H:%M:%SZ}: {missing[0].reason}")
        raise typer.Exit(1)


def plan(service: ServiceName, as_json: AsJson = False) -> None:
    """Answer `tidegauge plan`."""
    from forecaster.scaling.plan import decide
    from forecaster.screen import show_decision
    from forecaster.shapes import decision_json
    from forecaster.tick import Memory, load, look, scaling_of

    with _told():
        catalog, settings = _configuration()
        known = catalog.service(service)
        scaling_of(known)
        with _world(settings) as world:
            memory = Memory()
            load(world, known, memory)
            decision = decide(look(world, known, memory))
    if as_json:
        _print_json(decision_json(decision))
    else:
        show_decision(_console(), decision)


def backtest_policy(
    service: OneService = None,
    csv: CsvFile = None,
    peak_replicas: Annotated[int, typer.Option(help="With --csv: replicas that carry the file's peak.", min=1)] = 20,
    window: Annotated[str | None, typer.Option(help="How much of the newest history to play, such as 7d.")] = None,
    as_json: AsJson = False,
) -> None:
    """Answer `tidegauge backtest policy`: exit 0 when it passed, 1 when it did not."""
    from forecaster.policy_check import BacktestRequest, run_csv_backtest, run_policy_backtest
    from forecaster.screen import show_backtest
    from forecaster.shapes import plain_json

    with _told():
        _exactly_one(service, csv)
        settings = _settings()
        span = _window(window)
        if csv is not None:
            request = BacktestRequest(settings, window=span)
            with _progress() as progress:
                verdict = run_csv_backtest(csv, peak_replicas=peak_replicas, request=request, progress=progress)
        else:
            catalog, settings = _configuration()
            known = catalog.service(service or "")
            with _world(settings) as world, _progress() as progress:
                request = BacktestRequest(settings, speed=world.clock.speed_now(), window=span)
                verdict = run_policy_backtest(
                    world.client, known, now=world.clock.now(), request=request, progress=progress
                )
    if as_json:
        _print_json({"series": service or (csv.stem if csv else None), **plain_json(verdict)})
    else:
        show_backtest(_console(), service or str(csv), verdict)
    raise typer.Exit(0 if verdict.passed else 1)


def backtest_forecasts(
    service: OneService = None,
    csv: CsvFile = None,
    origins: Annotated[int, typer.Option(help="Instants of the last third to forecast from.", min=1)] = 12,
    horizon: Annotated[str, typer.Option(help="How far ahead each forecast goes, such as 24h.")] = "24h",
    as_json: AsJson = False,
) -> None:
    """Answer `tidegauge backtest forecast`."""
    from forecaster.answers import skill_from_csv, skill_from_record
    from forecaster.screen import show_skill
    from forecaster.settings import parse_span
    from forecaster.shapes import plain_json

    with _told():
        _exactly_one(service, csv)
        span = _named("--horizon", parse_span, horizon)
        if csv is not None:
            with _progress() as progress:
                report = skill_from_csv(csv, origins=origins, horizon=span, progress=progress)
        else:
            catalog, settings = _configuration()
            known = catalog.service(service or "")
            with _world(settings) as world, _progress() as progress:
                report = skill_from_record(
                    world.client,
                    known,
                    origins=origins,
                    horizon=span,
                    clock=world.clock,
                    settings=settings,
                    progress=progress,
                )
    if as_json:
        _print_json(plain_json(report))
    else:
        show_skill(_console(), report)


def scale_status(service: ServiceName, as_json: AsJson = False) -> None:
    """Answer `tidegauge scale status`."""
    from forecaster.overview import overview_json
    from forecaster.screen import show_status

    with _told():
        catalog, settings = _configuration()
        known = catalog.service(service)
        with _world(settings) as world:
            status = overview_json(world, known)
    if as_json:
        _print_json(status)
    else:
        show_status(_console(), status)


def scale_history(
    service: ServiceName,
    since: Annotated[str, typer.Option(help="How far back, such as 24h or 7d.")] = "24h",
    limit: Annotated[int, typer.Option(help="At most so many.", min=1)] = 50,
    as_json: AsJson = False,
) -> None:
    """Answer `tidegauge scale history`."""
    from forecaster.screen import show_decisions
    from forecaster.settings import parse_span
    from forecaster.shapes import stored_decision_json
    from forecaster.store import read_decisions

    with _told():
        span = _named("--since", parse_span, since)
        catalog, settings = _configuration()
        known = catalog.service(service)
        with _world(settings) as world:
            found = read_decisions(world.client, known.name, since=world.clock.now() - span, limit=limit)
    if as_json:
        _print_json({"service": known.name, "decisions": [stored_decision_json(stored) for stored in found]})
    else:
        show_decisions(_console(), known.name, found)


@contextmanager
def _told() -> Iterator[None]:
    """Turn what went wrong into one line on stderr: exit 1 when a part does not answer, 2 when we were asked amiss."""
    from collector.clickhouse import StoreError, StoreSettingsError
    from forecaster.actuators.contract import ActuatorUnavailable

    try:
        yield
    except StoreSettingsError as error:
        _complain(str(error))
        raise typer.Exit(2) from None
    except (StoreError, ActuatorUnavailable) as error:
        _complain(f"the store: {error}" if isinstance(error, StoreError) else str(error))
        raise typer.Exit(1) from None
    except (ValueError, OSError) as error:  # every complaint about input is a ValueError; a file can be unreadable
        _complain(str(error))
        raise typer.Exit(2) from None


def _exactly_one(service: str | None, csv: Path | None) -> None:
    if (service is None) == (csv is None):
        raise ValueError(f"expected exactly one of SERVICE and --csv FILE, got {'none' if service is None else 'both'}")


def _named(option: str, parse: Callable[[str], Any], text: str) -> Any:
    try:
        return parse(text)
    except ValueError as error:
        raise ValueError(f"{option}: {error}") from None


def _window(text: str | None) -> Any:
    from forecaster.settings import parse_span

    return _named("--window", parse_span, text) if text is not None else None


def _settings() -> Settings:
    from forecaster.settings import settings_from_environment

    return settings_from_environment(os.environ)


def _configuration() -> tuple[Catalog, Settings]:
    from collector.catalog import read_catalog

    settings = _settings()
    return read_catalog(settings.config), settings


@contextmanager
def _world(settings: Settings) -> Iterator[World]:
    """The command's composition root: store, clock and actuator from the environment, closed afterwards."""
    import httpx

    from collector.clickhouse import connect, settings_from_environment
    from forecaster.actuators.local import LocalCluster
    from forecaster.tick import World
    from tidegauge.clock import clock_from_environment

    client = connect(settings_from_environment(os.environ))
    try:
        with httpx.Client(timeout=5.0) as http:
            actuator = LocalCluster(settings.cluster_url, http)
            yield World(client, clock_from_environment(os.environ), actuator, settings)
    finally:
        client.close()


@contextmanager
def _progress() -> Iterator[Callable[[float], None]]:
    """A progress bar on stderr, of a share from 0 to 1; rich draws none where nobody looks."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("playing the past", total=1.0)
        yield lambda share: bar.update(task, completed=share)


def _console() -> Any:
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else 120)


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, allow_nan=False))


def _complain(message: str) -> None:
    typer.echo(f"tidegauge: {' '.join(message.split())}", err=True)
