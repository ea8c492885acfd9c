"""What has come in the last seconds, counted from the requests themselves: newer than the newest whole step of demand.

A service whose demand is imported has none: nobody counts it as it comes. What follows from it is `scaling.present`'s.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from collector.clickhouse import Client
from forecaster.scaling.present import PRESENT, surely_came

_COUNT = """SELECT count() FROM request_events
WHERE service = {service:String}
  AND ts >= fromUnixTimestamp64Milli({since:Int64}, 'UTC') AND ts < fromUnixTimestamp64Milli({until:Int64}, 'UTC')
HAVING count() > 0"""


def read_demand_now(client: Client, service: str, *, now: datetime, settle: timedelta) -> float | None:
    """Return the requests/s of the newest PRESENT, less what may be chance; None where none came. Raises StoreError.

    settle: how long requests are on their way to the record. Both spans are of the clock in use.
    """
    until = now - settle
    since = until - PRESENT
    bounds = {name: round(at.timestamp() * 1000) for name, at in (("since", since), ("until", until))}
    rows = client.query_rows(_COUNT, {"service": service, **bounds})
    return surely_came(int(rows[0][0])) / PRESENT.total_seconds() if rows else None
