"""`tidegauge schema`: the statements that the record's tables are made with, for those who run them themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from collector.terminal import fail


def mount(app: typer.Typer) -> None:
    """Add the command."""
    app.command("schema", epilog="Example:  tidegauge schema --cluster main > record.sql")(show_schema)


def show_schema(
    folders: Annotated[list[Path] | None, typer.Argument(help="Folders of migrations. [the collector's]")] = None,
    cluster: Annotated[str | None, typer.Option(metavar="NAME", help="For a ClickHouse cluster.")] = None,
    database: Annotated[str, typer.Option(help="The database.")] = "tidegauge",
    reader: Annotated[bool, typer.Option("--reader", help="The read-only role for the dashboard instead.")] = False,
) -> None:
    """Print the DDL of the record: for one store, or replicated and distributed over a cluster."""
    from collector.clickhouse import StoreError, settings_from_environment
    from collector.ddl import DdlError, statements_of
    from collector.migrations import migration_files, statements_for
    from collector.record.store import READER_ROLE, SCHEMA_FOLDER

    try:
        names = {"TIDEGAUGE_CLICKHOUSE_DATABASE": database, "TIDEGAUGE_CLICKHOUSE_CLUSTER": cluster or ""}
        settings_from_environment(names)  # refuses what is no identifier
        if reader:
            statements = statements_of(READER_ROLE.read_text(encoding="utf-8"), database=database)
        else:
            statements = []
            for folder in folders or [SCHEMA_FOLDER]:
                texts = [path.read_text(encoding="utf-8") for path in migration_files(folder)]
                for number, text in enumerate(texts, 1):
                    statements += statements_for(database, cluster, text, keys_from=texts[:number])
    except (StoreError, DdlError) as error:
        fail(str(error))
    for statement in statements:
        typer.echo(f"{statement};\n")
