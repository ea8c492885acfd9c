"""CPU per request: what a service's processes used, beside the requests it answered in the same time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from collector.clickhouse import Client
from collector.record.samples import SeriesInfo, read_increases, read_series

CPU_NAMES = ("process_cpu_seconds_total", "process.cpu.time")
SOURCES = ("sampler", "remote_write", "otlp")  # the first that tells anything: the same process may be told of twice
_REQUESTS = """SELECT sum(requests), argMax(version, requests) FROM (
  SELECT version, toUInt64(count()) AS requests FROM request_events WHERE service = {service:String}
    AND ts >= fromUnixTimestamp64Milli({since:Int64}) AND ts < fromUnixTimestamp64Milli({until:Int64})
  GROUP BY version)"""
_REQUESTS_BY_MINUTE = """SELECT sum(n), argMax(version, n) FROM (
  SELECT version, sum(requests) AS n FROM red_1m WHERE service = {service:String}
    AND minute >= fromUnixTimestamp(intDiv({since:Int64}, 1000))
    AND minute < fromUnixTimestamp(intDiv({until:Int64}, 1000))
  GROUP BY version)"""


@dataclass(frozen=True, slots=True)
class CpuUse:
    """cpu_seconds: of all replicas in the span, None when nobody told. version: which answered the most requests."""

    cpu_seconds: float | None
    requests: int
    version: str | None

    @property
    def cpu_seconds_per_request(self) -> float | None:
        """The quotient; None without requests, or without knowledge of the CPU."""
        return self.cpu_seconds / self.requests if self.cpu_seconds is not None and self.requests else None


def read_cpu_use(
    client: Client, service: str, *, since: datetime, until: datetime, longest_gap_seconds: float
) -> CpuUse:
    """Return the use of CPU in [since, until). Requests are counted by the minute where single events are gone.

    longest_gap_seconds: two samples further apart than this do not tell how much lies on either side of a border.
    """
    span = {
        "service": service,
        "since": int(since.timestamp() * 1000),
        "until": int(until.timestamp() * 1000),
    }
    requests, version = client.query_rows(_REQUESTS, span)[0]
    if not requests:
        requests, version = client.query_rows(_REQUESTS_BY_MINUTE, span)[0]
    series = [each for name in CPU_NAMES for each in read_series(client, service=service, name=name)]
    cpu_seconds = None
    for source in SOURCES:
        told: list[SeriesInfo] = [each for each in series if each.source == source]
        gained = read_increases(client, told, since=since, until=until, longest_gap_seconds=longest_gap_seconds)
        if gained:
            cpu_seconds = sum(value for value in gained.values() if isinstance(value, float))
            break
    return CpuUse(cpu_seconds, int(requests), version if requests else None)
