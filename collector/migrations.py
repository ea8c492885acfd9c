"""Brings a package's tables up to date: numbered files, each applied once, then the retention of the settings."""

from __future__ import annotations

import hashlib
import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING

from collector.clickhouse_errors import MigrationError
from collector.ddl import DdlError, changed_ttl, cluster_statements, kept_by, sharding_keys, statements_of

if TYPE_CHECKING:
    from collector.clickhouse import Client

_MIGRATION_NAME = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")
_VERSIONS = """CREATE TABLE {database}.schema_versions (owner String, name String, sha256 String,
  applied_at DateTime64(3, 'UTC') DEFAULT now64(3)) ENGINE = ReplacingMergeTree ORDER BY (owner, name)
SETTINGS non_replicated_deduplication_window = 1000;"""
_log = logging.getLogger("tidegauge.collector")


def migrate(client: Client, folder: Path, *, owner: str) -> list[str]:
    """Bring `owner`'s tables up to date and return the names of the files applied now.

    folder: numbered files `0001_name.sql`, statements ending in a semicolon at the end of a line, `{database}` for
    the database. Running it again does nothing; run after a kill in the middle it goes on, since every CREATE gets
    IF NOT EXISTS. With a cluster in the settings every table is made replicated and distributed; the settings'
    retention is applied last. Raises MigrationError for a file that changed after it was applied, a name out of form,
    or a statement without a form for a cluster.
    """
    files = migration_files(folder)
    texts = [path.read_text(encoding="utf-8") for path in files]
    client.create_database()
    for statement in statements_for(client.database, client.cluster, _VERSIONS, keys_from=[_VERSIONS]):
        client.command(statement)
    known = dict(
        client.query_rows("SELECT name, sha256 FROM schema_versions WHERE owner = {owner:String}", {"owner": owner})
    )
    applied = []
    for number, (path, text) in enumerate(zip(files, texts, strict=True), 1):
        digest = hashlib.sha256(text.encode()).hexdigest()
        if path.name in known:
            if known[path.name] != digest:
                raise MigrationError(f"{path}: changed after it was applied; add a file with the next number instead")
            continue
        try:
            statements = statements_for(client.database, client.cluster, text, keys_from=texts[:number])
        except DdlError as error:
            raise MigrationError(f"{path}: {error}") from error
        for statement in statements:
            client.command(statement)
        client.insert_columns(
            "schema_versions",
            {"owner": [owner], "name": [path.name], "sha256": [digest]},
            token=f"{owner}/{path.name}/{digest}",
        )
        applied.append(path.name)
    _keep(client, texts)
    return applied


def statements_for(database: str, cluster: str | None, text: str, *, keys_from: list[str]) -> list[str]:
    """Return a migration's statements for one store, or for a cluster. keys_from: all migrations up to this one."""
    if cluster is None:
        return statements_of(text, database=database)
    return cluster_statements(text, database=database, cluster=cluster, keys=sharding_keys(keys_from))


def _keep(client: Client, texts: list[str]) -> None:
    """Have every table keep its rows as the settings say, or as the migrations do where they say nothing."""
    suffix = "" if client.cluster is None else "_local"
    where = "" if client.cluster is None else f" ON CLUSTER '{client.cluster}'"
    made = dict(
        client.query_rows(
            "SELECT name, create_table_query FROM system.tables WHERE database = {database:String}",
            {"database": client.database},
        )
    )
    for unknown in sorted(
        set(client.retention_days) - set(kept_by(texts)) - {each.removesuffix("_local") for each in made}
    ):
        _log.warning("TIDEGAUGE_RETENTION: expected a table with a retention of its own, got %s", unknown)
    for table, kept in kept_by(texts).items():
        days = client.retention_days.get(table)
        name = table + suffix
        ttl = changed_ttl(made[name], kept if days is None else (days, "Day")) if name in made else None
        if ttl is not None:
            _log.info("%s: rows are kept by the rule %s from now on", table, ttl)
            client.command(f"ALTER TABLE {client.database}.{name}{where} MODIFY TTL {ttl}")


def migration_files(folder: Path) -> list[Path]:
    """Return the migrations of a folder in their order. Raises MigrationError."""
    files = sorted(folder.glob("*.sql"))
    for path in files:
        if not _MIGRATION_NAME.fullmatch(path.name):
            raise MigrationError(f"{path}: expected a name like 0001_record.sql")
    if not files:
        raise MigrationError(f"{folder}: expected migrations like 0001_record.sql, found none")
    return files
