"""How far database replicas lag behind, from the samples of PostgreSQL.

A primary says it of each of its standbys, and a standby of itself: each is an alert of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from collector.alerts.decide import ReplicaLag
from collector.clickhouse import Client
from collector.record.samples import SeriesInfo, read_samples, read_series

SEEN_BY_PRIMARY, SEEN_BY_STANDBY = "pg_replication_lag_seconds", "pg_replay_lag_seconds"
ALIVE = "pg_start_time_seconds"  # every server that answers its sampler says it
LOOK_BACK = timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class Newest:
    """A series and its newest sample."""

    series: SeriesInfo
    at: datetime
    value: float


def read_replica_lags(client: Client, *, now: datetime, missing_after: timedelta) -> list[ReplicaLag]:
    """Return what is known of every replica sampled in the last LOOK_BACK. Raises StoreError."""
    series = [each for name in (SEEN_BY_PRIMARY, SEEN_BY_STANDBY) for each in read_series(client, name=name)]
    if not series:
        return []
    series += read_series(client, name=ALIVE)
    samples = read_samples(client, [each.series_id for each in series], since=now - LOOK_BACK, until=now)
    newest = [
        Newest(each, datetime.fromtimestamp(times[-1], UTC), values[-1])
        for each in series
        if (found := samples.get(each.series_id)) is not None
        for times, values in [found]
    ]
    return replica_lags(newest, missing_after=missing_after)


def replica_lags(newest: Sequence[Newest], *, missing_after: timedelta) -> list[ReplicaLag]:
    """Return the lags. A standby that its primary no longer names, though it answers, does not replicate. Pure."""
    alive: Mapping[tuple[str, str], datetime] = {
        (each.series.service, each.series.labels.get("server", "")): each.at
        for each in newest
        if each.series.name == ALIVE
    }
    lags = []
    for each in newest:
        if each.series.name == ALIVE:
            continue
        service, server = each.series.service, each.series.labels.get("server", "")
        if each.series.name == SEEN_BY_STANDBY:
            lags.append(ReplicaLag(service, server, timedelta(seconds=each.value), each.at))
            continue
        replica = f"{each.series.labels.get('standby', '')} of {server}"
        answered = alive.get((service, server), each.at)
        gone = answered - each.at > missing_after
        lag = None if gone else timedelta(seconds=each.value)
        lags.append(ReplicaLag(service, replica, lag, answered if gone else each.at))
    return lags
