"""`tidegauge scale pause|resume|release|mode|apply`: orders, given to the running forecaster.

Where no forecaster listens, pause, resume, mode and release are carried out here: the file of orders is written in
TIDEGAUGE_DATA, and obeyed by the forecaster that is started on it. apply needs the one that leads.
"""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Callable
from typing import Annotated, Any

import typer

from forecaster.commands import edge

_PAUSE_HELP = """Stop all changes of a service's floor, or of every service's, until it is resumed. Floors stay.

Works while ClickHouse is down, and outlives a restart.

\b
tidegauge scale pause --reason "load test until six"
tidegauge scale pause reference-app --reason "incident 42"
"""
_RESUME_HELP = """End a pause. That of one service and that of all are two: each is ended as it was begun.

\b
tidegauge scale resume reference-app
"""
_RELEASE_HELP = """Give the operator's own floor back, and pause the service so that it stays so.

\b
tidegauge scale release reference-app --reason "moving to another cluster"
"""
_MODE_HELP = """Set a service's mode from now on, whatever tidegauge.yaml says; `configured` goes back to that.

act is refused without a passed `tidegauge backtest policy SERVICE`, unless forced, which is recorded.

\b
tidegauge scale mode reference-app recommend
tidegauge scale mode reference-app act --reason "a month of recommendations was right"
"""
_APPLY_HELP = """Decide once, now, and carry it out: by hand what mode recommend recommends.

Refused in mode observe and without a passed backtest, unless forced, which is recorded; never against a pause.

\b
tidegauge scale apply reference-app --reason "the peak is early today"
"""
Reason = Annotated[str, typer.Option("--reason", help="Why; it is kept in the audit.")]
Who = Annotated[str | None, typer.Option("--who", help="Who orders it; you, when not given.")]
Force = Annotated[bool, typer.Option("--force", help="Without a passed backtest, or against the mode: is recorded.")]
_TIMEOUT_SECONDS = 60.0


def mount(scale: typer.Typer) -> None:
    """Add the orders to `tidegauge scale`."""
    scale.command("pause", help=_PAUSE_HELP)(pause)
    scale.command("resume", help=_RESUME_HELP)(resume)
    scale.command("release", help=_RELEASE_HELP)(release)
    scale.command("mode", help=_MODE_HELP)(mode)
    scale.command("apply", help=_APPLY_HELP)(apply)


def pause(reason: Reason, service: edge.OneService = None, who: Who = None, as_json: edge.AsJson = False) -> None:
    """Answer `tidegauge scale pause`."""
    _pause_or_resume("pause", service, reason=reason, who=who, as_json=as_json)


def resume(
    service: edge.OneService = None, reason: Reason = "resumed", who: Who = None, as_json: edge.AsJson = False
) -> None:
    """Answer `tidegauge scale resume`."""
    _pause_or_resume("resume", service, reason=reason, who=who, as_json=as_json)


def _pause_or_resume(verb: str, service: str | None, *, reason: str, who: str | None, as_json: bool) -> None:
    from forecaster import control
    from forecaster.api.shapes import order_json

    body = {**_body(who, reason), "service": service}

    def here() -> dict[str, Any]:
        give = control.pause if verb == "pause" else control.resume
        return {"order": order_json(give(_orders(), control.scope_of(service), _asked(body)))}

    with edge.told():
        if service is not None:
            edge.configuration()[0].service(service)
        answer = _ask(f"/v1/{verb}", body, here)
    past = "paused: no floor is changed" if verb == "pause" else "resumed"
    _tell(answer, f"{service or 'all services'} {past}", as_json=as_json)


def release(
    service: edge.ServiceName, reason: Reason = "released", who: Who = None, as_json: edge.AsJson = False
) -> None:
    """Answer `tidegauge scale release`."""
    body = _body(who, reason)

    def here() -> dict[str, Any]:
        return _release_here(service, body)

    with edge.told():
        edge.scaled(service)
        answer = _ask(f"/v1/services/{service}/release", body, here)
    patch = answer["patch"]
    _tell(
        answer,
        f"{service} has the operator's floor, {patch['floor_after']} (before: {patch['floor_before']}), and is paused",
        as_json=as_json,
    )


