"""`tidegauge backtest policy|forecast`: judge on the past, with the code that runs live."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from forecaster.commands import edge

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta
    from pathlib import Path

    from collector.catalog import Cost
    from forecaster.forecast.interface import Model
    from forecaster.forecast.skill import SkillReport
    from forecaster.judging.report import Ask
    from forecaster.scaling.backtest.counterfactual import WeekApart
    from forecaster.scaling.backtest.field import Field
    from forecaster.scaling.backtest.gate import PolicyBacktest
    from forecaster.scaling.backtest.rolling import RollingForecasts
    from forecaster.settings import Settings

_BACKTEST_HELP = """Play scaling policies on the past: ours, the autoscaler alone, what others ship, and the bounds.

For a SERVICE its own policy is judged against its autoscaler first, and the verdict kept: `act` needs a passed one.

\b
tidegauge backtest policy reference-app --window 7d
tidegauge backtest policy --csv traffic.csv --peak-replicas 20 --chart curves.svg
tidegauge backtest policy --csv traffic.csv --policy tidegauge,hpa,hpa_cron --json
"""
_SKILL_HELP = """Score past forecasts by what came, beside the naive baselines. Ratios under 1 beat the yardstick.

\b
tidegauge backtest forecast reference-app
tidegauge backtest forecast --csv traffic.csv --origins 12 --horizon 24h --json
tidegauge backtest forecast --csv traffic.csv --models ours,naive_week --chart skill.svg
"""


def mount(app: typer.Typer) -> None:
    """Add the backtests."""
    backtest = typer.Typer(no_args_is_help=True, help="Judge on the past, with the code that runs live.")
    backtest.command("policy", help=_BACKTEST_HELP)(backtest_policy)
    backtest.command("forecast", help=_SKILL_HELP)(backtest_forecasts)
    app.add_typer(backtest, name="backtest")


def backtest_policy(
    service: edge.OneService = None,
    csv: edge.CsvFile = None,
    policy: Annotated[
        str | None, typer.Option(help="These only, commas between: tidegauge,hpa,mean. Else all there are.")
    ] = None,
    peak_replicas: Annotated[int, typer.Option(help="With --csv: replicas that carry the file's peak.", min=1)] = 20,
    window: Annotated[str | None, typer.Option(help="How much of the newest history to play, such as 7d.")] = None,
    processes: Annotated[int, typer.Option(help="That make forecasts and play.", min=1)] = 2,
    chart: edge.ChartFile = None,
    as_json: edge.AsJson = False,
) -> None:
    """Answer `tidegauge backtest policy`: exit 1 when a service's own policy did not pass, else 0."""
    from forecaster.charts import write_chart
    from forecaster.judging.charts import contest_svg
    from forecaster.judging.report import KEPT, Ask, contest_json, run_contest
    from forecaster.judging.screen import show_apart, show_contest, show_verdict
    from forecaster.scaling.backtest.contest import chosen

    with edge.told():
        edge.exactly_one(service, csv)
        settings, span = edge.settings(), edge.window(window)
        ask = Ask(chosen(policy), processes, settings.data / KEPT)
        played = (
            _of_service(service or "", ask, span)
            if csv is None
            else _of_file(csv, ask, settings, span, peak_replicas=peak_replicas)
        )
        with edge.progress() as progress:
            contest = run_contest(played.ground, ask, played.forecasts, progress=progress)
        if chart is not None:
            write_chart(chart, contest_svg(contest))
    if as_json:
        edge.print_json(contest_json(contest))
    else:
        show_contest(edge.console(), contest, played.ground.capacity, played.price)
        show_apart(edge.console(), played.apart)
    if played.verdict is not None:
        show_verdict(edge.console() if not as_json else edge.aside(), played.verdict)
        raise typer.Exit(0 if played.verdict.passed else 1)


@dataclass(frozen=True, slots=True)
class _Played:
    """What a contest is held on; of a service also its verdict, its price and its weeks with us and without us."""

    ground: Field
    forecasts: RollingForecasts
    verdict: PolicyBacktest | None = None
    price: Cost | None = None
    apart: Sequence[WeekApart] = ()


