"""`tidegauge mark deploy|incident|launch|maintenance|list`: what people know and the record cannot see."""

from __future__ import annotations

import json
import os
from datetime import datetime, timedelta
from typing import Annotated, Any

import typer

from collector.terminal import ask_collector, fail

KINDS = {
    "deploy": "A new version went out.",
    "incident": "Something was broken.",
    "launch": "People were told to come.",
    "maintenance": "Work that was announced.",
}
_Service = Annotated[str, typer.Option("--service", help="Whose.")]
_Text = Annotated[str, typer.Option("--text", help="What to show beside the graphs.")]
_Start = Annotated[str | None, typer.Option("--start", metavar="TIMESTAMP", help="ISO 8601 or epoch seconds; now.")]
_End = Annotated[str | None, typer.Option("--end", metavar="TIMESTAMP", help="The start, when absent.")]
_Masks = Annotated[bool, typer.Option("--masks-history", help="Forecasts do not learn from it.")]
_Excludes = Annotated[bool, typer.Option("--excludes-slo", help="Its requests count for no SLO.")]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def mount(app: typer.Typer) -> None:
    """Add the group `mark`."""
    mark = typer.Typer(help="Markers: deploys, incidents, launches, maintenance.", no_args_is_help=True)
    for kind, text in KINDS.items():
        example = f"Example: tidegauge mark {kind} --service shop --text 'release 7' --start 2026-11-22T10:00:00Z"
        mark.command(kind, help=f"{text} The same start and text again replaces it.", epilog=example)(_marking(kind))
    mark.command("list")(mark_list)
    app.add_typer(mark, name="mark")


def _marking(kind: str) -> Any:
    def mark(
        service: _Service,
        text: _Text = "",
        start: _Start = None,
        end: _End = None,
        masks_history: _Masks = False,
        excludes_slo: _Excludes = False,
        as_json: _Json = False,
    ) -> None:
        starts_at = _instant(start, "--start") if start is not None else _now()
        ends_at = _instant(end, "--end") if end is not None else starts_at
        if ends_at < starts_at:
            raise typer.BadParameter(f"expected an end at or after {starts_at.isoformat()}", param_hint="--end")
        if excludes_slo and ends_at == starts_at:
            raise typer.BadParameter("a span excludes SLO time, an instant does not", param_hint="--end")
        marker = {
            "service": service,
            "kind": kind,
            "starts_at": starts_at.isoformat(),
            "ends_at": ends_at.isoformat(),
            "text": text,
            "masks_history": masks_history,
            "excludes_slo": excludes_slo,
        }
        ask_collector("POST", "/v1/markers", json=marker)
        typer.echo(json.dumps(marker) if as_json else _line(marker))

    return mark


def mark_list(
    service: _Service,
    days: Annotated[float, typer.Option("--days", min=0.01, help="How far back; markers ahead are shown too.")] = 30,
    as_json: _Json = False,
) -> None:
    """Show a service's markers, by their start."""
    now = _now()
    span = {"from": (now - timedelta(days=days)).isoformat(), "to": (now + timedelta(days=366)).isoformat()}
    found = ask_collector("GET", "/v1/markers", params={"service": service, **span})["markers"]
    if as_json:
        typer.echo(json.dumps(found))
        return
    typer.echo("\n".join(_line(each) for each in found) or f"no markers of {service} in the last {days:g} days")


def _line(marker: dict[str, Any]) -> str:
    asks = [word for key, word in (("masks_history", "masks history"), ("excludes_slo", "excludes SLO")) if marker[key]]
    span = marker["starts_at"] + ("" if marker["ends_at"] == marker["starts_at"] else f" to {marker['ends_at']}")
    return f"{span} {marker['kind']}: {marker['text'] or '(no text)'}" + (f" [{', '.join(asks)}]" if asks else "")


def _now() -> datetime:
    from tidegauge.clock import clock_from_environment

    try:
        return clock_from_environment(os.environ).now()
    except ValueError as error:
        fail(str(error))


def _instant(text: str, option: str) -> datetime:
    from collector.api.models import instant_of

    try:
        return instant_of(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from error
