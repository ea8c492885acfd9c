"""What asks the world for the doctor. Every question has a short time-out, changes nothing, and never raises."""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx
import psycopg

from collector.clickhouse import ClickHouseSettings, Client, StoreError, connect
from forecaster.actuators.contract import ActuatorUnavailable
from forecaster.actuators.kubernetes import ApiRefusal, KubernetesApi
from tidegauge.doctor.facts import Answer, Database, Disk, Follower, Right, Store, StoreReplica, Unreachable

TIMEOUT_SECONDS = 5
_SETTINGS = ("readonly", "insert_deduplicate")
_REVIEW = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


def look_at_disk(path: Path) -> Disk:
    """Return the file system of a folder, or of its nearest parent that exists."""
    place = next(each for each in (path, *path.absolute().parents) if each.exists())
    return Disk(str(path), shutil.disk_usage(place).free, os.access(place, os.W_OK | os.X_OK))


def is_taken(port: int) -> bool:
    """Tell whether somebody listens on a port of loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def local_zone() -> str:
    """Return the name of this machine's time zone."""
    return time.tzname[0] if datetime.now().astimezone().utcoffset() else "UTC"


def ask_store(settings: ClickHouseSettings) -> Store | Unreachable:
    """Return what a ClickHouse says of itself."""
    try:
        plain = replace(settings, database="default")  # ours may not be there before the collector's first start
        client = connect(plain, timeout_seconds=TIMEOUT_SECONDS)
    except StoreError as error:
        return Unreachable(f"{settings.url}: {_first_line(error)}")
    try:
        return _store(client, settings)
    except StoreError as error:
        return Unreachable(f"{settings.url}: {_first_line(error)}")
    finally:
        client.close()


def _store(client: Client, settings: ClickHouseSettings) -> Store:
    version, zone, clock = client.query_rows("SELECT version(), timezone(), toUnixTimestamp64Milli(now64(3))")[0]
    names = ", ".join(f"'{name}'" for name in _SETTINGS)
    known = client.query_rows(f"SELECT name, value FROM system.settings WHERE name IN ({names})")  # noqa: S608 - ours
    plain = Store(version, zone, clock / 1000, {str(name): str(value) for name, value in known})
    if settings.cluster is None:
        return plain
    asked = {"cluster": settings.cluster}
    nodes = client.query_rows("SELECT count() FROM system.clusters WHERE cluster = {cluster:String}", asked)
    macros = client.query_rows("SELECT macro FROM system.macros")
    replicas = client.query_rows(
        "SELECT table, is_readonly OR is_session_expired, absolute_delay FROM system.replicas"
        " WHERE database = {database:String}",
        {"database": settings.database},
    )
    return Store(
        version, zone, plain.clock, plain.settings, int(nodes[0][0]), frozenset(str(row[0]) for row in macros),
        tuple(StoreReplica(str(table), bool(bad), int(delay)) for table, bad, delay in replicas),
    )  # fmt: skip


def ask_database(url: str) -> Database | Unreachable:
    """Return what a PostgreSQL says of itself and its followers."""
    try:
        with psycopg.connect(url, connect_timeout=TIMEOUT_SECONDS, autocommit=True) as connection:
            row = connection.execute("SELECT pg_is_in_recovery(), current_setting('TimeZone')").fetchone()
            followers = connection.execute(
                "SELECT application_name, state, extract(epoch FROM replay_lag) FROM pg_stat_replication"
            ).fetchall()
    except psycopg.Error as error:
        return Unreachable(_first_line(error))  # psycopg shows no password
    assert row is not None  # noqa: S101 - a SELECT without FROM has a row
    seen = [Follower(name, state or "not to be seen by this role", _number(lag)) for name, state, lag in followers]
    return Database(bool(row[0]), str(row[1]), tuple(seen))


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def ask_http(method: str, url: str, *, headers: dict[str, str], query: str | None = None) -> Answer | Unreachable:
    """Return the answer's status and clock; with a PromQL query (at a Prometheus' URL) its number of series too."""
    try:
        if query is not None:
            answer = httpx.get(f"{url}/api/v1/query", params={"query": query}, timeout=TIMEOUT_SECONDS)
        else:
            answer = httpx.request(method, url, headers=headers, timeout=TIMEOUT_SECONDS)
    except (httpx.HTTPError, ValueError) as error:
        return Unreachable(f"{url}: {_first_line(error)}")
    return Answer(answer.status_code, _clock_of(answer), _series(answer) if query is not None else None)


def _clock_of(answer: httpx.Response) -> float | None:
    try:
        return parsedate_to_datetime(answer.headers["date"]).timestamp()
    except (KeyError, ValueError):
        return None


def _series(answer: httpx.Response) -> int | None:
    try:
        found = answer.json()["data"]["result"]
        return int(found[0]["value"][1]) if found else 0
    except (ValueError, KeyError, IndexError, TypeError):
        return None


def ask_rights(api: KubernetesApi, wanted: Sequence[tuple[str, str, str, str]]) -> list[Right] | Unreachable:
    """Return what we may do there. wanted: (verb, API group, resource, namespace)."""
    found = []
    try:
        for verb, group, resource, namespace in wanted:
            asked = {"verb": verb, "group": group, "resource": resource, "namespace": namespace}
            body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview"}
            said = api.create(_REVIEW, {**body, "spec": {"resourceAttributes": asked}})
            found.append(Right(verb, resource, namespace, bool(said.get("status", {}).get("allowed"))))
    except (ActuatorUnavailable, ApiRefusal) as error:
        return Unreachable(_first_line(error))
    return found


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
