"""What is seen of the databases: targets with lag and pool use, the slowest statements, and the same as metrics.

One shape for people, for the collector's sampler (`/internal/databases`, `/internal/queries`) and for Prometheus.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import psycopg
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from psycopg_pool import PoolTimeout

from reference_app.database.pools import Pool
from reference_app.database.replica import Replica
from reference_app.database.router import Databases
from reference_app.database.statements import SlowStatement, server_statements

_GAUGES = {
    "pool_size": "Connections of the pool",
    "pool_max": "Connections that the pool may have",
    "pool_available": "Idle connections of the pool",
    "requests_waiting": "Requests waiting for a connection",
}
_COUNTERS = {
    "requests_num": ("pool_requests", "Connections asked for"),
    "requests_queued": ("pool_queued", "Connections that had to be waited for"),
    "requests_errors": ("pool_timeouts", "Connections that did not become free in time"),
    "connections_errors": ("pool_connect_failures", "Attempts to connect that failed"),
}


@dataclass(frozen=True, slots=True)
class TargetState:
    """One server. lag: None on the primary and where it is unknown; pool: psycopg_pool's own statistics."""

    target: str
    purpose: str
    region: str
    in_use: bool
    lag_seconds: float | None
    lag_bytes: int | None
    taken_out_total: int
    pool: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class SlowestOf:
    """The slowest statements of one server, and who measured: `pg_stat_statements`, `driver` or `nobody`."""

    target: str
    source: str
    statements: list[SlowStatement]


def target_states(databases: Databases) -> list[TargetState]:
    """Return the primary and the replicas as they are seen now."""
    return [
        TargetState("primary", "", "", True, None, None, 0, databases.primary.get_stats()),
        *(_state(replica) for replica in databases.replicas),
    ]


async def slowest_statements(databases: Databases, limit: int) -> list[SlowestOf]:
    """Return each server's slowest statements: the server's own count where it has one, else the driver's timings."""
    pools = {"primary": databases.primary, **{each.name: each.pool for each in databases.replicas}}
    found = []
    for target, pool in pools.items():
        of_server = await _of_server(pool, limit)
        timings = databases.timings.get(target)
        if of_server is not None:
            found.append(SlowestOf(target, "pg_stat_statements", of_server))
        else:
            found.append(
                SlowestOf(target, "driver" if timings else "nobody", timings.slowest(limit) if timings else [])
            )
    return found


def database_metrics(databases: Databases) -> Iterator[Metric]:
    """Yield lag, fitness and pool use by target for Prometheus."""
    states = target_states(databases)
    replicas = states[1:]
    yield _family("replica_fit", "1 when it is read", {each.target: float(each.in_use) for each in replicas})
    lags = {each.target: each.lag_seconds for each in replicas}
    yield _family("replica_lag_seconds", "Replay lag", {name: lag for name, lag in lags.items() if lag is not None})
    in_bytes = {each.target: each.lag_bytes for each in replicas}
    yield _family("replica_lag_bytes", "Log not replayed", {name: n for name, n in in_bytes.items() if n is not None})
    taken_out = CounterMetricFamily("reference_app_replica_taken_out", "Times it was taken out", labels=["target"])
    for each in replicas:
        taken_out.add_metric([each.target], each.taken_out_total)
    yield taken_out
    for name, text in _GAUGES.items():
        yield _family(name, text, {each.target: each.pool.get(name, 0) for each in states})
    for key, (name, text) in _COUNTERS.items():
        counter = CounterMetricFamily(f"reference_app_{name}", text, labels=["target"])
        for each in states:
            counter.add_metric([each.target], each.pool.get(key, 0))
        yield counter
    if databases.keeper is not None and databases.keeper.missing is not None:
        yield GaugeMetricFamily(
            "reference_app_missing_quarters", "Partitions of bookings that should exist", value=databases.keeper.missing
        )


def _family(name: str, text: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(f"reference_app_{name}", text, labels=["target"])
    for target, value in values.items():
        family.add_metric([target], value)
    return family


def _state(replica: Replica) -> TargetState:
    return TargetState(
        target=replica.name,
        purpose=replica.purpose,
        region=replica.region,
        in_use=replica.fit,
        lag_seconds=replica.lag_seconds,
        lag_bytes=replica.lag_bytes,
        taken_out_total=replica.taken_out_total,
        pool=replica.pool.get_stats(),
    )


async def _of_server(pool: Pool, limit: int) -> list[SlowStatement] | None:
    try:
        async with pool.connection(timeout=1.0) as connection:
            return await server_statements(connection, limit)
    except (psycopg.Error, PoolTimeout):
        return None
