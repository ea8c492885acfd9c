"""`tidegauge alerts list|ack|silence|silences|unsilence|deliveries|replay|enable`.

The collector reads acknowledgements and silences at its next evaluation, and the outbox all the time.
"""

from __future__ import annotations

import getpass
import json
import os
import time
import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from collector.terminal import data_folder, fail, open_store

if TYPE_CHECKING:
    from collector.alerts.outbox import Outbox

_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def mount(app: typer.Typer) -> None:
    """Add the group `alerts`."""
    alerts = typer.Typer(help="Alerts: what is wrong, who knows.", no_args_is_help=True)
    alerts.command("list")(alerts_list)
    alerts.command("ack")(alerts_ack)
    alerts.command("silence")(alerts_silence)
    alerts.command("silences")(alerts_silences)
    alerts.command("unsilence")(alerts_unsilence)
    alerts.command("deliveries")(alerts_deliveries)
    alerts.command("replay")(alerts_replay)
    alerts.command("enable")(alerts_enable)
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
        alerts = list(read_alerts(client, unresolved=not show_all).values())
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


def alerts_silences(as_json: _Json = False) -> None:
    """List the silences that have not ended."""
    from dataclasses import asdict

    from collector.alerts.store import read_silences
    from collector.clickhouse import StoreError
    from tidegauge.clock import clock_from_environment

    try:
        silences = read_silences(open_store(), now=clock_from_environment(os.environ).now())
    except StoreError as error:
        fail(str(error))
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in silences], default=str))
        return
    for each in silences:
        typer.echo(
            f"{each.silence_id}: {each.service}/{each.name} until {each.ends_at.isoformat()}, by {each.author}"
            + (f": {each.reason}" if each.reason else "")
        )
    if not silences:
        typer.echo("no silences")


def alerts_unsilence(silence_id: Annotated[str, typer.Argument(help="As `alerts silences` shows it.")]) -> None:
    """End a silence now: alerts under it that fire still are told at the next evaluation."""
    from dataclasses import replace

    from collector.alerts.store import read_silences, write_silence
    from collector.clickhouse import StoreError
    from tidegauge.clock import clock_from_environment

    now = clock_from_environment(os.environ).now()
    try:
        client = open_store()
        known = {each.silence_id: each for each in read_silences(client, now=now)}
        if silence_id not in known:
            fail(f"{silence_id}: expected a silence that has not ended; `tidegauge alerts silences` shows them")
        write_silence(client, replace(known[silence_id], ends_at=now), now=now)
    except StoreError as error:
        fail(str(error))
    typer.echo(f"{silence_id} has ended")


def alerts_deliveries(
    most: Annotated[int, typer.Option("--most", min=1, help="How many, newest first.")] = 20, as_json: _Json = False
) -> None:
    """Show what was sent to receivers, what waits, and what came back."""
    from dataclasses import asdict

    outbox = _outbox()
    deliveries = outbox.deliveries(most=most)
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in deliveries]))
        return
    for each in deliveries:
        answer = (
            "not tried yet" if each.last_detail is None else f"{each.last_status or 'no answer'} {each.last_detail}"
        )
        typer.echo(f"{each.state} {each.message_id} to {each.receiver}: {each.attempts} attempts; {answer.strip()}")
    for name in outbox.disabled():
        typer.echo(f"{name} is disabled: it answered 410; `tidegauge alerts enable {name}`")
    if not deliveries:
        typer.echo("nothing was sent yet")


def alerts_replay(message_id: Annotated[str, typer.Argument(help="As `alerts deliveries` shows it.")]) -> None:
    """Send a message again, with the id it had."""
    if not _outbox().replay(message_id, now=time.time()):
        fail(f"{message_id}: expected a message of the outbox; `tidegauge alerts deliveries` shows them")
    typer.echo(f"{message_id} is sent again")


def alerts_enable(receiver: Annotated[str, typer.Argument(help="Its name in tidegauge.yaml.")]) -> None:
    """Send to a receiver again that had answered 410."""
    if not _outbox().enable(receiver):
        fail(f"{receiver}: expected a receiver that is disabled")
    typer.echo(f"{receiver} is sent to again")


def _outbox() -> Outbox:
    from collector.alerts.outbox import OUTBOX_PATH, Outbox

    path = data_folder() / OUTBOX_PATH
    if not path.exists():
        fail(f"{path}: expected the outbox of a collector that has run (TIDEGAUGE_DATA)")
    return Outbox(path)


def _duration(text: str) -> timedelta:
    from collector.checked_yaml import CatalogError, read_root

    try:
        return read_root(f"for: {text}", name="--for").required("for").duration()
    except CatalogError as error:
        raise typer.BadParameter(str(error), param_hint="--for") from error
