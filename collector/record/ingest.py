"""What was stored, beside what clients say they generated: the books of the record.

Owns the SQL of event_batches and the counting of request_events; the writing of both stands in collector.sources.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from collector.clickhouse import Client


@dataclass(frozen=True, slots=True)
class IngestCounts:
    """Requests in a span of time. All equal and dropped, duplicates zero: nothing lost, nothing counted twice.

    generated: what clients counted; dropped: what they say they had to throw away; acknowledged: what the collector
    confirmed; stored: rows in the record; duplicates: stored rows that equal another in instance, time, route and
    duration.
    """

    generated: int
    acknowledged: int
    stored: int
    dropped: int
    duplicates: int


def read_ingest_counts(client: Client, *, since: datetime, until: datetime, service: str | None = None) -> IngestCounts:
    """Return the books of [since, until), of one service or of all.

    A client's counters run from its own start: for generated and dropped to mean this span, the clients must have
    started inside it.
    """
    parameters = {
        "since": int(since.timestamp() * 1_000_000),
        "until": int(until.timestamp() * 1_000_000),
        "service": service or "",
    }
    batches = """
    SELECT sum(generated), sum(dropped), sum(acknowledged) FROM (
      SELECT client_id, max(generated_total) AS generated, max(dropped_total) AS dropped, sum(events) AS acknowledged
      FROM (
        SELECT batch_id, any(client_id) AS client_id, any(events) AS events, any(generated_total) AS generated_total,
          any(dropped_total) AS dropped_total
        FROM event_batches
        WHERE received_at >= fromUnixTimestamp64Micro({since:Int64})
          AND received_at < fromUnixTimestamp64Micro({until:Int64})
          AND ({service:String} = '' OR service = {service:String})
        GROUP BY batch_id)
      GROUP BY client_id)"""
    events = """
    SELECT count(), uniqExact(instance, ts, route, duration_us) FROM request_events
    WHERE ts >= fromUnixTimestamp64Micro({since:Int64}) AND ts < fromUnixTimestamp64Micro({until:Int64})
      AND ({service:String} = '' OR service = {service:String})"""
    generated, dropped, acknowledged = client.query_rows(batches, parameters)[0]
    stored, distinct = client.query_rows(events, parameters)[0]
    return IngestCounts(
        generated=int(generated),
        acknowledged=int(acknowledged),
        stored=int(stored),
        dropped=int(dropped),
        duplicates=int(stored) - int(distinct),
    )
