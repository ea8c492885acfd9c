"""Brings the app's PostgreSQL schema to a version: numbered pairs of SQL files, `.up.sql` there and `.down.sql` back.

Each runs in a transaction of its own together with its entry, except files that begin with `-- no transaction`: their
statements run one by one, each may be repeated, and the entry is written last. Many replicas may start at once: an
advisory lock lets one migrate while the others ask again (asking, not waiting inside the server: an index that is built
concurrently waits for everyone who waits there). A migration that was applied and then edited is refused.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from importlib import resources
from typing import Any

import psycopg
from psycopg import sql

LOCK = 7_318_402_001  # any number, as long as nobody else locks it
LOCK_SECONDS = 300.0
_NAME = re.compile(r"(\d{4})_[a-z0-9_]+(?=\.up\.sql)")
_NO_TRANSACTION = "-- no transaction\n"
_EACH_PARTITION = re.compile(r"^-- each partition of (\w+)$", re.MULTILINE)
_TABLE = (
    "CREATE TABLE IF NOT EXISTS schema_migrations (version integer PRIMARY KEY, name text NOT NULL,"
    " checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
)
_UNFINISHED = """
SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE NOT i.indisvalid AND c.relkind = 'i' AND n.nspname = current_schema()
"""


class MigrationError(RuntimeError):
    """The schema in the database is not the one these files describe, or somebody else migrates for too long."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered step: the text that takes it, and the text that takes it back."""

    version: int
    name: str
    sql: str
    down: str = ""

    @property
    def checksum(self) -> str:
        """SHA-256 of the text that is applied."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class MigrationState:
    """A migration and when it was applied to a database, None when it was not."""

    version: int
    name: str
    applied_at: datetime | None


def packaged_migrations() -> list[Migration]:
    """Return the migrations that ship with the app, in order."""
    folder = resources.files("reference_app") / "schema"
    found = [
        Migration(
            int(match[1]),
            match[0],
            file.read_text(encoding="utf-8"),
            (folder / f"{match[0]}.down.sql").read_text(encoding="utf-8"),
        )
        for file in folder.iterdir()
        if (match := _NAME.match(file.name))
    ]
    return sorted(found, key=lambda migration: migration.version)


def latest_version() -> int:
    """Return the number of the newest migration that ships with the app."""
    return packaged_migrations()[-1].version


def migrate(connection: psycopg.Connection[Any], migrations: list[Migration], *, to: int | None = None) -> list[str]:
    """Bring the schema to version `to` (the newest unless named; 0 is none); return the names applied or taken back.

    Needs an autocommit connection. Raises MigrationError for a database that is not ours, an edited migration or an
    unknown version.
    """
    known = [0, *(migration.version for migration in migrations)]
    target = known[-1] if to is None else to
    if target not in known:
        raise MigrationError(f"expected a version of {known[0]} to {known[-1]}, got {target}")
    _lock(connection)
    try:
        connection.execute(_TABLE)
        applied = dict(connection.execute("SELECT version, checksum FROM schema_migrations").fetchall())
        missing = [each for each in missing_migrations(migrations, applied) if each.version <= target]
        surplus = [each for each in reversed(migrations) if each.version in applied and each.version > target]
        for migration in surplus:
            _take_back(connection, migration)
        for migration in missing:
            _apply(connection, migration)
    finally:
        connection.execute("SELECT pg_advisory_unlock(%s)", [LOCK])
    return [migration.name for migration in (*surplus, *missing)]


def migration_states(connection: psycopg.Connection[Any], migrations: list[Migration]) -> list[MigrationState]:
    """Return each migration and when it was applied. Raises MigrationError as `migrate` does; changes nothing."""
    try:
        rows = connection.execute("SELECT version, checksum, applied_at FROM schema_migrations").fetchall()
    except psycopg.errors.UndefinedTable:
        rows = []
    missing_migrations(migrations, {version: checksum for version, checksum, _ in rows})
    applied_at = {version: instant for version, _, instant in rows}
    return [MigrationState(each.version, each.name, applied_at.get(each.version)) for each in migrations]


def missing_migrations(migrations: list[Migration], applied: dict[int, str]) -> list[Migration]:
    """Return the migrations not yet applied. applied: version -> checksum. Raises MigrationError."""
    known = {migration.version for migration in migrations}
    if unknown := sorted(set(applied) - known):
        raise MigrationError(f"the database has migrations {unknown}, which this version does not know")
    for migration in migrations:
        if applied.get(migration.version, migration.checksum) != migration.checksum:
            raise MigrationError(f"{migration.name} was changed after it was applied; add a new migration instead")
    return [migration for migration in migrations if migration.version not in applied]


def statements_of(text: str, partitions_of: Callable[[str], list[str]]) -> Iterator[str]:
    """Yield the statements of a file that runs without a transaction, those for each partition once for each.

    A statement ends with `;` at the end of a line. partitions_of: table -> its partitions' names.
    """
    for part in re.split(r";\s*$", text, flags=re.MULTILINE):
        if not re.sub(r"^--.*$", "", part, flags=re.MULTILINE).strip():
            continue
        table = _EACH_PARTITION.search(part)
        if table is None:
            yield part
        else:
            yield from (part.replace("{partition}", name) for name in partitions_of(table[1]))


def _lock(connection: psycopg.Connection[Any]) -> None:
    deadline = time.monotonic() + LOCK_SECONDS
    while connection.execute("SELECT pg_try_advisory_lock(%s)", [LOCK]).fetchone() != (True,):
        if time.monotonic() > deadline:
            raise MigrationError(f"somebody else has been migrating for {LOCK_SECONDS:g} s")
        time.sleep(0.1)


def _apply(connection: psycopg.Connection[Any], migration: Migration) -> None:
    entry = "INSERT INTO schema_migrations (version, name, checksum) VALUES (%s, %s, %s)"
    values = [migration.version, migration.name, migration.checksum]
    if migration.sql.startswith(_NO_TRANSACTION):
        _run_one_by_one(connection, migration.sql)
        connection.execute(entry, values)
        return
    with connection.transaction():
        connection.execute(migration.sql.encode())  # our own files, no parameters
        connection.execute(entry, values)


def _take_back(connection: psycopg.Connection[Any], migration: Migration) -> None:
    if not migration.down:
        raise MigrationError(f"{migration.name} can't be taken back: it says not how")
    with connection.transaction():
        connection.execute(migration.down.encode())
        connection.execute("DELETE FROM schema_migrations WHERE version = %s", [migration.version])


def _run_one_by_one(connection: psycopg.Connection[Any], text: str) -> None:
    for (unfinished,) in connection.execute(_UNFINISHED).fetchall():  # an index whose building was cut off
        connection.execute(sql.SQL("DROP INDEX CONCURRENTLY {}").format(sql.Identifier(unfinished)))
    for statement in statements_of(text, lambda table: partitions_of(connection, table)):
        connection.execute(statement.encode())


def partitions_of(connection: psycopg.Connection[Any], table: str) -> list[str]:
    """Return the names of a table's partitions, in order."""
    query = (
        "SELECT c.relname FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid"
        " WHERE inhparent = %s::text::regclass ORDER BY 1"
    )
    return [name for (name,) in connection.execute(query, [table]).fetchall()]
