"""The way to ClickHouse: connection, queries, inserts that may be repeated, migrations.

The only importer of clickhouse_connect; its exceptions end here. What is asked and stored stands in the store modules.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import clickhouse_connect
import pandas as pd
import urllib3.exceptions
from clickhouse_connect.driver import exceptions as foreign

from collector.clickhouse_errors import (
    MigrationError,
    StoreError,
    StoreRefusedError,
    StoreSettingsError,
    StoreUnavailableError,
    is_passing,
)
from collector.migrations import migrate

__all__ = [
    "ClickHouseSettings",
    "Client",
    "MigrationError",
    "StoreError",
    "StoreRefusedError",
    "StoreSettingsError",
    "StoreUnavailableError",
    "connect",
    "migrate",
    "settings_from_environment",
]

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_RETENTION = re.compile(r"([a-z_0-9]+)=(\d{1,5})d")
SHORTEST_RETENTION_DAYS = (
    8  # events of the last seven days are taken: what is older than a table keeps vanishes at the insert
)
# Asked for on every insert: servers differ in their defaults, and a retry must be harmless through all the views.
_INSERT_SETTINGS = {
    "async_insert": "0",
    "insert_deduplicate": "1",
    "deduplicate_blocks_in_dependent_materialized_views": "1",
}
# Answered means on the shards; and a subquery over a distributed table is asked once, not on every shard.
_CLUSTER_INSERT_SETTINGS = {"distributed_foreground_insert": "1"}
_CLUSTER_SETTINGS = {"distributed_product_mode": "global", "distributed_ddl_task_timeout": "60"}


@dataclass(frozen=True, slots=True)
class ClickHouseSettings:
    """Where the store is: `url` is http(s)://host:port; the password is never shown.

    cluster: the name of a ClickHouse cluster over which tables are distributed. retention_days: by table, where it is
    not what the migrations say.
    """

    url: str = "http://127.0.0.1:8123"
    user: str = "default"
    password: str = field(default="", repr=False)
    database: str = "tidegauge"
    cluster: str | None = None
    retention_days: Mapping[str, int] = field(default_factory=dict)


def settings_from_environment(environ: Mapping[str, str]) -> ClickHouseSettings:
    """Return the settings of TIDEGAUGE_CLICKHOUSE_URL, _USER, _PASSWORD, _DATABASE, _CLUSTER and TIDEGAUGE_RETENTION.

    Without a URL it is the embedded store, on TIDEGAUGE_CLICKHOUSE_PORT if that is set. Raises StoreSettingsError.
    """
    known = ClickHouseSettings()
    port = environ.get("TIDEGAUGE_CLICKHOUSE_PORT") or "8123"
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise StoreSettingsError(f"TIDEGAUGE_CLICKHOUSE_PORT: expected a port, got {port!r}")
    settings = ClickHouseSettings(
        url=environ.get("TIDEGAUGE_CLICKHOUSE_URL") or f"http://127.0.0.1:{port}",
        user=environ.get("TIDEGAUGE_CLICKHOUSE_USER") or known.user,
        password=environ.get("TIDEGAUGE_CLICKHOUSE_PASSWORD", known.password),
        database=environ.get("TIDEGAUGE_CLICKHOUSE_DATABASE") or known.database,
        cluster=environ.get("TIDEGAUGE_CLICKHOUSE_CLUSTER") or None,
        retention_days=_retention(environ.get("TIDEGAUGE_RETENTION") or ""),
    )
    for name, value in (("DATABASE", settings.database), ("CLUSTER", settings.cluster)):
        if value is not None and not _IDENTIFIER.fullmatch(value):
            raise StoreSettingsError(
                f"TIDEGAUGE_CLICKHOUSE_{name}: expected letters, digits and underscores, got {value!r}"
            )
    _host_and_port(settings.url)
    return settings


def _retention(text: str) -> dict[str, int]:
    kept = {}
    for part in text.replace(" ", "").split(",") if text else []:
        found = _RETENTION.fullmatch(part)
        if found is None or int(found.group(2)) < SHORTEST_RETENTION_DAYS:
            raise StoreSettingsError(
                f"TIDEGAUGE_RETENTION: expected table=days like request_events=14d,red_1m=400d, each at least"
                f" {SHORTEST_RETENTION_DAYS}d, got {part!r}"
            )
        kept[found.group(1)] = int(found.group(2))
    return kept


def _host_and_port(url: str) -> tuple[str, int, bool]:
    expected = "expected http://host:port or https://host:port without user or password"
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        raise StoreSettingsError(f"TIDEGAUGE_CLICKHOUSE_URL: {expected}, got a port that is no number") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
        raise StoreSettingsError(f"TIDEGAUGE_CLICKHOUSE_URL: {expected}")
    secure = parts.scheme == "https"
    return parts.hostname, port or (8443 if secure else 8123), secure


class Client:
    """One connection pool to the store, in the settings' database. Safe to share between threads: it has no session.

    Every method raises StoreUnavailableError when the same call may succeed later, and StoreRefusedError (with
    ClickHouse's code) when it never will. Nothing is retried here: who calls knows what a repetition means.
    """

    def __init__(self, driver: Any, settings: ClickHouseSettings) -> None:
        self._driver = driver
        self._column_types: dict[str, dict[str, str]] = {}
        self.database, self.cluster = settings.database, settings.cluster
        self.retention_days = settings.retention_days
        self._insert_settings = _INSERT_SETTINGS | (_CLUSTER_INSERT_SETTINGS if settings.cluster else {})

    def query_rows(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """Return the rows of a query; `{name:Type}` in the SQL takes its value from `parameters`."""
        with _translated():
            return [tuple(row) for row in self._driver.query(sql, parameters=dict(parameters or {})).result_rows]

    def query_frame(self, sql: str, parameters: Mapping[str, Any] | None = None) -> pd.DataFrame:
        """Return the result of a query as a frame; instants of DateTime columns are aware UTC."""
        with _translated():
            frame: pd.DataFrame = self._driver.query_df(sql, parameters=dict(parameters or {}))
        return frame

    def command(self, sql: str, parameters: Mapping[str, Any] | None = None) -> Any:
        """Run a statement without a result table and return its single value, if it has one."""
        with _translated():
            return self._driver.command(sql, parameters=dict(parameters or {}))

    def insert_columns(self, table: str, columns: Mapping[str, Sequence[Any]], *, token: str) -> int:
        """Insert columns of one length and return the number of rows; an insert of no rows does nothing.

        token: the insert_deduplication_token. The same rows with the same token are stored once, however often they
        are sent. Instants are given as integers (epoch seconds, or ticks of a DateTime64) or aware datetimes.
        """
        lengths = {len(column) for column in columns.values()}
        if len(lengths) != 1:
            raise ValueError(f"insert into {table}: expected columns of one length, got lengths {sorted(lengths)}")
        rows = lengths.pop()
        if not rows:
            return 0
        types = self._types_of(table)
        try:
            with _translated():
                self._driver.insert(
                    table,
                    list(columns.values()),
                    column_names=list(columns),
                    column_type_names=[types[name] for name in columns],
                    column_oriented=True,
                    database=self.database,
                    settings={**self._insert_settings, "insert_deduplication_token": token},
                )
        except (ValueError, TypeError, KeyError, OverflowError, struct.error) as error:  # a value no column can hold
            raise StoreRefusedError(f"insert into {table}: {error!r}", code=None) from error
        return rows

    def insert_frame(self, table: str, frame: pd.DataFrame, *, token: str) -> int:
        """Insert a frame whose columns are columns of the table; see insert_columns."""
        return self.insert_columns(table, {str(name): frame[name].tolist() for name in frame.columns}, token=token)

    def create_database(self) -> None:
        """Make the database, on every node of a cluster, if it is not there."""
        where = f" ON CLUSTER '{self.cluster}'" if self.cluster else ""
        with _translated():
            self._driver.command(
                f"CREATE DATABASE IF NOT EXISTS {self.database}{where} ENGINE = Atomic", use_database=False
            )

    def close(self) -> None:
        """Give the connections back."""
        self._driver.close()

    def _types_of(self, table: str) -> dict[str, str]:
        """Return the column types of a table, asked once: the driver would ask before every insert."""
        if table not in self._column_types:
            rows = self.query_rows(
                "SELECT name, type FROM system.columns WHERE database = {database:String} AND table = {table:String}",
                {"database": self.database, "table": table},
            )
            if not rows:
                raise StoreRefusedError(f"no table {self.database}.{table}", code=60)
            self._column_types[table] = {str(name): str(kind) for name, kind in rows}
        return self._column_types[table]


def connect(settings: ClickHouseSettings, *, timeout_seconds: int = 30) -> Client:
    """Return a client. Does not need the database to exist yet. Raises StoreUnavailableError, StoreRefusedError."""
    host, port, secure = _host_and_port(settings.url)
    with _translated():
        driver = clickhouse_connect.get_client(
            host=host,
            port=port,
            secure=secure,
            username=settings.user,
            password=settings.password,
            autogenerate_session_id=False,  # a session would refuse concurrent queries
            query_retries=0,
            query_limit=0,
            connect_timeout=5,
            send_receive_timeout=timeout_seconds,
            tz_mode="aware",
            dedicated_pool=True,  # its connections close with it
            settings=_CLUSTER_SETTINGS if settings.cluster else {},
        )
    driver.database = settings.database  # only now: the driver's first questions must not need it
    return Client(driver, settings)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (foreign.InterfaceError, foreign.ProgrammingError, foreign.DataError) as error:
        raise StoreRefusedError(str(error), code=error.code) from error  # the driver's own: nothing was sent
    except foreign.DatabaseError as error:
        if error.code is None or is_passing(error.code):
            raise StoreUnavailableError(str(error)) from error
        raise StoreRefusedError(str(error), code=error.code) from error
    except (foreign.ClickHouseError, urllib3.exceptions.HTTPError, OSError) as error:
        raise StoreUnavailableError(str(error)) from error
