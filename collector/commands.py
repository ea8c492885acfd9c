"""The collector's commands: `tidegauge import`, `tidegauge slo status|backtest`. Heavy imports stay inside them."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from collector.alerts.commands import mount as mount_alerts
from collector.schema_commands import mount as mount_schema
from collector.spool_commands import mount as mount_spool
from collector.terminal import config_path, fail, open_store

if TYPE_CHECKING:
    from collector.catalog import Service
    from collector.sources.files import ImportedSeries

_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def mount(app: typer.Typer) -> None:
    """Add the collector's commands to the command."""
    app.command("import")(import_file)
    slo = typer.Typer(help="Service level objectives.", no_args_is_help=True)
    slo.command("status")(slo_status)
    slo.command("backtest")(slo_backtest)
    app.add_typer(slo, name="slo")
    mount_alerts(app)
    mount_spool(app)
    mount_schema(app)


def import_file(
    file: Annotated[Path, typer.Argument(help="CSV with the header timestamp,value: requests in the interval.")],
    service: Annotated[str, typer.Option("--service", help="Whose demand it is.")],
    shift_to_end_at: Annotated[
        str | None,
        typer.Option("--shift-to-end-at", metavar="TIMESTAMP", help="Move the whole series so that it ends here."),
    ] = None,
    as_json: _Json = False,
) -> None:
    """Import a service's history from a file: any regular step, whole or not at all."""
    from collector.clickhouse import StoreError
    from collector.sources.files import ImportRefusedError, import_series, parse_csv, shifted_to_end_at
    from tidegauge.clock import clock_from_environment

    try:
        series = parse_csv(file)
        if shift_to_end_at is not None:
            series = shifted_to_end_at(series, _instant(shift_to_end_at))
        rows = import_series(
            open_store(),
            service,
            series,
            source=file.name,
            now=clock_from_environment(os.environ).now(),
            on_progress=_progress if len(series.frame) > 50_000 else None,
        )
    except (ImportRefusedError, StoreError) as error:
        fail(f"{file}: {error}")
    _warn_if_unknown(service)
    _print_import(file, service, series, rows, as_json=as_json)


def _print_import(file: Path, service: str, series: ImportedSeries, rows: int, *, as_json: bool) -> None:
    first = series.frame["ds"].iloc[0].isoformat()
    if as_json:
        document = {
            "file": str(file),
            "service": service,
            "step_seconds": int(series.step.total_seconds()),
            "rows": rows,
            "gaps": series.gaps,
            "missing_steps": series.missing_steps,
            "duplicates": series.duplicates,
            "from": first,
            "to": series.ends_at.isoformat(),
        }
        typer.echo(json.dumps(document))
        return
    typer.echo(
        f"imported {rows} rows of demand for {service}: step {series.step}, {first} to {series.ends_at.isoformat()},"
        f" {series.gaps} gaps ({series.missing_steps} steps missing), {series.duplicates} duplicates"
    )


def slo_status(
    service: Annotated[str | None, typer.Argument(help="A service of tidegauge.yaml; all when absent.")] = None,
    as_json: _Json = False,
) -> None:
    """Show how every SLO stands: SLI, budget left, burn rates, the classic rule."""
    from collector.catalog import CatalogError
    from collector.clickhouse import StoreError
    from collector.slo.report import slo_document, slo_lines
    from collector.slo.store import read_classic, read_slo_statuses
    from tidegauge.clock import clock_from_environment

    try:
        services, client, now = _services(service), open_store(), clock_from_environment(os.environ).now()
        documents = [
            slo_document(
                each.name,
                read_slo_statuses(client, each, now=now),
                read_classic(client, each.name, each.classic_rule, now=now) if each.classic_rule else [],
            )
            for each in services
        ]
    except (CatalogError, StoreError) as error:
        fail(str(error))
    if as_json:
        typer.echo(json.dumps(documents[0] if service is not None else documents))
        return
    for document in documents:
        typer.echo("\n".join(slo_lines(document)))


def slo_backtest(
    service: Annotated[str, typer.Argument(help="A service of tidegauge.yaml.")],
    days: Annotated[float, typer.Option("--days", min=0.01, max=90, help="How much history, up to now.")] = 7,
    name: Annotated[str | None, typer.Option("--slo", help="One SLO; all when absent.")] = None,
    significant: Annotated[
        float, typer.Option("--significant", min=0, max=1, help="Share of the budget that an incident spends.")
    ] = 0.02,
    as_json: _Json = False,
) -> None:
    """Replay the alert policy over the record: alerts, detection and reset time, precision, recall."""
    from collector.alerts.backtest import LOOKBACK, Minutes, backtest, backtest_document, backtest_lines
    from collector.catalog import CatalogError, read_catalog
    from collector.clickhouse import StoreError
    from collector.slo.store import read_slo_minutes
    from tidegauge.clock import clock_from_environment

    try:
        catalog, client = read_catalog(config_path()), open_store()
        watched = catalog.service(service)
        chosen = [slo for slo in watched.slos if name in (None, slo.name)]
        if not chosen:
            fail(f"{service}: expected one of the SLOs {', '.join(slo.name for slo in watched.slos) or '(none)'}")
        until = datetime.fromtimestamp(clock_from_environment(os.environ).now_seconds() // 60 * 60, UTC)
        since = datetime.fromtimestamp((until - timedelta(days=days)).timestamp() // 60 * 60, UTC)
        results = []
        for slo in chosen:
            columns = read_slo_minutes(client, service, slo, since=since - LOOKBACK, until=until)
            policy = catalog.alerts.policy
            results.append(
                backtest(watched, slo, Minutes(*columns), policy, since=since, until=until, significant=significant)
            )
    except (CatalogError, StoreError) as error:
        fail(str(error))
    if as_json:
        typer.echo(json.dumps([backtest_document(each) for each in results]))
        return
    for each in results:
        typer.echo("\n".join(backtest_lines(each)))


def _services(name: str | None) -> list[Service]:
    from collector.catalog import read_catalog

    catalog = read_catalog(config_path())
    return list(catalog.services.values()) if name is None else [catalog.service(name)]


def _warn_if_unknown(service: str) -> None:
    from collector.catalog import CatalogError, read_catalog

    try:
        read_catalog(config_path()).service(service)
    except CatalogError as error:
        typer.echo(f"warning: {error}", err=True)


def _instant(text: str) -> datetime:
    from collector.api_models import instant_of

    try:
        return instant_of(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--shift-to-end-at") from error


def _progress(done: int, total: int) -> None:
    typer.echo(f"{done} of {total} rows", err=True)
