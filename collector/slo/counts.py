"""Counts of valid and good requests between any instants: all SLOs of a service over all their spans in one query.

Whole hours come from the hours' table; hours that hold the edge of a span or a part of an exclusion, from the minutes'.
Where the minutes are no longer kept, edges go back to their hour and excluded hours are left out whole. A latency
threshold inside a bucket counts the bucket as too slow; the raw events, as long as they are kept, say which of its
requests were not.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from collector.catalog import Slo
from collector.clickhouse import Client
from collector.slo.objectives import Counts, threshold_bucket
from collector.slo.windows import HOUR, MINUTE, Spans, hours_to_read_by_minute, merged

# What the tables keep without a setting, in days. The last day is not counted on: its rows may be gone already.
_RAW_DAYS, _MINUTES_DAYS = 8, 95
_MOST_RANGES = 50
_FOUND_BY_INSTANT = 2 * 86_400
DIMENSIONS = ("route", "region", "version")
Scope = tuple[str | None, ...]  # route, region, version; None: any


def raw_kept(client: Client) -> timedelta:
    """Return how far back the events themselves are surely there."""
    return timedelta(days=client.retention_days.get("request_events", _RAW_DAYS) - 1)


def minutes_kept(client: Client) -> timedelta:
    """Return how far back single minutes are surely there."""
    return timedelta(days=client.retention_days.get("red_1m", _MINUTES_DAYS) - 1)


@dataclass(frozen=True, slots=True)
class Cut:
    """A latency threshold: buckets up to `last` surely stay within `most_us` microseconds."""

    last: int
    most_us: int


@dataclass(slots=True)
class _Tally:
    """Counts of one scope between each edge and the next. None: availability; else by Cut."""

    valid: dict[Cut | None, list[int]] = field(default_factory=dict)
    good: dict[Cut | None, list[int]] = field(default_factory=dict)

    def add(self, cut: Cut | None, rank: int, *, valid: int, good: int, ranks: int) -> None:
        self.valid.setdefault(cut, [0] * ranks)[rank] += valid
        self.good.setdefault(cut, [0] * ranks)[rank] += good


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of the store: edges ascending; fine: hours read by the minute; dims: columns that matter.

    named: the values of a column beside which no other one matters.
    """

    service: str
    edges: list[int]
    exclusions: list[tuple[int, int]]
    fine: list[int]
    dims: tuple[str, ...]
    named: dict[str, list[str]] = field(default_factory=dict)

    @property
    def parameters(self) -> dict[str, Any]:
        """Return the parameters of the queries below."""
        return {
            "service": self.service,
            "edges": self.edges,
            "since": self.edges[0],
            "until": self.edges[-1],
            "fine": self.fine,
            "excluded_from": [start for start, _ in self.exclusions],
            "excluded_to": [end for _, end in self.exclusions],
            **{f"only_{name}": values for name, values in self.named.items()},
        }

    def only_named(self) -> str:
        """Return the SQL that leaves out what no SLO is about."""
        return "".join(f" AND has({{only_{name}:Array(String)}}, {name})" for name in self.named)

    def rank(self, edge: int) -> int:
        """Return r for what lies from edge r-1 to the next."""
        return bisect_left(self.edges, edge) + 1

    def fine_minutes(self) -> str:
        """Return the SQL that takes the minutes of the fine hours: as ranges, for these let the table's index skip."""
        hours = merged((hour, hour + HOUR) for hour in self.fine)
        if len(hours) > _MOST_RANGES:
            return "has({fine:Array(Int64)}, toUnixTimestamp(toStartOfHour(minute)))"
        ranges = [
            f"(minute >= fromUnixTimestamp({start:d}) AND minute < fromUnixTimestamp({end:d}))" for start, end in hours
        ]
        return f"({' OR '.join(ranges)})" if ranges else "0"

    def counted(self, column: str) -> str:
        """Return the SQL that leaves out excluded instants; nothing where there are none."""
        if not self.exclusions:
            return ""
        at = f"toUnixTimestamp({column})"
        inside = f"(first, last) -> {at} >= first AND {at} < last"
        return f" AND NOT arrayExists({inside}, {{excluded_from:Array(Int64)}}, {{excluded_to:Array(Int64)}})"


