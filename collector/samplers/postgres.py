"""PostgreSQL by its own statistics: connections, replication, partitions, statements. The collector's only psycopg.

The role needs to be a member of `pg_monitor`. A server without pg_stat_statements says so and gives no statements: the
reference app's `/internal/queries` has the driver's own timings then (see `process`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import psycopg

from collector.samplers.reading import Reading, SourceUnreachableError

MOST_STATEMENTS = 20
_LONGEST_STATEMENT = 200
_TIMEOUT_SECONDS = 5

_CONNECTIONS = """SELECT coalesce(state, 'unknown'), count(*) FROM pg_stat_activity
  WHERE backend_type = 'client backend' GROUP BY 1"""
_DATABASE = """SELECT xact_commit, xact_rollback, blks_hit, blks_read, deadlocks, temp_bytes,
    extract(epoch FROM pg_postmaster_start_time())::float8, current_setting('max_connections')::int,
    pg_database_size(current_database()), pg_is_in_recovery()
  FROM pg_stat_database WHERE datname = current_database()"""
# On a primary: each standby, and how far behind it is. NULL lag: it is idle, and has replayed everything.
_STANDBYS = """SELECT application_name, extract(epoch FROM coalesce(replay_lag, interval '0'))::float8,
    pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)::float8
  FROM pg_stat_replication WHERE replay_lsn IS NOT NULL"""
# On a standby: the age of what was replayed last, but nothing when all that came has been replayed.
_REPLAY = """SELECT CASE WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0
    ELSE extract(epoch FROM now() - pg_last_xact_replay_timestamp()) END::float8"""
_PARTITIONS = """SELECT parent.relname, count(*), sum(greatest(part.reltuples, 0))::float8
  FROM pg_inherits JOIN pg_class parent ON parent.oid = inhparent JOIN pg_class part ON part.oid = inhrelid
  WHERE parent.relkind = 'p' GROUP BY 1 ORDER BY 1 LIMIT 200"""
_STATEMENTS = """SELECT queryid::text, left(regexp_replace(query, '\\s+', ' ', 'g'), %(longest)s), sum(calls)::float8,
    sum(total_exec_time)::float8 / 1000, sum(rows)::float8
  FROM pg_stat_statements WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
  GROUP BY 1, 2 ORDER BY 4 DESC LIMIT %(most)s"""


def sample_postgres(url: str) -> list[Reading]:
    """Ask one server. Raises SourceUnreachableError."""
    try:
        with psycopg.connect(
            url,
            autocommit=True,
            connect_timeout=_TIMEOUT_SECONDS,
            application_name="tidegauge-sampler",
            options=f"-c statement_timeout={_TIMEOUT_SECONDS * 1000}",
        ) as connection:
            labels = {"server": server_of(url)}
            return list(_readings(connection, labels))
    except psycopg.Error as error:
        raise SourceUnreachableError(f"PostgreSQL at {server_of(url)}: {error}") from error


def server_of(url: str) -> str:
    """Return host and port of a URL (a socket's folder without a host): what may be shown."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or 5432}" if parts.hostname else parts.query or "local socket"


def _readings(connection: psycopg.Connection[Any], labels: dict[str, str]) -> Iterator[Reading]:
    for state, count in connection.execute(_CONNECTIONS).fetchall():
        yield Reading("pg_connections", count, {**labels, "state": state})
    row = connection.execute(_DATABASE).fetchone()
    if row is None:
        raise SourceUnreachableError(f"PostgreSQL at {labels['server']}: expected statistics of its database, got none")
    counters = ("commits", "rollbacks", "blocks_hit", "blocks_read", "deadlocks", "temporary_bytes")
    for name, value in zip(counters, row[:6], strict=True):
        yield Reading(f"pg_{name}_total", value, labels, "counter")
    started_at, most, size_bytes, is_standby = row[6:]
    yield Reading("pg_start_time_seconds", started_at, labels)
    yield Reading("pg_connections_max", most, labels)
    yield Reading("pg_database_size_bytes", size_bytes, labels)
    yield Reading("pg_is_standby", float(is_standby), labels)
    yield from _standby(connection, labels) if is_standby else _standbys(connection, labels)
    for table, parts, rows in connection.execute(_PARTITIONS).fetchall():
        yield Reading("pg_partitions", parts, {**labels, "table": table})
        yield Reading("pg_partitions_rows_estimate", rows, {**labels, "table": table})
    yield from _statements(connection, labels)


def _standbys(connection: psycopg.Connection[Any], labels: dict[str, str]) -> Iterator[Reading]:
    for name, seconds, behind_bytes in connection.execute(_STANDBYS).fetchall():
        yield Reading("pg_replication_lag_seconds", seconds, {**labels, "standby": name})
        yield Reading("pg_replication_lag_bytes", behind_bytes, {**labels, "standby": name})


def _standby(connection: psycopg.Connection[Any], labels: dict[str, str]) -> Iterator[Reading]:
    row = connection.execute(_REPLAY).fetchone()
    if row is not None and row[0] is not None:  # a standby that has replayed no transaction yet knows no lag
        yield Reading("pg_replay_lag_seconds", row[0], labels)


def _statements(connection: psycopg.Connection[Any], labels: dict[str, str]) -> Iterator[Reading]:
    present = connection.execute("SELECT to_regclass('pg_stat_statements') IS NOT NULL").fetchone()
    if not (present and present[0]):  # asked first: an error in every round would fill the server's log
        yield Reading("pg_stat_statements_present", 0, labels)
        return
    limits = {"longest": _LONGEST_STATEMENT, "most": MOST_STATEMENTS}
    try:
        rows = connection.execute(_STATEMENTS, limits).fetchall()
    except (psycopg.errors.UndefinedColumn, psycopg.errors.ObjectNotInPrerequisiteState):
        yield Reading("pg_stat_statements_present", 0, labels)
        return
    yield Reading("pg_stat_statements_present", 1, labels)
    for query_id, statement, calls, seconds, count in rows:
        own = {**labels, "query_id": query_id or "", "statement": statement}
        yield Reading("pg_statement_calls_total", calls, own, "counter")
        yield Reading("pg_statement_seconds_total", seconds, own, "counter")
        yield Reading("pg_statement_rows_total", count, own, "counter")
