"""The collector's commands: `tidegauge import`, and those of its parts. Heavy imports stay inside them."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from collector.alerts.commands import mount as mount_alerts
from collector.commands.backfill import mount as mount_backfill
from collector.commands.backup import mount as mount_backup
from collector.commands.config import mount as mount_config
from collector.commands.mark import mount as mount_marks
from collector.commands.schema import mount as mount_schema
from collector.commands.spool import mount as mount_spool
from collector.slo.commands import mount as mount_slo
from collector.terminal import config_path, fail, open_store

if TYPE_CHECKING:
    from collector.sources.files import ImportedSeries

_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def mount(app: typer.Typer) -> None:
    """Add the collector's commands to the command."""
    app.command("import")(import_file)
    mount_slo(app)
    mount_config(app)
    mount_alerts(app)
    mount_spool(app)
    mount_marks(app)
    mount_schema(app)
    mount_backup(app)
    mount_backfill(app)


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


def _warn_if_unknown(service: str) -> None:
    from collector.catalog import CatalogError, read_catalog

    try:
        read_catalog(config_path()).service(service)
    except CatalogError as error:
        typer.echo(f"warning: {error}", err=True)


def _instant(text: str) -> datetime:
    from collector.api.models import instant_of

    try:
        return instant_of(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--shift-to-end-at") from error


def _progress(done: int, total: int) -> None:
    typer.echo(f"{done} of {total} rows", err=True)
