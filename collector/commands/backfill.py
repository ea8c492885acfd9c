"""`tidegauge backfill`: a Prometheus service's past into the record, with a bar; started again, it goes on."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from collector.terminal import config_path, data_folder, fail, open_store

if TYPE_CHECKING:
    from collector.sources.cardinality import CardinalityGuard


def mount(app: typer.Typer) -> None:
    """Add the command."""
    example = "Example: tidegauge backfill shop --days 30"
    app.command("backfill", epilog=example)(backfill_service)


def backfill_service(
    service: Annotated[str, typer.Argument(help="A service of tidegauge.yaml with the source prometheus.")],
    days: Annotated[float, typer.Option("--days", min=0.01, max=94, help="How far back.")] = 30,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Bring a service's past from Prometheus into the record. May be stopped and started again at any time."""
    from collector.catalog import CatalogError, read_catalog
    from collector.clickhouse import StoreError
    from collector.pulls import may_be_pulled_from, settings_of
    from collector.sources.backfill import Progress, backfill
    from collector.sources.prometheus import PrometheusError
    from tidegauge.clock import clock_from_environment

    try:
        source = read_catalog(config_path()).service(service).prometheus
        if source is None:
            fail(f"{service}: expected the source prometheus")
        settings, now = settings_of(service, source), clock_from_environment(os.environ).now()
        identity = hashlib.sha256(repr(settings).encode()).hexdigest()
        name = hashlib.sha256(service.encode()).hexdigest()[:16]
        folder = data_folder() / "backfill"
        progress = Progress(folder / f"{name}.json", identity)
        guard = _guard(folder, day=int(now.timestamp() // 86400))
        with _bar(f"back-fill of {service}") as on_progress:
            filled = backfill(
                open_store(),
                settings,
                since=now - timedelta(days=days),
                until=now - timedelta(seconds=2 * settings.step_seconds),
                live_from=may_be_pulled_from(now),
                progress=progress,
                guard=guard,
                on_progress=on_progress,
            )
    except (CatalogError, StoreError, PrometheusError, ValueError) as error:
        fail(str(error))
    if as_json:
        typer.echo(json.dumps({"service": service, **asdict(filled)}))
        return
    typer.echo(
        f"back-filled {filled.minutes} minutes of {service} with {filled.requests} requests from {filled.parts} parts;"
        f" {filled.skipped} parts were done before, {filled.gap_minutes} minutes were not scraped"
    )


def _guard(folder: Path, *, day: int) -> CardinalityGuard:
    """Return a guard that knows what the collector's knows now; the collector's own file is the collector's."""
    from collector.sources.cardinality import CardinalityGuard

    known, own = data_folder() / "cardinality.jsonl", folder / "cardinality.jsonl"
    folder.mkdir(parents=True, exist_ok=True)
    if known.exists():
        shutil.copyfile(known, own)
    return CardinalityGuard(own, day=lambda: day)


@contextmanager
def _bar(text: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on stderr; gives what moves it."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(text), BarColumn(), MofNCompleteColumn(), TextColumn("parts"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(text)
        yield lambda done, total: progress.update(task, completed=done, total=total)
