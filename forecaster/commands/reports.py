"""`tidegauge report SERVICE` and `tidegauge report sla`: what planners and customers are handed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forecaster.commands import edge
from forecaster.commands.forecasts import ServiceOrCommand

if TYPE_CHECKING:
    from forecaster.report.formats import Format, Rendered

_GROUP_HELP = """Make a report (`report show`, which a service's name alone means too).

\b
tidegauge report reference-app --horizon 90d --format pdf --out capacity.pdf
tidegauge report reference-app --format md
tidegauge report sla --month 2026-10 --service reference-app --format html --out october.html
"""
_CAPACITY_HELP = """Demand, peaks ahead, capacity, when max or a budget is passed, cost, SLOs, what scaling did.

\b
tidegauge report reference-app --horizon 90d --format pdf --out capacity.pdf
tidegauge report reference-app --format json --as-of 2026-11-20T14:00:00Z
"""
_SLA_HELP = """What was kept of every SLO in a month, by route and by day; maintenance and coverage stated.

\b
tidegauge report sla --month 2026-10 --service reference-app --format pdf --out october.pdf
tidegauge report sla --month 2026-10 --format csv --out sla/
"""
_FormatName = Annotated[str, typer.Option("--format", help="html, pdf, md, csv or json.")]
_Out = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write there (a folder: under a name of its own); else to stdout.")
]


def mount(app: typer.Typer) -> None:
    """Add the reports."""
    group = typer.Typer(cls=ServiceOrCommand, help=_GROUP_HELP)
    group.command("show", help=_CAPACITY_HELP)(report_capacity)
    group.command("sla", help=_SLA_HELP)(report_sla)
    app.add_typer(group, name="report")


def report_capacity(
    service: edge.ServiceName,
    horizon: Annotated[str, typer.Option(help="How many days ahead: 30d, 90d, at most 366d.")] = "90d",
    form: _FormatName = "md",
    out: _Out = None,
    as_of: Annotated[str | None, typer.Option(metavar="T", help="As it would have been then (ISO 8601).")] = None,
) -> None:
    """Answer `tidegauge report SERVICE`."""
    from forecaster.answers import parse_instant
    from forecaster.report.formats import parse_format
    from forecaster.report.requests import ReportRequest, parse_horizon, report_of

    with edge.told():
        asked = ReportRequest(
            kind="capacity",
            format=edge.named("--format", parse_format, form),
            horizon=edge.named("--horizon", parse_horizon, horizon),
            as_of=edge.named("--as-of", parse_instant, as_of) if as_of else None,
        )
        catalog, settings = edge.configuration()
        known = catalog.service(service)
        with edge.world(settings) as world:
            _write([report_of(world.client, known, asked, clock=world.clock, settings=settings)], asked.format, out)


def report_sla(
    month: Annotated[str, typer.Option(help="A month that has begun, such as 2026-10.")],
    service: Annotated[str | None, typer.Option(help="A service of tidegauge.yaml; all when absent.")] = None,
    form: _FormatName = "md",
    out: _Out = None,
) -> None:
    """Answer `tidegauge report sla`."""
    from forecaster.report.formats import parse_format
    from forecaster.report.requests import ReportRequest, report_of
    from forecaster.report.sla_inputs import parse_month

    with edge.told():
        asked = ReportRequest(
            kind="sla",
            format=edge.named("--format", parse_format, form),
            month=edge.named("--month", parse_month, month),
        )
        catalog, settings = edge.configuration()
        services = [catalog.service(service)] if service else list(catalog.services.values())
        with edge.world(settings) as world:
            made = [report_of(world.client, one, asked, clock=world.clock, settings=settings) for one in services]
            _write(made, asked.format, out)


def _write(reports: list[Rendered], form: Format, out: Path | None) -> None:
    """Write the reports: to a file, into a folder, or to stdout (where only text of one report makes sense)."""
    if out is None:
        if len(reports) != 1 or (form == "pdf" and sys.stdout.isatty()):
            what = f"{len(reports)} reports" if len(reports) != 1 else "PDF for a terminal"
            raise ValueError(f"--out: expected a file or a folder for {what}, got none")
        sys.stdout.buffer.write(reports[0].content)
        sys.stdout.buffer.flush()
        return
    if len(reports) != 1 and not out.is_dir():
        raise ValueError(f"--out: expected a folder that exists for {len(reports)} reports, got {str(out)!r}")
    for one in reports:
        path = out / one.name if out.is_dir() else out
        path.write_bytes(one.content)
        edge.complain(f"wrote {path} (inputs SHA-256 {one.digest})")
