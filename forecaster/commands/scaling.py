"""`tidegauge plan` and `tidegauge scale status|history|explain|saved`: floors, why, and what became of them."""

from __future__ import annotations

from typing import Annotated

import typer

from forecaster.commands import edge, orders

_PLAN_HELP = """Say what floor would be set now, and which ones over the next day, with reasons. Changes nothing.

\b
tidegauge plan reference-app
tidegauge plan reference-app --json
"""
_STATUS_HELP = """Say how a service's autoscaler and its forecaster stand.

\b
tidegauge scale status reference-app --json
"""
_HISTORY_HELP = """List past decisions about the floor, newest first, and what came of them; and releases by hand.

\b
tidegauge scale history reference-app --since 24h --limit 50
"""
_EXPLAIN_HELP = """Tell the whole story of one decision: forecast, capacity, risk, every guardrail, result and outcome.

\b
tidegauge scale explain 4f1c2a9e
"""
_SAVED_HELP = """Compare what was with what would have been without us, week by week: time short of replicas, and cost.

\b
tidegauge scale saved reference-app --weeks 4
"""


def mount(app: typer.Typer) -> None:
    """Add the commands about replicas."""
    app.command("plan", help=_PLAN_HELP)(plan)
    scale = typer.Typer(no_args_is_help=True, help="What was decided about replicas, and orders about them.")
    scale.command("status", help=_STATUS_HELP)(scale_status)
    scale.command("history", help=_HISTORY_HELP)(scale_history)
    scale.command("explain", help=_EXPLAIN_HELP)(scale_explain)
    scale.command("saved", help=_SAVED_HELP)(scale_saved)
    orders.mount(scale)
    app.add_typer(scale, name="scale")


def plan(service: edge.ServiceName, as_json: edge.AsJson = False) -> None:
    """Answer `tidegauge plan`."""
    from forecaster.api.shapes import decision_json
    from forecaster.loop.tick import Memory, load, look, scaling_of
    from forecaster.scaling.plan import decide
    from forecaster.screen import show_decision

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
    service: edge.OneService = None,
    since: Annotated[str, typer.Option(help="How far back, such as 24h or 7d.")] = "24h",
    limit: Annotated[int, typer.Option(help="At most so many of each service.", min=1)] = 50,
    as_json: edge.AsJson = False,
) -> None:
    """Answer `tidegauge scale history`."""
    from forecaster.api.shapes import patch_json, stored_decision_json
    from forecaster.screen import show_decisions, show_releases
    from forecaster.settings import parse_span
    from forecaster.store import read_decisions
    from forecaster.store.outcomes import read_outcomes, read_patches

    with edge.told():
        span = edge.named("--since", parse_span, since)
        catalog, settings = edge.configuration()
        names = [catalog.service(service).name] if service is not None else sorted(catalog.services)
        with edge.world(settings) as world:
            begin = world.clock.now() - span
            found = {name: read_decisions(world.client, name, since=begin, limit=limit) for name in names}
            outcomes = {name: read_outcomes(world.client, name, since=begin) for name in names}
            patches = {name: read_patches(world.client, name, since=begin, limit=limit) for name in names}
    releases = {name: [one for one in patches[name] if one.action == "release"] for name in names}
    answers = [
        {
            "service": name,
            "decisions": [stored_decision_json(one, outcomes[name].get(one.id)) for one in found[name]],
            "releases": [patch_json(one) for one in releases[name]],
        }
        for name in names
    ]
    if as_json:
        edge.print_json(answers[0] if service is not None else {"services": answers})
        return
    for name in names:
        show_decisions(edge.console(), name, found[name], outcomes[name])
        show_releases(edge.console(), releases[name])


def scale_explain(
    decision: Annotated[str, typer.Argument(metavar="ID", help="A decision's id, or how it begins.")],
    as_json: edge.AsJson = False,
) -> None:
    """Answer `tidegauge scale explain`; exit 1 when there is no such decision."""
    from forecaster.explain import explained_json, read_story, sentences_of

    with edge.told():
        _, settings = edge.configuration()
        with edge.world(settings) as world:
            story = read_story(world.client, decision)
    if story is None:
        edge.complain(f"no decision {decision!r} is stored")
        raise typer.Exit(1)
    if as_json:
        edge.print_json(explained_json(story))
        return
    for sentence in sentences_of(story):
        edge.console().print(sentence)


def scale_saved(
    service: edge.OneService = None,
    weeks: Annotated[int, typer.Option(help="How many weeks back.", min=1, max=520)] = 12,
    as_json: edge.AsJson = False,
) -> None:
    """Answer `tidegauge scale saved`."""
    from datetime import timedelta

    from forecaster.savings import read_weeks, weeks_json
    from forecaster.screen import show_weeks

    with edge.told():
        catalog, settings = edge.configuration()
        chosen = [catalog.service(service)] if service is not None else list(catalog.services.values())
        with edge.world(settings) as world:
            now = world.clock.now()
            found = [
                read_weeks(world.client, one.name, since=now - timedelta(weeks=weeks), until=now) for one in chosen
            ]
    answers = [weeks_json(one, known) for one, known in zip(chosen, found, strict=True)]
    if as_json:
        edge.print_json(answers[0] if service is not None else {"services": answers})
        return
    for answer in answers:
        show_weeks(edge.console(), answer)
