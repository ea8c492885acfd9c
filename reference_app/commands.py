"""The commands `tidegauge reference seed|migrate|jobs` and `tidegauge edge`. Heavy imports are the functions' own."""

from __future__ import annotations

from typing import Annotated

import typer


def mount(app: typer.Typer) -> None:
    """Add `reference` and `edge` to the command."""
    reference = typer.Typer(help="The flight-booking API that Tidegauge proves itself on.", no_args_is_help=True)
    reference.command()(seed)
    reference.command(name="migrate")(migrate_schema)
    reference.command(name="jobs")(show_jobs)
    app.add_typer(reference, name="reference")
    app.command()(edge)


def seed(
    scale: float = typer.Option(
        0.01, help="1 is 300 airports, 100,000 flights, 50,000 users and 200,000 bookings; at most 10."
    ),
    random_seed: int = typer.Option(1, "--seed", help="The same seed makes the same timetable."),
    token_seed: str = typer.Option("", help="What demo tokens are derived from; the default is public."),
    database_url: str = typer.Option("", envvar="REFERENCE_APP_DATABASE_URL", help="The primary."),
) -> None:
    """Migrate the database and fill it if it is empty, all or nothing; extend the schedule to 60 days ahead.

    Example: tidegauge reference seed --scale 1
    """
    import os

    import psycopg

    from reference_app.migrations import MigrationError
    from reference_app.prepare import SeedTerms, prepare, report
    from reference_app.seed.progress import seed_progress
    from reference_app.settings import DEFAULT_DATABASE_URL
    from reference_app.tokens import DEMO_TOKEN_SEED
    from tidegauge.clock import clock_from_environment

    try:
        terms = SeedTerms(scale, random_seed, token_seed or DEMO_TOKEN_SEED)
        today = clock_from_environment(os.environ).now().date()
    except ValueError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
    try:
        with seed_progress() as told:
            applied, seeded = prepare(database_url or DEFAULT_DATABASE_URL, today=today, terms=terms, told=told)
    except (MigrationError, psycopg.Error) as error:
        typer.echo(f"the database could not be prepared: {error}", err=True)
        raise typer.Exit(1) from error
    typer.echo(report(applied, seeded, terms))


def migrate_schema(
    to: int | None = typer.Option(None, help="This version, up or down; 0 takes everything back.", min=0),
    status: bool = typer.Option(False, "--status", help="Only say what is applied."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
    database_url: str = typer.Option("", envvar="REFERENCE_APP_DATABASE_URL", help="The primary."),
) -> None:
    """Bring the schema to a version: the newest unless named. Taking back a version loses what only it can hold.

    Examples: tidegauge reference migrate --status; tidegauge reference migrate --to 2
    """
    import os

    import psycopg

    from reference_app.migrations import MigrationError
    from reference_app.prepare import migrated, migration_report
    from reference_app.settings import DEFAULT_DATABASE_URL
    from tidegauge.clock import clock_from_environment

    try:
        today = clock_from_environment(os.environ).now().date()
    except ValueError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
    try:
        done = migrated(database_url or DEFAULT_DATABASE_URL, today=today, to=to, look_only=status)
    except (MigrationError, psycopg.Error) as error:
        typer.echo(f"the schema could not be migrated: {error}", err=True)
        raise typer.Exit(1) from error
    typer.echo(migration_report(done, as_json=as_json))


def show_jobs(
    order_anew: Annotated[
        list[int] | None, typer.Option(help="Have this job, given up, tried again; repeatable.")
    ] = None,
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
    database_url: str = typer.Option("", envvar="REFERENCE_APP_DATABASE_URL", help="The primary."),
) -> None:
    """Show which jobs wait and which were given up.

    Examples: tidegauge reference jobs; tidegauge reference jobs --json; tidegauge reference jobs --order-anew 17
    """
    import psycopg

    from reference_app.jobs.report import report_jobs
    from reference_app.settings import DEFAULT_DATABASE_URL

    url = database_url or DEFAULT_DATABASE_URL
    try:
        with psycopg.connect(url, autocommit=True, connect_timeout=10) as connection:
            found = report_jobs(connection, order_anew or [])
    except psycopg.Error as error:
        typer.echo(f"the jobs could not be read: {error}", err=True)
        raise typer.Exit(1) from error
    typer.echo(found.text(as_json=as_json))


def edge(
    origins: str = typer.Option("", help="Where the app is: a URL, or eu-west=URL,URL by region."),
    port: int = typer.Option(0, help="Port on loopback; 8001 if neither this nor the environment says."),
    forget_in: str = typer.Option("", help="Run no server: follow changes, forget in this cache folder of nginx."),
) -> None:
    """Run the edge tier: caches popular public answers per region, serves stale ones when the app fails.

    Settings are environment variables, REFERENCE_APP_EDGE_* and those of the app; see docs/configuration.md.

    Examples: tidegauge edge --origins http://127.0.0.1:8000 --port 8001;
    tidegauge edge --forget-in /var/cache/nginx/answers
    """
    import os

    from reference_app.edge.__main__ import main

    given = {"REFERENCE_APP_EDGE_ORIGINS": origins, "REFERENCE_APP_EDGE_PORT": str(port or "")}
    os.environ.update({name: value for name, value in given.items() if value})
    raise typer.Exit(main(["--forget-in", forget_in] if forget_in else []))
