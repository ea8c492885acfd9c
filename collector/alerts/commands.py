"""`tidegauge alerts list|ack|silence`. The collector reads acknowledgements and silences at its next evaluation."""

from __future__ import annotations

import getpass
import json
import os
import uuid
from datetime import timedelta
from typing import Annotated

import typer

from collector.terminal import fail, open_store

_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def mount(app: typer.Typer) -> None:
    """Add the group `alerts`."""
    alerts = typer.Typer(help="Alerts: what is wrong, who knows.", no_args_is_help=True)
    alerts.command("list")(alerts_list)
    alerts.command("ack")(alerts_ack)
    alerts.command("silence")(alerts_silence)
    app.add_typer(alerts, name="alerts")


def alerts_list(
    show_all: Annotated[bool, typer.Option("--all", help="Resolved alerts too.")] = False, as_json: _Json = False
) -> None:
    """List the alerts that are pending or firing."""
    from collector.alerts.report import alert_documents, alert_lines
    from collector.alerts.store import read_acknowledged, read_alerts, read_silences
    from collector.clickhouse import StoreError
    from tidegauge.clock import clock_from_environment

    try:
        client, now = open_store(), clock_from_environment(os.environ).now()
        alerts = [alert for alert in read_alerts(client).values() if show_all or alert.phase != "resolved"]
        documents = alert_documents(alerts, read_silences(client, now=now), read_acknowledged(client), now=now)
    except StoreError as error:
        fail(str(error))
    typer.echo(json.dumps(documents) if as_json else "\n".join(alert_lines(documents)))


def alerts_ack(
    alert_id: Annotated[str, typer.Argument(help="The alert, as `alerts list` shows it.")],
    by: Annotated[str, typer.Option("--by", help="Who works on it; by default the user.")] = "",
    note: Annotated[str, typer.Option("--note", help="What is known.")] = "",
) -> None:
    """Acknowledge an alert: this episode of it is not repeated any more."""
    from collector.alerts.store import read_alerts, write_acknowledgement
    from collector.clickhouse import StoreError
    from tidegauge.clock import clock_from_environment

    try:
        client = open_store()
        alert = read_alerts(client).get(alert_id)
        if alert is None or alert.phase == "resolved":
            fail(f"{alert_id}: expected an alert that is pending or firing; `tidegauge alerts list` shows them")
        author = by or getpass.getuser()
        write_acknowledgement(
            client, alert, author=author, note=note, now=clock_from_environment(os.environ).now()
        )  # fmt: skip
    except StoreError as error:
        fail(str(error))
    typer.echo(f"{alert.episode} is acknowledged by {author}")


def alerts_silence(
    service: Annotated[str, typer.Option("--service", help="A service; * and ? match.")],
    span: Annotated[str, typer.Option("--for", metavar="DURATION", help="How long from now: 30m, 2h, 1d.")],
    name: Annotated[str, typer.Option("--name", help="An alert's name; * and ? match.")] = "*",
    by: Annotated[str, typer.Option("--by", help="Who; by default the user.")] = "",
    reason: Annotated[str, typer.Option("--reason", help="Why.")] = "",
) -> None:
    """Tell nobody of matching alerts for a while; they go on being evaluated."""
    from collector.alerts.state import Silence
    from collector.alerts.store import write_silence
    from collector.clickhouse import StoreError
    from tidegauge.clock import clock_from_environment

    length = _duration(span)
    now = clock_from_environment(os.environ).now()
    silence = Silence(str(uuid.uuid4()), service, name, now, now + length, by or getpass.getuser(), reason)
    try:
        write_silence(open_store(), silence, now=now)
    except StoreError as error:
        fail(str(error))
    typer.echo(f"{service}/{name} is silenced until {silence.ends_at.isoformat()} ({silence.silence_id})")


def _duration(text: str) -> timedelta:
    from collector.checked_yaml import CatalogError, read_root

    try:
        return read_root(f"for: {text}", name="--for").required("for").duration()
    except CatalogError as error:
        raise typer.BadParameter(str(error), param_hint="--for") from error
