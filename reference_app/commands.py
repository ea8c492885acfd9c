"""The reference app's commands: `tidegauge reference seed`. Heavy imports stay inside the functions."""

from __future__ import annotations

import typer


def mount(app: typer.Typer) -> None:
    """Add `reference` to the command."""
    reference = typer.Typer(help="The flight-booking API that Tidegauge proves itself on.", no_args_is_help=True)

    @reference.callback()
    def _group() -> None:
        """Keep `seed` a subcommand though it is the only one."""

    @reference.command()
    def seed(
        scale: float = typer.Option(0.01, help="1 is 100,000 flights and 50,000 users; at most 10."),
        random_seed: int = typer.Option(1, "--seed", help="The same seed makes the same timetable."),
        token_seed: str = typer.Option("", help="What demo tokens are derived from; the default is public."),
        database_url: str = typer.Option("", envvar="REFERENCE_APP_DATABASE_URL", help="The primary."),
    ) -> None:
        """Migrate the database and fill it if it is empty; extend the schedule to 60 days ahead."""
        import os

        import psycopg

        from reference_app.migrations import MigrationError
        from reference_app.prepare import SeedTerms, prepare, report
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
            applied, seeded = prepare(database_url or DEFAULT_DATABASE_URL, today=today, terms=terms)
        except (MigrationError, psycopg.Error) as error:
            typer.echo(f"the database could not be prepared: {error}", err=True)
            raise typer.Exit(1) from error
        typer.echo(report(applied, seeded, terms))

    app.add_typer(reference, name="reference")
