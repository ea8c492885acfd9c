"""Migrations as statements, for one store or for a cluster, and how long tables keep their rows. Pure text work.

On a cluster every table becomes two: `name_local`, replicated within its shard, and `name`, distributed over the
shards. Rows are spread by the series they belong to: a series, and with it every rollup row of it, lies on one shard.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

_TIMES = frozenset({"t", "ts", "at", "minute", "hour", "second", "timestamp"})
_REPLICATED_WINDOW_SECONDS = 7 * 86_400  # a block may be repeated after the store was away for days
_CREATE = re.compile(r"^CREATE (TABLE|MATERIALIZED VIEW) (?!IF NOT EXISTS)", re.MULTILINE)
_TABLE = re.compile(r"^CREATE TABLE IF NOT EXISTS (\w+)\.(\w+) (\(.*?\)) ENGINE = (\w*MergeTree)(.*)$", re.DOTALL)
_VIEW = re.compile(r"^CREATE MATERIALIZED VIEW IF NOT EXISTS (\w+\.\w+) TO (.*)$", re.DOTALL)
_ALTER = re.compile(r"^ALTER TABLE (\w+)\.(\w+)(\s.*)$", re.DOTALL)
_DROP = re.compile(r"^DROP (TABLE|VIEW) (IF EXISTS )?(\w+)\.(\w+)$")
_SHARD_BY = re.compile(r"^-- shard by ([a-z_]+(?:, [a-z_]+)*)\nCREATE TABLE \{database\}\.(\w+)", re.MULTILINE)
_TTL = re.compile(
    r"^(?:CREATE TABLE|ALTER TABLE) \{database\}\.(\w+).*?\bTTL (.+?) \+ INTERVAL (\d+) (\w+)$", re.DOTALL
)
_INTERVAL = re.compile(r"toInterval(\w+)\((\d+)\)")


class DdlError(ValueError):
    """A statement is of a kind that has no form for a cluster."""


def statements_of(text: str, *, database: str) -> list[str]:
    """Return the statements of a migration: comments removed, database filled in, CREATE made repeatable."""
    return [_CREATE.sub(r"CREATE \1 IF NOT EXISTS ", part).replace("{database}", database) for part in _parts(text)]


def _parts(text: str) -> list[str]:
    plain = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("--"))
    return [part for part in (part.strip() for part in re.split(r";[ \t]*(?:\n|$)", plain)) if part]


def sharding_keys(texts: Iterable[str]) -> dict[str, str]:
    """Return the sharding key of every table that some migrations create.

    It is a hash of the first two columns of the sorting key that stand before the time, or of the columns named in a
    line `-- shard by a, b` above the statement.
    """
    keys: dict[str, str] = {}
    for text in texts:
        named = {table: columns for columns, table in _SHARD_BY.findall(text)}
        for statement in statements_of(text, database="d"):
            if found := _TABLE.match(statement):
                table, columns, rest = found.group(2), found.group(3), found.group(5)
                keys[table] = f"cityHash64({named.get(table) or ', '.join(_series_columns(table, columns, rest))})"
    return keys


def _series_columns(table: str, columns: str, rest: str) -> list[str]:
    order = re.search(r"ORDER BY (?:\((.*?)\)|(\w+))", rest)
    if order is None:
        raise DdlError(f"{table}: expected ORDER BY, found none")
    series = []
    for name in (order.group(1) or order.group(2)).split(", "):
        if name in _TIMES or re.search(rf"[(,]\s*{name} DateTime", columns):
            break
        series.append(name)
    if not series:
        raise DdlError(f"{table}: expected a sorting key that starts with a series, or a line `-- shard by column`")
    return series[:2]


def cluster_statements(text: str, *, database: str, cluster: str, keys: Mapping[str, str]) -> list[str]:
    """Return a migration's statements for a cluster. keys: sharding_keys of all migrations up to this one."""
    made: list[str] = []
    for statement in statements_of(text, database=database):
        made += _for_cluster(statement, cluster, keys)
    return made


