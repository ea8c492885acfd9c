"""`tidegauge backup DIR` and `tidegauge restore DIR`: the record of a data folder, whole or not at all."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from collector.terminal import data_folder, fail

if TYPE_CHECKING:
    from collector.clickhouse import Client

READY_WITHIN_SECONDS = 60.0
_DESTINATION = re.compile(r"(Disk|File|S3|AzureBlobStorage)\([^;]*\)", re.DOTALL)
_Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The backup.")]
_Destination = Annotated[
    str | None,
    typer.Option("--clickhouse", metavar="DESTINATION", help="Of a ClickHouse of your own: Disk('backups', 'a.zip')."),
]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def mount(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("backup", epilog="Example:  tidegauge backup /backups/2026-11-22")(backup)
    app.command("restore", epilog="Example:  TIDEGAUGE_DATA=/var/lib/new tidegauge restore /backups/2026-11-22")(
        restore
    )


def backup(folder: _Folder, destination: _Destination = None, as_json: _Json = False) -> None:
    """Copy the record of TIDEGAUGE_DATA to a new folder: store, spool, outbox. The stack must be stopped."""
    from collector.backup import BackupError, held, make_backup
    from collector.clickhouse import StoreError

    data, created_at = data_folder(), datetime.now(UTC).isoformat()
    try:
        with held(data):
            rows, statement = _of_server(destination) if destination else (count_rows(data), None)
            manifest = make_backup(
                data, folder, created_at=created_at, rows=rows, statement=statement, on_progress=_progress
            )
    except (BackupError, StoreError, OSError) as error:
        fail(f"no backup was made: {error}")
    _tell(folder, manifest.rows, len(manifest.files), as_json=as_json)


def restore(folder: _Folder, as_json: _Json = False) -> None:
    """Bring a backup back into TIDEGAUGE_DATA, where no record may be yet. The stack must be stopped."""
    from collector.backup import BackupError, read_manifest, restore_backup
    from collector.clickhouse import StoreError

    try:
        manifest = read_manifest(folder)
        if manifest.statement is not None:
            _restore_server(manifest.statement, manifest.rows)
        fewer = restore_backup(folder, data_folder(), count_rows=count_rows, on_progress=_progress)
    except (BackupError, StoreError, OSError) as error:
        fail(f"nothing was restored: {error}")
    for table, (expected, found) in fewer.items():
        typer.echo(
            f"{table}: {expected - found} of {expected} rows are older than the table keeps them by now", err=True
        )
    _tell(data_folder(), manifest.rows, len(manifest.files), as_json=as_json)


def count_rows(data: Path) -> Mapping[str, int]:
    """Return the rows of every table of the embedded store in a folder. Raises BackupError, StoreError."""
    if not (data / "clickhouse").is_dir():
        return {}
    with _opened(data) as client:
        return read_row_counts(client)


def read_row_counts(client: Client) -> dict[str, int]:
    """Return the rows of every table, as they are when all that is to be merged has been."""
    tables = client.query_rows(
        "SELECT name, engine FROM system.tables WHERE database = {database:String} AND engine LIKE '%MergeTree'",
        {"database": client.database},
    )
    counts = {}
    for name, engine in sorted(tables):
        final = "" if engine in ("MergeTree", "ReplicatedMergeTree") else " FINAL"
        counts[str(name)] = int(client.query_rows(f"SELECT count() FROM `{name}`{final}")[0][0])  # noqa: S608 - the store's own name
    return counts


@contextmanager
def _opened(data: Path) -> Iterator[Client]:
    """Run the embedded store on a folder, on a port nobody knows, for as long as it is asked."""
    from collector.backup import BackupError
    from collector.clickhouse import StoreError, connect, settings_from_environment

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    environ = {**os.environ, "TIDEGAUGE_DATA": str(data), "TIDEGAUGE_CLICKHOUSE_PORT": port}
    environ.pop("TIDEGAUGE_CLICKHOUSE_URL", None)
    process = subprocess.Popen([sys.executable, "-m", "collector.embedded"], env=environ, stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + READY_WITHIN_SECONDS
        while True:
            try:
                client = connect(settings_from_environment(environ))
                break
            except StoreError as error:
                if process.poll() is not None and process.stderr is not None:
                    told = process.stderr.read().decode(errors="replace").strip()[-300:]
                    raise BackupError(f"the store of {data} cannot be opened: {told}") from error
                if time.monotonic() > deadline:
                    raise BackupError(f"the store of {data} did not answer in {READY_WITHIN_SECONDS:.0f} s") from error
                time.sleep(0.1)
        yield client
        client.close()
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.communicate()


def _of_server(destination: str) -> tuple[Mapping[str, int], str]:
    """Have a ClickHouse server back its database up; return its rows and the words that name the backup."""
    from collector.backup import BackupError
    from collector.clickhouse import connect, settings_from_environment

    if not _DESTINATION.fullmatch(destination):
        raise BackupError(
            f"--clickhouse: expected Disk(...), File(...), S3(...) or AzureBlobStorage(...), got {destination!r}"
        )
    client = connect(settings_from_environment(os.environ), timeout_seconds=3600)
    rows = read_row_counts(client)
    client.command(backup_statement(client.database, client.cluster, destination))
    client.close()
    return rows, destination


def _restore_server(destination: str, expected: Mapping[str, int]) -> None:
    from collector.backup import BackupError
    from collector.clickhouse import connect, settings_from_environment

    client = connect(settings_from_environment(os.environ), timeout_seconds=3600)
    if client.query_rows("SELECT count() FROM system.databases WHERE name = {name:String}", {"name": client.database})[
        0
    ][0]:
        raise BackupError(f"expected no database {client.database} in ClickHouse: nothing is ever overwritten")
    client.command(backup_statement(client.database, client.cluster, destination, restores=True))
    found = read_row_counts(client)
    client.close()
    short = [table for table, rows in expected.items() if found.get(table, 0) < rows]
    if short:
        raise BackupError(f"the restored tables {', '.join(short)} have fewer rows than the backup")


def backup_statement(database: str, cluster: str | None, destination: str, *, restores: bool = False) -> str:
    """Return ClickHouse's statement for a backup of the database, or for bringing it back."""
    where = f" ON CLUSTER '{cluster}'" if cluster else ""
    verb, preposition = ("RESTORE", "FROM") if restores else ("BACKUP", "TO")
    return f"{verb} DATABASE {database}{where} {preposition} {destination}"


def _tell(folder: Path, rows: Mapping[str, int], files: int, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"folder": str(folder), "files": files, "rows": dict(rows)}))
        return
    typer.echo(f"{folder}: {files} files, {sum(rows.values())} rows in {len(rows)} tables, every one checked")


def _progress(done: int, total: int) -> None:
    if done % 1000 == 0 or done == total:
        typer.echo(f"{done} of {total} files", err=True)
