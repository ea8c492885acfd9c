"""`tidegauge plan` and `tidegauge scale status|history`: floors, why, and how they stand."""

from __future__ import annotations

from typing import Annotated

import typer

from forecaster.commands import edge

_PLAN_HELP = """Say what floor would be set now, and which ones over the next day, with reasons. Changes nothing.

\b
tidegauge plan reference-app
tidegauge plan reference-app --json
"""
_STATUS_HELP = """Say how a service's autoscaler and its forecaster stand.

\b
tidegauge scale status reference-app --json
"""
_HISTORY_HELP = """List past decisions about the floor, newest first.

\b
tidegauge scale history reference-app --since 24h --limit 50
"""


def mount(app: typer.Typer) -> None:
    """Add the commands about replicas."""
    app.command("plan", help=_PLAN_HELP)(plan)
    scale = typer.Typer(no_args_is_help=True, help="What was decided about replicas, and how they stand.")
    scale.command("status", help=_STATUS_HELP)(scale_status)
    scale.command("history", help=_HISTORY_HELP)(scale_history)
    app.add_typer(scale, name="scale")


def plan(service: edge.ServiceName, as_json: edge.AsJson = False) -> None:
    """Answer `tidegauge plan`."""
    from forecaster.scaling.plan import decide
    from forecaster.screen import show_decision
    from forecaster.shapes import decision_json
    from forecaster.tick import Memory, load, look, scaling_of

    with edge.told():
        catalog, settings = edge.configuration()
        known = catalog.service(service)
        scaling_of(known)
        with edge.world(settings) as world:
            memory = Memory()
            load(world, known, memory)
            decision = decide(look(world, known, memory))
    if as_json:
        edge.print_json(decision_json(decision))
    else:
        show_decision(edge.console(), decision)


def scale_status(service: edge.ServiceName, as_json: edge.AsJson = False) -> None:
    """Answer `tidegauge scale status`."""
    from forecaster.overview import overview_json
    from forecaster.screen import show_status

    with edge.told():
        catalog, settings = edge.configuration()
        known = catalog.service(service)
        with edge.world(settings) as world:
            status = overview_json(world, known)
    if as_json:
        edge.print_json(status)
    else:
        show_status(edge.console(), status)


def scale_history(
    service: edge.ServiceName,
    since: Annotated[str, typer.Option(help="How far back, such as 24h or 7d.")] = "24h",
    limit: Annotated[int, typer.Option(help="At most so many.", min=1)] = 50,
    as_json: edge.AsJson = False,
) -> None:
    """Answer `tidegauge scale history`."""
    from forecaster.screen import show_decisions
    from forecaster.settings import parse_span
    from forecaster.shapes import stored_decision_json
    from forecaster.store import read_decisions

    with edge.told():
        span = edge.named("--since", parse_span, since)
        catalog, settings = edge.configuration()
        known = catalog.service(service)
        with edge.world(settings) as world:
            found = read_decisions(world.client, known.name, since=world.clock.now() - span, limit=limit)
    if as_json:
        edge.print_json({"service": known.name, "decisions": [stored_decision_json(stored) for stored in found]})
    else:
        show_decisions(edge.console(), known.name, found)
