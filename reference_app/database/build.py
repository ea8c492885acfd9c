"""Makes the router from the settings: the composition root calls it, and so do the tests."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from reference_app.database.keeper import PartitionKeeper
from reference_app.database.pools import Pool, open_pool
from reference_app.database.replica import Replica
from reference_app.database.router import Databases
from reference_app.database.settings import DatabaseSettings
from reference_app.database.statements import StatementTimings


def databases_of(settings: DatabaseSettings, *, instance: str, now: Callable[[], datetime]) -> Databases:
    """Return the router over these servers, not yet opened. now: the clock in use."""
    timings: dict[str, StatementTimings] = {}

    def pool(target: str, url: str, *, read_only: bool) -> Pool:
        if settings.statement_timings:
            timings[target] = StatementTimings()
        return open_pool(
            url,
            name=f"{instance} {target}",
            read_only=read_only,
            terms=settings.pool,
            timings=timings.get(target),
            session_options=settings.session_options,
        )

    replicas = []
    for each in settings.replicas if settings.read_replicas else ():
        name = f"replica-{each.purpose}" if each.purpose else "replica"
        own = pool(name, each.url, read_only=True)
        replicas.append(Replica(own, name=name, purpose=each.purpose, region=each.region))
    return Databases(
        pool("primary", settings.primary_url, read_only=False),
        replicas,
        max_lag_seconds=settings.max_lag_seconds,
        read_your_writes=settings.read_your_writes,
        replica_checks=settings.replica_checks,
        close_seconds=settings.pool.close_seconds,
        keeper=PartitionKeeper(now) if settings.make_partitions else None,
        timings=timings,
    )