def _of_file(csv: Path, ask: Ask, settings: Settings, span: timedelta | None, *, peak_replicas: int) -> _Played:
    from forecaster.judging.check import BacktestRequest
    from forecaster.judging.report import field_from_csv, make_forecasts

    ground = field_from_csv(csv, peak_replicas=peak_replicas, request=BacktestRequest(settings, window=span))
    with edge.progress("forecasting the past") as progress:
        return _Played(ground, make_forecasts(ground, ask, progress=progress))


def _of_service(name: str, ask: Ask, span: timedelta | None) -> _Played:
    from forecaster.judging.check import BacktestRequest, field_from_record, run_policy_backtest
    from forecaster.judging.report import apart_from_record, make_forecasts

    catalog, settings = edge.configuration()
    known = catalog.service(name)
    with edge.world(settings) as world:
        client, speed, now = world.client, world.clock.speed_now(), world.clock.now()
        request = BacktestRequest(settings, speed, span, kept=ask.kept, processes=ask.processes)
        ground = field_from_record(client, known, now=now, request=request)
        with edge.progress("forecasting the past") as progress:
            forecasts = make_forecasts(ground, ask, progress=progress)
        with edge.progress("judging") as progress:
            verdict = run_policy_backtest(
                client, known, now=now, request=request, forecasts=forecasts, progress=progress
            )
        apart = apart_from_record(client, known, now=now, request=request)
    return _Played(ground, forecasts, verdict, known.cost, apart)


def backtest_forecasts(
    service: edge.OneService = None,
    csv: edge.CsvFile = None,
    origins: Annotated[int, typer.Option(help="Instants of the last third to forecast from.", min=1)] = 12,
    horizon: Annotated[str, typer.Option(help="How far ahead each forecast goes, such as 24h.")] = "24h",
    models: Annotated[
        str | None,
        typer.Option(help="These only, commas between: ours,naive_week. Else all that are installed."),
    ] = None,
    chart: edge.ChartFile = None,
    as_json: edge.AsJson = False,
) -> None:
    """Answer `tidegauge backtest forecast`."""
    from forecaster.answers import skill_from_csv, skill_from_record
    from forecaster.api.shapes import plain_json
    from forecaster.charts import skill_svg, write_chart
    from forecaster.screen import show_skill
    from forecaster.settings import parse_span

    with edge.told():
        edge.exactly_one(service, csv)
        span = edge.named("--horizon", parse_span, horizon)
        wanted = _beside(models)
        if csv is not None:
            with edge.progress() as progress:
                report = skill_from_csv(csv, origins=origins, horizon=span, models=wanted, progress=progress)
        else:
            catalog, settings = edge.configuration()
            known = catalog.service(service or "")
            with edge.world(settings) as world, edge.progress() as progress:
                report = skill_from_record(
                    world.client,
                    known,
                    origins=origins,
                    horizon=span,
                    clock=world.clock,
                    settings=settings,
                    models=wanted,
                    progress=progress,
                )
    with edge.told():
        report = _only(report, models)
        if chart is not None:
            write_chart(chart, skill_svg(report))
    if as_json:
        edge.print_json(plain_json(report))
    else:
        show_skill(edge.console(), report)


def _beside(names: str | None) -> dict[str, Model]:
    """Return the models to fit beside ours and the naive ones. Raises ValueError on an unknown name."""
    from forecaster.forecast.baselines import BASELINES
    from forecaster.forecast.members import MODELS
    from forecaster.forecast.prophet_adapter import prophet_models
    from forecaster.forecast.skill import OURS
    from forecaster.forecast.statsforecast_adapter import statsforecast_models

    known = (OURS, *MODELS)
    installed = [*statsforecast_models(), *prophet_models()]
    wanted = installed if names is None else [name.strip() for name in names.split(",")]
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise ValueError(f"--models: expected some of {', '.join(known)}, got {', '.join(unknown)}")
    return {name: MODELS[name]() for name in wanted if name != OURS and name not in BASELINES}


def _only(report: SkillReport, names: str | None) -> SkillReport:
    """Return the report with the models named only, in the order named."""
    from dataclasses import replace

    if names is None:
        return report
    known = {skill.model: skill for skill in report.models}
    return replace(report, models=tuple(known[name.strip()] for name in names.split(",")))
