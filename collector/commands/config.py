"""`tidegauge config check|schema`: tidegauge.yaml judged, and described for editors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from collector.terminal import config_path, fail


def mount(app: typer.Typer) -> None:
    """Add the group `config`."""
    config = typer.Typer(help="The configuration file.", no_args_is_help=True)
    config.command("check")(config_check)
    config.command("schema")(config_schema)
    app.add_typer(config, name="config")


def config_check(
    file: Annotated[Path | None, typer.Argument(help="A file; TIDEGAUGE_CONFIG or tidegauge.yaml when absent.")] = None,
) -> None:
    """Check a configuration file: prints what is watched, or file, line, key, what was expected and what came.

    Example: tidegauge config check tidegauge.yaml
    """
    from collector.catalog import CatalogError, read_catalog

    path = file or config_path()
    try:
        catalog = read_catalog(path)
    except CatalogError as error:
        fail(str(error))
    slos = sum(len(service.slos) for service in catalog.services.values())
    typer.echo(f"{path}: services {len(catalog.services)}, SLOs {slos}, receivers {len(catalog.alerts.receivers)}")


def config_schema() -> None:
    """Print the JSON Schema of tidegauge.yaml.

    Example: tidegauge config schema > tidegauge.schema.json, and as the file's first line
    `# yaml-language-server: $schema=tidegauge.schema.json`
    """
    from collector.catalog.schema import config_schema as schema

    typer.echo(json.dumps(schema(), indent=2))
