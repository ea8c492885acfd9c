"""CPU and memory of every replica, its databases and slowest statements, as it tells them itself over HTTP.

A replica is asked for `/metrics` (the `process_*` families every Prometheus client library has) and, where it has them,
for `/internal/databases` and `/internal/queries`, as the reference app does. Which replicas there are says a local
cluster's `GET /replicas`, and they are asked through it, for they listen on its loopback alone; elsewhere their URLs
are set. Over HTTP and not by process ids, so that it is the same on one machine and on many.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from collector.samplers.reading import Reading, SourceUnreachableError

MOST_STATEMENTS = 5  # of each replica and server: replicas come and go, and every one is a set of series
_TIMEOUT_SECONDS = 5.0
_GAUGES = frozenset({"process_resident_memory_bytes", "process_virtual_memory_bytes", "process_open_fds"})
# What a service tells of its caches, and a job worker of its queues: taken with the labels they have.
_TOLD = frozenset({"reference_app_invalidation_seconds_sum", "reference_app_invalidation_seconds_count"})
_TOLD_BY_WORKERS = frozenset(
    {"reference_app_jobs_done_total", "reference_app_jobs_retried_total", "reference_app_jobs_failed_total"}
)
_QUEUES = frozenset({"reference_app_jobs", "reference_app_outbox_rows", "reference_app_outbox_oldest_seconds"})
_POOL = {"pool_size": "app_pool_size", "pool_available": "app_pool_available", "requests_waiting": "app_pool_waiting"}
_CPU, _START = "process_cpu_seconds_total", "process_start_time_seconds"
_STATEMENT = {"calls": ("calls_total", 1.0), "total_ms": ("seconds_total", 1e-3), "rows": ("rows_total", 1.0)}


@dataclass(frozen=True, slots=True)
class Replica:
    """One process to ask."""

    instance: str
    url: str


def find_replicas(cluster_url: str) -> list[Replica]:
    """Return the replicas of a local cluster that answer. Raises SourceUnreachableError."""
    replicas_url = cluster_url.rstrip("/") + "/replicas"
    try:
        told = httpx.get(replicas_url, timeout=_TIMEOUT_SECONDS).raise_for_status().json()
        up = [str(each["instance"]) for each in told if each["state"] in ("ready", "draining")]
        return [Replica(instance, f"{replicas_url}/{instance}") for instance in up]
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        raise SourceUnreachableError(f"replicas of the cluster at {cluster_url}: {error!r}") from error


def sample_process(replica: Replica) -> list[Reading]:
    """Ask one replica. Raises SourceUnreachableError: it did not answer, or tells no CPU."""
    try:
        with httpx.Client(base_url=replica.url, timeout=_TIMEOUT_SECONDS) as client:
            metrics = client.get("/metrics").raise_for_status().text
            databases = client.get("/internal/databases")
            queries = client.get("/internal/queries", params={"limit": MOST_STATEMENTS})
        readings = list(readings_of_metrics(metrics, replica.instance))
        if databases.status_code == 200:
            readings += readings_of_databases(databases.json(), replica.instance)
        if queries.status_code == 200:
            readings += readings_of_queries(queries.json(), replica.instance)
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        raise SourceUnreachableError(f"replica {replica.instance} at {replica.url}: {error!r}") from error
    if not any(reading.name == _CPU for reading in readings):
        raise SourceUnreachableError(f"replica {replica.instance} at {replica.url}: expected {_CPU}, got none")
    return readings


def readings_of_metrics(text: str, instance: str) -> Iterator[Reading]:
    """Yield CPU and memory from an exposition. Raises ValueError for what is none."""
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    values = {each.name: each.value for each in samples if each.name in (_CPU, _START) or each.name in _GAUGES}
    labels = {"instance": instance}
    for sample in samples:
        if sample.name in _TOLD:
            yield Reading(sample.name, sample.value, {**sample.labels, **labels}, "counter")
    if _CPU in values:
        yield Reading(_CPU, values[_CPU], labels, "counter", started_at=values.get(_START))
    for name in sorted(_GAUGES & values.keys()):
        yield Reading(name, values[name], labels)


def sample_worker(url: str) -> list[Reading]:
    """Ask one job worker for its queues; its CPU is no part of a request's. Raises SourceUnreachableError."""
    try:
        text = httpx.get(url.rstrip("/") + "/metrics", timeout=_TIMEOUT_SECONDS).raise_for_status().text
        return list(readings_of_worker(text, url))
    except (httpx.HTTPError, ValueError) as error:
        raise SourceUnreachableError(f"job worker at {url}: {error!r}") from error


def readings_of_worker(text: str, instance: str) -> Iterator[Reading]:
    """Yield depth and retries of the queues from an exposition. Raises ValueError for what is none.

    The queues are everybody's: whichever worker tells of them tells the same, so they are not told by instance.
    """
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name in _QUEUES:
                yield Reading(sample.name, sample.value, dict(sample.labels))
            elif sample.name in _TOLD_BY_WORKERS:
                yield Reading(sample.name, sample.value, {**sample.labels, "instance": instance}, "counter")


def readings_of_databases(document: Any, instance: str) -> Iterator[Reading]:
    """Yield lag, use and missing partitions as this replica sees them; what it does not know gives nothing."""
    for target in document["targets"]:
        labels = {"instance": instance, "target": target["target"]}
        yield Reading("app_database_in_use", float(target["in_use"]), labels)
        for key in ("lag_seconds", "lag_bytes"):
            if target[key] is not None:
                yield Reading(f"app_database_{key}", float(target[key]), labels)
        for key, name in _POOL.items():
            if (value := (target.get("pool") or {}).get(key)) is not None:
                yield Reading(name, float(value), labels)
    if document["missing_quarters"] is not None:
        yield Reading("app_partitions_missing", float(document["missing_quarters"]), {"instance": instance})


def readings_of_queries(document: Any, instance: str) -> Iterator[Reading]:
    """Yield calls, seconds and rows of the slowest statements that the replica's driver measured.

    What the server itself measured is the same from every replica, and read there. Raises KeyError, TypeError.
    """
    for target in document["targets"]:
        if target["source"] != "driver":
            continue
        for each in target["statements"]:
            labels = {"instance": instance, "target": target["target"], "statement": str(each["statement"])[:200]}
            for key, (name, factor) in _STATEMENT.items():
                yield Reading(f"app_statement_{name}", each[key] * factor, labels, "counter")
