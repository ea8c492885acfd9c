"""`tidegauge slo status|history|backtest|export|import`. Heavy imports stay inside the commands."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from collector.terminal import config_path, fail, open_store

if TYPE_CHECKING:
    from collector.alerts.backtest import Minutes
    from collector.alerts.settings import AlertPolicy
    from collector.catalog import Catalog, Service, Slo
    from collector.clickhouse import Client

_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_Service = Annotated[str, typer.Argument(help="A service of tidegauge.yaml.")]
_One = Annotated[str | None, typer.Option("--slo", help="One SLO; all when absent.")]


def mount(app: typer.Typer) -> None:
    """Add the group `slo`."""
    slo = typer.Typer(help="Service level objectives.", no_args_is_help=True)
    slo.command("status")(slo_status)
    slo.command("history")(slo_history)
    slo.command("backtest")(slo_backtest)
    slo.command("export")(slo_export)
    slo.command("import")(slo_import)
    app.add_typer(slo, name="slo")


def slo_status(
    service: Annotated[str | None, typer.Argument(help="A service of tidegauge.yaml; all when absent.")] = None,
    as_json: _Json = False,
) -> None:
    """Show how every SLO stands: SLI, budget left, burn rates, coverage, when the budget is spent, the classic rule.

    Example: tidegauge slo status reference-app --json | jq '.slos[].budget_left'
    """
    from collector.catalog import CatalogError
    from collector.clickhouse import StoreError
    from collector.slo.report import slo_document, slo_lines
    from collector.slo.store import read_classic, read_slo_statuses

    try:
        catalog, client, now = _catalog(), open_store(), _now()
        services = list(catalog.services.values()) if service is None else [catalog.service(service)]
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


def slo_history(
    service: _Service,
    days: Annotated[float, typer.Option("--days", min=0.01, max=365, help="How much history, up to now.")] = 30,
    step: Annotated[str, typer.Option("--step", metavar="DURATION", help="A point each, like 1h or 1d.")] = "1d",
    name: _One = None,
    as_json: _Json = False,
) -> None:
    """Show the error budget over time: what was left of it at the end of each step.

    Example: tidegauge slo history reference-app --slo availability --days 7 --step 6h
    """
    from collector.catalog import CatalogError
    from collector.clickhouse import StoreError
    from collector.slo.history import history_document, history_lines, read_budget_history

    length = _duration(step)
    try:
        _, slos = _chosen(_catalog(), service, name)
        client, until = open_store(), _minute(_now())
        since = until - timedelta(days=days)
        histories = [
            (slo, read_budget_history(client, service, slo, since=since, until=until, step=length)) for slo in slos
        ]
    except (CatalogError, StoreError) as error:
        fail(str(error))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--step") from error
    if as_json:
        typer.echo(json.dumps([history_document(slo, points) for slo, points in histories]))
        return
    for slo, points in histories:
        typer.echo("\n".join(history_lines(slo, points)))


def slo_backtest(
    service: _Service,
    days: Annotated[float, typer.Option("--days", min=0.01, max=90, help="How much history, up to now.")] = 7,
    name: _One = None,
    policy: Annotated[
        Path | None,
        typer.Option("--policy", help="YAML with keys of `alerts` (burn_pairs, least_bad, ..) to try instead."),
    ] = None,
    significant: Annotated[
        float, typer.Option("--significant", min=0, max=1, help="Share of the budget that an incident spends.")
    ] = 0.02,
    as_json: _Json = False,
) -> None:
    """Replay an alert policy over the record: alerts, detection and reset time, precision, recall.

    Example: tidegauge slo backtest reference-app --days 30 --policy stricter.yaml
    """
    from collector.alerts.backtest import backtest, backtest_document, backtest_lines
    from collector.catalog import CatalogError
    from collector.clickhouse import StoreError

    try:
        catalog = _catalog()
        watched, slos = _chosen(catalog, service, name)
        tried = catalog.alerts.policy if policy is None else _policy(policy)
        client, until = open_store(), _minute(_now())
        since = _minute(until - timedelta(days=days))
        results = [
            backtest(
                watched,
                slo,
                _read_minutes(client, service, slo, since=since - max(tried.windows), until=until),
                tried,
                since=since,
                until=until,
                significant=significant,
            )
            for slo in slos
        ]
    except (CatalogError, StoreError) as error:
        fail(str(error))
    if as_json:
        typer.echo(json.dumps([backtest_document(each) for each in results]))
        return
    for each in results:
        typer.echo("\n".join(backtest_lines(each)))


def slo_export(service: _Service, name: _One = None) -> None:
    """Print a service's SLOs as OpenSLO v1 documents; what they cannot say is said on stderr.

    Example: tidegauge slo export reference-app > slos.yaml
    """
    import yaml

    from collector.catalog import CatalogError
    from collector.slo.openslo import exported

    try:
        catalog = _catalog()
        watched, slos = _chosen(catalog, service, name)
        documents, notes = exported(watched, slos)
    except CatalogError as error:
        fail(str(error))
    for note in notes:
        typer.echo(note, err=True)
    typer.echo(yaml.safe_dump_all(documents, sort_keys=False), nl=False)


def slo_import(
    file: Annotated[Path, typer.Argument(help="OpenSLO v1 documents.")],
    measure: Annotated[
        str | None,
        typer.Option("--measure", help="What SLOs of other sources measure: availability or latency:500ms."),
    ] = None,
) -> None:
    """Print OpenSLO v1 documents as SLOs for tidegauge.yaml; what was left out is said on stderr.

    Example: tidegauge slo import slos.yaml --measure availability
    """
    import yaml

    from collector.catalog import CatalogError
    from collector.slo.openslo_import import imported

    try:
        services, notes = imported(file.read_text(encoding="utf-8"), name=str(file), measure=measure)
    except CatalogError as error:
        fail(str(error))
    except (OSError, UnicodeDecodeError) as error:
        fail(f"{file}: expected a readable file, got: {error}")
    for note in notes:
        typer.echo(note, err=True)
    document = {"services": {service: {"slos": slos} for service, slos in services.items()}}
    typer.echo(yaml.safe_dump(document, sort_keys=False), nl=False)


def _read_minutes(client: Client, service: str, slo: Slo, *, since: datetime, until: datetime) -> Minutes:
    from collector.alerts.backtest import Minutes
    from collector.slo.minutes import read_recorded_starts, read_slo_minutes
    from collector.slo.store import read_exclusions

    exclusions = read_exclusions(client, service, since=since, until=until)
    starts, valid, good = read_slo_minutes(client, service, slo, since=since, until=until, exclusions=exclusions)
    return Minutes(starts, valid, good, recorded=read_recorded_starts(client, service, since=since, until=until))


def _policy(path: Path) -> AlertPolicy:
    from collector.alerts.settings import parse_policy
    from collector.catalog import CatalogError

    try:
        return parse_policy(path.read_text(encoding="utf-8"), name=str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise CatalogError(f"{path}: expected a readable file, got: {error}") from error


def _catalog() -> Catalog:
    from collector.catalog import read_catalog

    return read_catalog(config_path())


def _chosen(catalog: Catalog, service: str, name: str | None) -> tuple[Service, list[Slo]]:
    watched = catalog.service(service)
    chosen = [slo for slo in watched.slos if name in (None, slo.name)]
    if not chosen:
        fail(f"{service}: expected one of the SLOs {', '.join(slo.name for slo in watched.slos) or '(none)'}")
    return watched, chosen


def _now() -> datetime:
    from tidegauge.clock import clock_from_environment

    return clock_from_environment(os.environ).now()


def _minute(instant: datetime) -> datetime:
    return datetime.fromtimestamp(instant.timestamp() // 60 * 60, UTC)


def _duration(text: str) -> timedelta:
    from collector.checked_yaml import CatalogError, read_root

    try:
        return read_root(f"step: {text}", name="--step").required("step").duration()
    except CatalogError as error:
        raise typer.BadParameter(str(error), param_hint="--step") from error
