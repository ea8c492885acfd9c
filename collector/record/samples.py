"""Series and their samples as others read them. Owns the SQL of series, samples and sample_histograms.

They are written by collector.sources.samples_writer. A series and instant sent twice is one row here, merged or not.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime

from collector.clickhouse import Client
from collector.record.exponential import Exponential
from collector.record.increase import LONGEST_GAP_SECONDS, counter_increase, delta_increase, histogram_increase

_SPAN = "ts >= fromUnixTimestamp64Milli({since:Int64}) AND ts < fromUnixTimestamp64Milli({until:Int64})"


@dataclass(frozen=True, slots=True)
class SeriesInfo:
    """What a series is. kind: gauge, counter, delta, histogram or histogram_delta."""

    series_id: int
    name: str
    service: str
    kind: str
    labels: dict[str, str]
    source: str


def read_series(client: Client, *, service: str | None = None, name: str | None = None) -> list[SeriesInfo]:
    """Return the series of a service, of a name, or of both, by name and labels."""
    sql = """SELECT series_id, name, service, kind, labels, source FROM series FINAL
      WHERE ({service:String} = '' OR service = {service:String}) AND ({name:String} = '' OR name = {name:String})
      ORDER BY name, service, toString(labels), kind"""
    rows = client.query_rows(sql, {"service": service or "", "name": name or ""})
    return [SeriesInfo(row[0], row[1], row[2], row[3], dict(row[4]), row[5]) for row in rows]


def read_samples(
    client: Client, series: list[int], *, since: datetime, until: datetime
) -> dict[int, tuple[list[float], list[float]]]:
    """Return (epoch seconds, values) of each series in [since, until); a series without samples is absent."""
    sql = f"""SELECT series_id, toUnixTimestamp64Milli(ts), value FROM samples FINAL
      WHERE series_id IN {{series:Array(UInt64)}} AND {_SPAN} ORDER BY series_id, ts"""  # noqa: S608 - a constant
    found: dict[int, tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))
    for identity, ts_ms, value in client.query_rows(sql, _parameters(series, since, until)):
        found[identity][0].append(ts_ms / 1000)
        found[identity][1].append(value)
    return dict(found)


def read_histograms(
    client: Client, series: list[int], *, since: datetime, until: datetime
) -> dict[int, tuple[list[float], list[Exponential]]]:
    """Return (epoch seconds, histograms) of each series in [since, until); a series without any is absent."""
    sql = f"""SELECT series_id, toUnixTimestamp64Milli(ts), count, sum, scale, zero_threshold, zero_count, positive,
        negative, reset FROM sample_histograms FINAL
      WHERE series_id IN {{series:Array(UInt64)}} AND {_SPAN} ORDER BY series_id, ts"""  # noqa: S608 - a constant
    found: dict[int, tuple[list[float], list[Exponential]]] = defaultdict(lambda: ([], []))
    for row in client.query_rows(sql, _parameters(series, since, until)):
        found[row[0]][0].append(row[1] / 1000)
        count, total, scale, threshold, zeros, positive, negative, reset = row[2:]
        point = Exponential(count, total, scale, threshold, zeros, dict(positive), dict(negative), bool(reset))
        found[row[0]][1].append(point)
    return dict(found)


def read_increases(
    client: Client,
    series: list[SeriesInfo],
    *,
    since: datetime,
    until: datetime,
    longest_gap_seconds: float = LONGEST_GAP_SECONDS,
) -> dict[int, float | Exponential]:
    """Return what counters, deltas and histograms gained in [since, until), by series; absent: nothing is known."""
    begin, end = since.timestamp(), until.timestamp()
    wide = {"since": _moved(since, -longest_gap_seconds), "until": _moved(until, longest_gap_seconds)}
    kinds = {each.series_id: each.kind for each in series}
    gained: dict[int, float | Exponential | None] = {}
    plain = [identity for identity, kind in kinds.items() if kind in ("counter", "delta")]
    for identity, (times, values) in read_samples(client, plain, **wide).items():
        if kinds[identity] == "delta":
            gained[identity] = delta_increase(times, values, since=begin, until=end)
        else:
            gained[identity] = counter_increase(times, values, since=begin, until=end, longest_gap=longest_gap_seconds)
    rich = [identity for identity, kind in kinds.items() if kind.startswith("histogram")]
    for identity, (times, points) in read_histograms(client, rich, **wide).items():
        delta = kinds[identity] == "histogram_delta"
        gained[identity] = histogram_increase(
            times, points, since=begin, until=end, longest_gap=longest_gap_seconds, delta=delta
        )
    return {identity: gain for identity, gain in gained.items() if gain is not None}


def _parameters(series: list[int], since: datetime, until: datetime) -> dict[str, object]:
    return {"series": series, "since": int(since.timestamp() * 1000), "until": int(until.timestamp() * 1000)}


def _moved(instant: datetime, seconds: float) -> datetime:
    return datetime.fromtimestamp(instant.timestamp() + seconds, instant.tzinfo)