def _release_here(service: str, body: dict[str, Any]) -> dict[str, Any]:
    """Release without a forecaster. The row of it goes to the store, or waits in the journal for a forecaster."""
    from forecaster import control
    from forecaster.actuators.contract import ActuatorUnavailable, FloorRefused
    from forecaster.api.shapes import patch_json
    from forecaster.loop.journal import FOLDER, Journal
    from forecaster.loop.world import Memory

    catalog, settings = edge.configuration()
    folder = settings.data / FOLDER
    journal = Journal(folder)
    with edge.actuator(settings) as actuator, edge.world_if_any(settings) as world:
        try:
            patch = control.release(
                actuator,
                _orders(),
                catalog.service(service),
                _asked(body),
                memory=Memory(),
                journal=journal,
                world=world,
            )
        except (ActuatorUnavailable, FloorRefused) as error:
            edge.complain(f"{service} is paused, but its floor is as it was: {error}")
            raise typer.Exit(1) from None
        finally:
            if journal.left(service):
                edge.complain(f"the audit row waits in {folder.resolve()}, for the next forecaster on it")
    return {"patch": patch_json(patch)}


def mode(
    service: edge.ServiceName,
    to: Annotated[str, typer.Argument(metavar="MODE", help="observe, recommend, act, or configured.")],
    reason: Reason = "no reason given",
    force: Force = False,
    who: Who = None,
    as_json: edge.AsJson = False,
) -> None:
    """Answer `tidegauge scale mode`."""
    from forecaster import control
    from forecaster.api.shapes import order_json

    body = {**_body(who, reason), "force": force, "mode": to}

    def here() -> dict[str, Any]:
        catalog, settings = edge.configuration()
        with edge.world(settings) as world:
            order = control.set_mode(world, _orders(), catalog.service(service), to, _asked(body))
        return {"order": order_json(order)}

    with edge.told():
        edge.scaled(service)
        answer = _ask(f"/v1/services/{service}/mode", body, here)
    _tell(answer, f"{service} is in mode {to}{' (forced)' if force else ''}", as_json=as_json)


def apply(
    service: edge.ServiceName,
    reason: Reason = "by hand",
    force: Force = False,
    who: Who = None,
    as_json: edge.AsJson = False,
) -> None:
    """Answer `tidegauge scale apply`; exit 1 when there was a change to make and it was not made."""
    with edge.told():
        edge.scaled(service)
        body = {**_body(who, reason), "force": force}
        answer = _ask(f"/v1/services/{service}/apply", body, None)
    change = f"floor {answer['floor_before']} -> {answer['floor_after']}"
    unchanged = answer["floor_before"] == answer["floor_after"]
    outcome = "nothing to change" if unchanged else "applied" if answer["applied"] else "not applied"
    lines = [f"{service}: {outcome}, {change} (decision {answer['id']})", *(f"  - {why}" for why in answer["reasons"])]
    _tell(answer, "\n".join(lines), as_json=as_json)
    if answer["error"]:
        edge.complain(answer["error"])
    if not unchanged and not answer["applied"]:
        raise typer.Exit(1)


def _ask(path: str, body: dict[str, Any], here: Callable[[], dict[str, Any]] | None) -> dict[str, Any]:
    """Return the forecaster's answer, or that of `here` when nobody listens. Raises typer.Exit for a refusal."""
    import httpx

    from collector.security import authorization

    url = edge.settings().forecaster_url
    headers = authorization(os.environ, "admin")
    try:
        answer = httpx.post(f"{url}{path}", json=body, headers=headers, timeout=_TIMEOUT_SECONDS)
    except httpx.ConnectError:
        if here is None:
            edge.complain(f"no forecaster listens at {url}: start it, it is the one that acts")
            raise typer.Exit(1) from None
        edge.complain(f"no forecaster listens at {url}: asked of the files in {edge.settings().data.resolve()}")
        return here()
    except httpx.HTTPError as error:
        edge.complain(f"the forecaster at {url}: {error or type(error).__name__}; whether it took the order is unknown")
        raise typer.Exit(1) from None
    if answer.is_success:
        found: dict[str, Any] = answer.json()
        return found
    edge.complain(_refusal(answer))
    raise typer.Exit(2 if answer.status_code in (400, 404, 422) else 1)


def _refusal(answer: Any) -> str:
    try:
        body = answer.json()
        return str(body.get("error") or body)
    except ValueError:
        return f"answered {answer.status_code}: {answer.text[:200]}"


def _orders() -> Any:
    from datetime import UTC, datetime

    from forecaster.orders import Orders

    return Orders(edge.settings().data, now=lambda: datetime.now(UTC))


def _asked(body: dict[str, Any]) -> Any:
    from forecaster.control import Asked

    return Asked(body["who"], body["reason"], bool(body.get("force")))


def _body(who: str | None, reason: str) -> dict[str, Any]:
    return {"who": who or _myself(), "reason": reason}


def _myself() -> str:
    try:
        name = getpass.getuser()
    except (OSError, KeyError):  # a user without a name, as in many containers
        name = f"uid {os.getuid()}"
    return f"{name}@{socket.gethostname()}"


def _tell(answer: dict[str, Any], text: str, *, as_json: bool) -> None:
    if as_json:
        edge.print_json(answer)
    else:
        typer.echo(text)
