"""What the collector's commands share: the store of the environment, the configuration file, the way out."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import typer

if TYPE_CHECKING:
    from collector.clickhouse import Client


def config_path() -> Path:
    """Return where tidegauge.yaml is."""
    return Path(os.environ.get("TIDEGAUGE_CONFIG") or "tidegauge.yaml")


def data_folder() -> Path:
    """Return where the collector keeps its state."""
    return Path(os.environ.get("TIDEGAUGE_DATA") or ".tidegauge")


def open_store() -> Client:
    """Return a client whose tables are up to date. Raises StoreError."""
    from collector.clickhouse import connect, migrate, settings_from_environment
    from collector.record.store import SCHEMA_FOLDER, SCHEMA_OWNER

    client = connect(settings_from_environment(os.environ))
    migrate(client, SCHEMA_FOLDER, owner=SCHEMA_OWNER)
    return client


def collector_url() -> str:
    """Return where the collector is."""
    port = os.environ.get("TIDEGAUGE_COLLECTOR_PORT") or "9400"
    return os.environ.get("TIDEGAUGE_COLLECTOR_URL") or f"http://127.0.0.1:{port}"


def ask_collector(method: str, path: str, **request: Any) -> Any:
    """Send a request to the collector and return its JSON; says why and exits with 1 when it is not answered so."""
    import httpx

    from collector.security import SecuritySettingsError, authorization, role_for

    url, role = collector_url(), role_for(method, path)
    try:
        headers = authorization(os.environ, role) if role else {}
    except SecuritySettingsError as error:
        fail(str(error))
    try:
        answer = httpx.request(method, url + path, timeout=30, headers=headers, **request)
        document = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        fail(f"the collector at {url} could not be asked: {error}")
    if answer.status_code != 200:
        fail(f"the collector at {url} answered {answer.status_code}: {document}")
    return document


def fail(message: str) -> NoReturn:
    """Say why on stderr and exit with 1."""
    sys.stderr.write(f"{message}\n")
    raise typer.Exit(1)