def read_counts_between(
    client: Client,
    service: str,
    slos: Sequence[Slo],
    spans: Sequence[Sequence[tuple[int, int]]],
    *,
    exclusions: Spans = (),
) -> list[list[Counts]]:
    """Return for each SLO the counts in each of its spans ([start, end), epoch seconds of whole minutes)."""
    instants = {instant for each in spans for span in each for instant in span}
    if not instants:
        return [[] for _ in spans]
    question, moved = _question(service, slos, instants, exclusions, kept=minutes_kept(client))
    cuts = {cut for slo in slos if (cut := cut_of(slo)) is not None}
    rows = client.query_rows(_rollup_sql(question, histograms=bool(cuts)), question.parameters)
    tallies = _tallied(rows, slos, cuts, question)
    inside = [cut for cut in cuts if cut.most_us > _edge_us(cut)]
    if inside:
        _add_exact(tallies, _read_exact(client, question, inside), slos, question)
    return [
        [_between(tallies[scope_of(slo)], cut_of(slo), question.edges, moved[start], moved[end]) for start, end in own]
        for slo, own in zip(slos, spans, strict=True)
    ]


def _question(
    service: str, slos: Sequence[Slo], instants: set[int], exclusions: Spans, *, kept: timedelta
) -> tuple[Question, dict[int, int]]:
    """Return the question, and where each instant was moved to: to its hour where minutes are no longer kept."""
    oldest = (max(instants) - int(kept.total_seconds())) // HOUR * HOUR
    moved = {instant: instant if instant >= oldest else instant // HOUR * HOUR for instant in instants}
    edges = sorted(set(moved.values()))
    near = [span for span in exclusions if span[1] > edges[0] and span[0] < edges[-1]]
    old = merged([(start, min(end, oldest)) for start, end in near if start < oldest], step=HOUR)
    excluded = merged([*old, *((max(start, oldest), end) for start, end in near if end > oldest)])
    fine = [hour for hour in hours_to_read_by_minute(edges, excluded) if hour >= oldest]
    values = {name: {getattr(slo, name) for slo in slos} for name in DIMENSIONS}
    dims = tuple(name for name in DIMENSIONS if values[name] != {None})
    named = {name: sorted(values[name]) for name in dims if None not in values[name]}
    return Question(service, edges, excluded, fine, dims, named), moved


def cut_of(slo: Slo) -> Cut | None:
    """Return the cut of a latency SLO; None for availability."""
    if slo.threshold is None:
        return None
    return Cut(threshold_bucket(slo.threshold), int(slo.threshold / timedelta(microseconds=1)))


def scope_of(slo: Slo) -> Scope:
    """Return which requests an SLO is about."""
    return (slo.route, slo.region, slo.version)


def _edge_us(cut: Cut) -> int:
    return int(2.0 ** (cut.last / 8))


# The bucket by the same expression as in the views: a float's rounding must not count a request twice.
BUCKET = "toUInt16(ceil(log2(greatest(duration_us, 1)) * 8))"
_EDGE = "roundDown(toInt64(toUnixTimestamp({at})), {{edges:Array(Int64)}}) AS edge"  # the last one not after it


def _rollup_sql(question: Question, *, histograms: bool) -> str:
    names = ", ".join(("route", "region", "version"))
    dims = ", ".join(name if name in question.dims else f"'' AS {name}" for name in DIMENSIONS)
    buckets = "sumMap(histogram)" if histograms else "map()"
    histogram = ", histogram" if histograms else ""
    return f"""
    SELECT {_EDGE.format(at="at")}, status < 500 AS answered, sum(requests), {buckets}, {names}
    FROM (
      SELECT hour AS at, {dims}, status, requests{histogram} FROM red_1h
      WHERE service = {{service:String}}{question.only_named()}
        AND NOT has({{fine:Array(Int64)}}, toUnixTimestamp(hour))
        AND hour >= fromUnixTimestamp({{since:Int64}}) AND hour < fromUnixTimestamp({{until:Int64}})
        {question.counted("hour")}
      UNION ALL
      SELECT minute AS at, {dims}, status, requests{histogram} FROM red_1m
      WHERE service = {{service:String}}{question.only_named()} AND {question.fine_minutes()}
        AND minute >= fromUnixTimestamp({{since:Int64}}) AND minute < fromUnixTimestamp({{until:Int64}})
        {question.counted("minute")}
    )
    GROUP BY edge, answered, route, region, version"""  # noqa: S608 - fixed names and placeholders, never input


def _tallied(
    rows: Iterable[tuple[Any, ...]], slos: Sequence[Slo], cuts: set[Cut], question: Question
) -> dict[Scope, _Tally]:
    tallies = {scope_of(slo): _Tally() for slo in slos}
    patterns = {tuple(part is not None for part in scope) for scope in tallies}
    ranks = len(question.edges) + 1
    for edge, answered, requests, histogram, *dims in rows:
        rank = question.rank(edge)
        known = sum(histogram.values()) if answered else 0
        within = {cut: sum(n for bucket, n in histogram.items() if bucket <= cut.last) for cut in cuts if answered}
        for tally in _matching(tallies, patterns, dims):
            tally.add(None, rank, valid=requests, good=requests if answered else 0, ranks=ranks)
            for cut, good in within.items():
                tally.add(cut, rank, valid=known, good=good, ranks=ranks)
    return tallies


def _matching(
    tallies: dict[Scope, _Tally], patterns: Iterable[tuple[bool, ...]], dims: Sequence[str]
) -> Iterable[_Tally]:  # fmt: skip
    for pattern in patterns:
        scope = tuple(value if named else None for value, named in zip(dims, pattern, strict=True))
        if scope in tallies:
            yield tallies[scope]


def _read_exact(client: Client, question: Question, cuts: Sequence[Cut]) -> list[tuple[Any, ...]]:
    """Return `edge, cut, count, dims`: requests of the cuts' own buckets that stayed within their thresholds."""
    until = question.edges[-1]
    since = max(question.edges[0], until - int(raw_kept(client).total_seconds()))
    dims = ", ".join(name if name in question.dims else f"'' AS {name}" for name in DIMENSIONS)
    # Durations leave the fewest events over, so they are looked at first: left to itself the store begins with the
    # column that is smallest on disk, the minute, and with what is excluded of it.
    # The table is sorted by the instant: a few days are found by it; of many it would be one more column to read.
    by_instant = "AND ts >= fromUnixTimestamp({raw_since:Int64})" if until - since <= _FOUND_BY_INSTANT else ""
    sql = f"""
    SELECT {_EDGE.format(at="minute")},
      sumForEach(arrayMap((last, most) -> toUInt64({BUCKET} > last AND duration_us <= most),
        {{lasts:Array(UInt16)}}, {{mosts:Array(UInt64)}})), {dims}
    FROM request_events
    PREWHERE duration_us >= {{least:UInt64}} AND duration_us <= {{most:UInt64}}
    WHERE service = {{service:String}}{question.only_named()} AND status < 500
      AND minute >= fromUnixTimestamp({{raw_since:Int64}}) AND minute < fromUnixTimestamp({{until:Int64}})
      {by_instant}{question.counted("minute")}
    GROUP BY edge, route, region, version"""  # noqa: S608 - fixed names and placeholders, never input
    parameters = {
        **question.parameters,
        "raw_since": since,
        "lasts": [cut.last for cut in cuts],
        "mosts": [cut.most_us for cut in cuts],
        "least": min(_edge_us(cut) for cut in cuts),
        "most": max(cut.most_us for cut in cuts),
    }
    rows = client.query_rows(sql, parameters)
    return [
        (edge, cut, good, *names)
        for edge, goods, *names in rows
        for cut, good in zip(cuts, goods, strict=True)
        if good
    ]  # fmt: skip


def _add_exact(
    tallies: dict[Scope, _Tally], rows: Iterable[tuple[Any, ...]], slos: Sequence[Slo], question: Question
) -> None:
    patterns = {tuple(part is not None for part in scope_of(slo)) for slo in slos}
    ranks = len(question.edges) + 1
    for edge, cut, good, *dims in rows:
        for tally in _matching(tallies, patterns, dims):
            tally.add(cut, question.rank(edge), valid=0, good=good, ranks=ranks)


def _between(tally: _Tally, cut: Cut | None, edges: list[int], start: int, end: int) -> Counts:
    """Return the counts of [start, end): rank r holds what lies from edge r-1 to the next."""
    first, last = bisect_left(edges, start) + 1, bisect_left(edges, end) + 1
    valid = sum(tally.valid.get(cut, ())[first:last])
    return Counts(valid=valid, good=min(valid, sum(tally.good.get(cut, ())[first:last])))


def read_recorded_minutes(
    client: Client, service: str, spans: Sequence[tuple[int, int]], *, exclusions: Spans = ()
) -> list[int]:
    """Return how many minutes of each span are in the record (known to have had no request: in it, too)."""
    if not spans:
        return []
    edges = sorted({instant for span in spans for instant in span})
    question = Question(service, edges, list(exclusions), [], ())
    sql = f"""
    SELECT {_EDGE.format(at="ts")}, uniqExact(ts) FROM demand_recorded
    WHERE service = {{service:String}} AND step_seconds = {MINUTE}
      AND ts >= fromUnixTimestamp({{since:Int64}}) AND ts < fromUnixTimestamp({{until:Int64}}){question.counted("ts")}
    GROUP BY edge"""  # noqa: S608 - fixed names and placeholders, never input
    by_edge = dict(client.query_rows(sql, question.parameters))
    return [
        sum(by_edge.get(edge, 0) for edge in edges[bisect_left(edges, start) : bisect_left(edges, end)])
        for start, end in spans
    ]
