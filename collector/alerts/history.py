"""Which alerts fired when, from the changes that the collector stored. Owns no table: see `store`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from collector.clickhouse import Client

_SQL = """SELECT alert_id, service, name, any(severity), min(at) AS fired, argMax(summary, at)
  FROM (SELECT alert_id, service, name, severity, at, summary, phase,
      countIf(phase = 'resolved') OVER (PARTITION BY alert_id ORDER BY at ROWS BETWEEN UNBOUNDED PRECEDING
        AND 1 PRECEDING) AS life
    FROM alert_changes WHERE ({service:String} = '' OR service = {service:String})
      AND at >= fromUnixTimestamp64Micro({since:Int64}) AND at < fromUnixTimestamp64Micro({until:Int64}))
  WHERE phase = 'firing' GROUP BY alert_id, service, name, life ORDER BY fired DESC LIMIT {limit:UInt32}"""


@dataclass(frozen=True, slots=True)
class FiredAlert:
    """One life of an alert that was firing: since when it was, as far as the span that was asked for tells."""

    alert_id: str
    service: str
    name: str
    severity: str
    fired_at: datetime
    summary: str


def read_fired(
    client: Client, service: str | None = None, *, since: datetime, until: datetime, limit: int = 100
) -> list[FiredAlert]:
    """Return the newest alerts that began to fire, or were told of firing, in [since, until), newest first."""
    parameters = {
        "service": service or "",
        "since": round(since.timestamp() * 1e6),
        "until": round(until.timestamp() * 1e6),
        "limit": limit,
    }
    return [
        FiredAlert(row[0], row[1], row[2], row[3], _utc(row[4]), row[5]) for row in client.query_rows(_SQL, parameters)
    ]


def _utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
