"""Brings the app's PostgreSQL schema up to date: numbered SQL files, each applied once, in its own transaction.

Many replicas may start at once, so an advisory lock lets one migrate while the others wait. A migration that was
applied and then edited is refused. Undoing migrations is left out.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from importlib import resources
from typing import Any

import psycopg

LOCK = 7_318_402_001  # any number, as long as nobody else locks it
_NAME = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")


class MigrationError(RuntimeError):
    """The schema in the database is not the one these files describe."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered file."""

    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the text."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def packaged_migrations() -> list[Migration]:
    """Return the migrations that ship with the app, in order."""
    folder = resources.files("reference_app") / "schema"
    found = [
        Migration(int(match[1]), file.name, file.read_text(encoding="utf-8"))
        for file in folder.iterdir()
        if (match := _NAME.fullmatch(file.name))
    ]
    return sorted(found, key=lambda migration: migration.version)


def latest_version() -> int:
    """Return the number of the newest migration that ships with the app."""
    return packaged_migrations()[-1].version


def migrate(connection: psycopg.Connection[Any], migrations: list[Migration]) -> list[str]:
    """Apply what is missing and return the names applied. Needs an autocommit connection. Raises MigrationError."""
    connection.execute("SELECT pg_advisory_lock(%s)", [LOCK])
    try:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_migrations (version integer PRIMARY KEY, name text NOT NULL,"
            " checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        rows = connection.execute("SELECT version, checksum FROM schema_migrations").fetchall()
        missing = missing_migrations(migrations, dict(rows))
        for migration in missing:
            _apply(connection, migration)
    finally:
        connection.execute("SELECT pg_advisory_unlock(%s)", [LOCK])
    return [migration.name for migration in missing]


def missing_migrations(migrations: list[Migration], applied: dict[int, str]) -> list[Migration]:
    """Return the migrations not yet applied. applied: version -> checksum. Raises MigrationError."""
    known = {migration.version for migration in migrations}
    if unknown := sorted(set(applied) - known):
        raise MigrationError(f"the database has migrations {unknown}, which this version does not know")
    for migration in migrations:
        if applied.get(migration.version, migration.checksum) != migration.checksum:
            raise MigrationError(f"{migration.name} was changed after it was applied; add a new migration instead")
    return [migration for migration in migrations if migration.version not in applied]


def _apply(connection: psycopg.Connection[Any], migration: Migration) -> None:
    with connection.transaction():
        connection.execute(migration.sql)  # our own files, no parameters
        connection.execute(
            "INSERT INTO schema_migrations (version, name, checksum) VALUES (%s, %s, %s)",
            [migration.version, migration.name, migration.checksum],
        )
