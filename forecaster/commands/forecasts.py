"""`tidegauge forecast`: demand ahead of a service or a file, and how good past forecasts were."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from forecaster.commands import edge

_GROUP_HELP = """Say what demand will be, with quantiles (`forecast show`, which a service's name alone means too).

\b
tidegauge forecast reference-app
tidegauge forecast --csv traffic.csv --horizon 7d --chart week.html
tidegauge forecast scores reference-app
tidegauge forecast outlook reference-app --horizon 90d --capacity 240
tidegauge forecast show --help
"""
_SCORES_HELP = """Say how good the stored forecasts were, by how far ahead. Skill above 0 beats the naive one.

\b
tidegauge forecast scores reference-app
tidegauge forecast scores reference-app --since 30d --json
"""
_OUTLOOK_HELP = """Say what the days of the next weeks and months bring, and when demand passes a capacity.

Each day's mean and its busiest hour, with quantiles; the day by which the busiest hour has been above --capacity.

\b
tidegauge forecast outlook reference-app --horizon 90d --capacity 240
tidegauge forecast outlook reference-app --of memory --capacity 8e9
tidegauge forecast outlook --csv traffic.csv --horizon 30d --json
"""
_FORECAST_HELP = """Say what demand will be, with quantiles.

\b
tidegauge forecast reference-app
tidegauge forecast reference-app --horizon 6h --as-of 2026-05-04T12:00:00Z --json
tidegauge forecast reference-app --of cpu --horizon 7d
tidegauge forecast --csv traffic.csv --as-of 2026-05-01 --as-of 2026-05-02 --json
tidegauge forecast reference-app --what-if 'match@2026-11-25T20:00+2h x1.8'
tidegauge forecast --csv traffic.csv --country DE-BY --timezone Europe/Berlin --calendar matches.ics
"""

Of = Annotated[
    str,
    typer.Option("--of", metavar="MEASURE", help="Of a service: requests (a second), cpu (cores), memory (bytes)."),
]


class ServiceOrCommand(TyperGroup):
    """A group whose first word may be a service: then it is `show` that was meant."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put `show` in front of what is not a command of ours."""
        if not args or (args[0] not in self.commands and args[0] != "--help"):
            args = ["show", *args]
        return super().parse_args(ctx, args)


def mount(app: typer.Typer) -> None:
    """Add the commands about demand ahead."""
    group = typer.Typer(cls=ServiceOrCommand, help=_GROUP_HELP)
    group.command("show", help=_FORECAST_HELP)(forecast)
    group.command("scores", help=_SCORES_HELP)(forecast_scores)
    group.command("outlook", help=_OUTLOOK_HELP)(forecast_outlook)
    app.add_typer(group, name="forecast")


def forecast(
    service: edge.OneService = None,
    csv: edge.CsvFile = None,
    horizon: Annotated[str, typer.Option(help="How far ahead, such as 90m, 24h or 7d.")] = "24h",
    quantiles: Annotated[str, typer.Option(help="Levels between 0 and 1, ascending.")] = "0.1,0.5,0.9,0.95,0.99",
    as_of: Annotated[
        list[str] | None,
        typer.Option("--as-of", metavar="T", help="Forecast as if it were then (ISO 8601); may be repeated."),
    ] = None,
    what_if: Annotated[
        list[str] | None,
        typer.Option("--what-if", metavar="EVENT", help="Suppose it: 'match@2026-11-25T20:00+2h x1.8', local time."),
    ] = None,
    calendar: Annotated[
        str | None, typer.Option(metavar="FILE|URL", help="Events: a .yaml file, or iCalendar (a file or an address).")
    ] = None,
    country: Annotated[str | None, typer.Option(help="Public holidays of a country, such as DE or DE-BY.")] = None,
    timezone: Annotated[str | None, typer.Option(help="Local time of the users, such as Europe/Berlin.")] = None,
    of: Of = "requests",
    chart: edge.ChartFile = None,
    as_json: edge.AsJson = False,
) -> None:
    """Answer `tidegauge forecast`."""
    from forecaster.answers import Question, answer_from_csv, answer_from_record, asked_calendar, parse_instant
    from forecaster.api.shapes import forecasts_json
    from forecaster.charts import answer_svg, write_chart
    from forecaster.forecast.types import NoForecast
    from forecaster.resources import parse_measure
    from forecaster.screen import show_answer
    from forecaster.settings import parse_quantiles, parse_span

    with edge.told():
        edge.exactly_one(service, csv)
        question = Question(
            horizon=edge.named("--horizon", parse_span, horizon),
            quantiles=edge.named("--quantiles", parse_quantiles, quantiles),
            as_of=tuple(edge.named("--as-of", parse_instant, text) for text in as_of or ()),
            calendar=asked_calendar(calendar, country, timezone, what_if or ()),
            of=edge.named("--of", parse_measure, of),
        )
        _refuse_of(csv, question.of)
        if csv is not None:
            answer = answer_from_csv(csv, question)
        else:
            catalog, settings = edge.configuration()
            known = catalog.service(service or "")
            with edge.world(settings) as world:
                answer = answer_from_record(
                    world.client, known, question, clock=world.clock, settings=settings, catalog=catalog
                )
    with edge.told():
        if chart is not None:
            write_chart(chart, answer_svg(answer))
    if as_json:
        edge.print_json(forecasts_json(answer.series, answer.step, answer.forecasts, unit=answer.unit))
    else:
        show_answer(edge.console(), answer)
    missing = [one for one in answer.forecasts if isinstance(one, NoForecast)]
    if missing:
        edge.complain(f"no forecast from {missing[0].origin:%Y-%m-%dT%H:%M:%SZ}: {missing[0].reason}")
        raise typer.Exit(1)


def forecast_scores(
    service: edge.ServiceName,
    since: Annotated[str, typer.Option(help="Forecasts made in this time, such as 24h or 7d.")] = "7d",
    as_json: edge.AsJson = False,
) -> None:
    """Answer `tidegauge forecast scores`."""
    from forecaster.api.shapes import scores_json
    from forecaster.scores.drift import drift_of
    from forecaster.scores.score import summarise
    from forecaster.scores.score_store import read_scores
    from forecaster.screen import show_scores
    from forecaster.settings import parse_span

    with edge.told():
        span = edge.named("--since", parse_span, since)
        catalog, settings = edge.configuration()
        known = catalog.service(service)
        with edge.world(settings) as world:
            now = world.clock.now()
            scores = read_scores(world.client, known.name, since=now - span, until=now)
    summaries, drift = summarise(scores), drift_of(scores, now=now)
    if as_json:
        edge.print_json(scores_json(known.name, summaries, drift))
    else:
        show_scores(edge.console(), known.name, summaries, drift)


def forecast_outlook(
    service: edge.OneService = None,
    csv: edge.CsvFile = None,
    horizon: Annotated[str, typer.Option(help="How many days ahead: 7d, 30d, 90d.")] = "90d",
    capacity: Annotated[
        float | None, typer.Option(help="What can be served, in the unit of --of; with --csv in the file's own.")
    ] = None,
    quantiles: Annotated[str, typer.Option(help="Levels between 0 and 1, ascending.")] = "0.1,0.5,0.9,0.95",
    timezone: Annotated[str | None, typer.Option(help="Local time of the days, such as Europe/Berlin.")] = None,
    of: Of = "requests",
    as_json: edge.AsJson = False,
) -> None:
    """Answer `tidegauge forecast outlook`."""
    from forecaster.outlook.asked import OutlookQuestion, outlook_from_csv, outlook_from_record
    from forecaster.outlook.outlook import NoOutlook
    from forecaster.outlook.shown import outlook_json, show_outlook
    from forecaster.resources import parse_measure
    from forecaster.settings import parse_quantiles, parse_span

    with edge.told():
        edge.exactly_one(service, csv)
        question = OutlookQuestion(
            horizon=edge.named("--horizon", parse_span, horizon),
            quantiles=edge.named("--quantiles", parse_quantiles, quantiles),
            capacity=capacity,
            timezone=timezone,
            of=edge.named("--of", parse_measure, of),
        )
        _refuse_of(csv, question.of)
        if csv is not None:
            found = outlook_from_csv(csv, question)
        else:
            catalog, settings = edge.configuration()
            known = catalog.service(service or "")
            with edge.world(settings) as world:
                found = outlook_from_record(world.client, known, question, clock=world.clock, settings=settings)
    if as_json:
        edge.print_json(outlook_json(found))
    elif not isinstance(found, NoOutlook):
        show_outlook(edge.console(), found)
    if isinstance(found, NoOutlook):
        edge.complain(f"no outlook of {found.name}: {found.reason}")
        raise typer.Exit(1)


def _refuse_of(csv: Path | None, of: str) -> None:
    if csv is not None and of != "requests":
        raise ValueError(f"--of: expected a SERVICE to read the {of} of, got --csv, whose values are what they are")
