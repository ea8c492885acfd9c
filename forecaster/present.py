"""What has come in the last seconds, counted from the requests themselves: newer than the newest whole step of demand.

A service whose demand is imported has none: nobody counts it as it comes. What follows from it is `scaling.present`'s.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from collector.clickhouse import Client
from collector.record.store import count_requests
from forecaster.scaling.present import PRESENT, surely_came


def read_demand_now(client: Client, service: str, *, now: datetime, settle: timedelta) -> float | None:
    """Return the requests/s of the newest PRESENT, less what may be chance; None where none came. Raises StoreError.

    settle: how long requests are on their way to the record. Both spans are of the clock in use.
    """
    until = now - settle
    since = until - PRESENT
    count = count_requests(client, service, since=since, until=until)
    return surely_came(count) / PRESENT.total_seconds() if count else None