def _for_cluster(statement: str, cluster: str, keys: Mapping[str, str]) -> list[str]:
    if found := _TABLE.match(statement):
        database, table, columns, engine, rest = found.groups()
        path = f"'/clickhouse/tables/{{shard}}/{database}/{table}_local', '{{replica}}'"
        arguments = re.match(r"\((.*?)\)", rest)
        more = f", {arguments.group(1)}" if arguments else ""
        rest = rest[arguments.end() :] if arguments else rest
        return [
            f"CREATE TABLE IF NOT EXISTS {database}.{table}_local ON CLUSTER '{cluster}' {columns}"
            f" ENGINE = Replicated{engine}({path}{more}){_replicated(rest)}",
            f"CREATE TABLE IF NOT EXISTS {_distributed(database, table, cluster, keys)}",
        ]
    if found := _VIEW.match(statement):
        name, rest = found.groups()
        return [f"CREATE MATERIALIZED VIEW IF NOT EXISTS {name} ON CLUSTER '{cluster}' TO {_local(rest, name)}"]
    if found := _ALTER.match(statement):
        database, table, rest = found.groups()
        if table not in keys:  # a view
            return [f"ALTER TABLE {database}.{table} ON CLUSTER '{cluster}'{_local(rest, f'{database}.')}"]
        return [
            f"ALTER TABLE {database}.{table}_local ON CLUSTER '{cluster}'{rest}",
            f"CREATE OR REPLACE TABLE {_distributed(database, table, cluster, keys)}",
        ]
    if found := _DROP.match(statement):
        kind, exists, database, table = found.groups()
        names = [table] if kind == "VIEW" or table not in keys else [table, f"{table}_local"]
        return [f"DROP {kind} {exists or ''}{database}.{name} ON CLUSTER '{cluster}'" for name in names]
    raise DdlError(f"expected CREATE TABLE, CREATE MATERIALIZED VIEW, ALTER TABLE or DROP, got: {statement[:80]}")


def _distributed(database: str, table: str, cluster: str, keys: Mapping[str, str]) -> str:
    return (
        f"{database}.{table} ON CLUSTER '{cluster}' AS {database}.{table}_local"
        f" ENGINE = Distributed('{cluster}', '{database}', '{table}_local', {keys[table]})"
    )


def _replicated(rest: str) -> str:
    window = "replicated_deduplication_window"
    replacement = rf"{window} = \1, {window}_seconds = {_REPLICATED_WINDOW_SECONDS}"
    return re.sub(rf"non_{window} = (\d+)", replacement, rest)


def _local(text: str, name: str) -> str:
    """Return a view's text reading and writing the local tables of its database."""
    database = name.split(".", 1)[0]
    return re.sub(rf"\b{database}\.(\w+)", rf"{database}.\1_local", text)


def kept_by(texts: Iterable[str]) -> dict[str, tuple[int, str]]:
    """Return how long the migrations have each table keep its rows: (8, "Day"); tables without a limit are absent."""
    kept: dict[str, tuple[int, str]] = {}
    for text in texts:
        for part in _parts(text):
            clause = part.split("\nSETTINGS ", 1)[0]
            if found := _TTL.match(clause):
                kept[found.group(1)] = (int(found.group(3)), found.group(4).capitalize())
    return kept


def changed_ttl(create_query: str, wanted: tuple[int, str]) -> str | None:
    """Return the TTL expression that a table needs to keep its rows as wanted; None when it does already.

    create_query: of system.tables. Raises DdlError for a table without TTL.
    """
    found = re.search(r" TTL (.+?)(?: SETTINGS .*)?$", create_query, re.DOTALL)
    interval = _INTERVAL.search(found.group(1)) if found else None
    if found is None or interval is None:
        raise DdlError(f"expected a table with a TTL, got {create_query[:80]}")
    if (int(interval.group(2)), interval.group(1)) == wanted:
        return None
    return _INTERVAL.sub(f"toInterval{wanted[1]}({wanted[0]})", found.group(1), count=1)
