"""An SLO minute by minute, as the backtest replays it: the same counts as collector.slo.counts, in single minutes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from collector.catalog import Slo
from collector.clickhouse import Client
from collector.slo.counts import BUCKET, DIMENSIONS, Question, cut_of, raw_kept
from collector.slo.windows import MINUTE, Spans


def read_recorded_starts(client: Client, service: str, *, since: datetime, until: datetime) -> list[int]:
    """Return the start (epoch seconds) of each minute in [since, until) of which anything is recorded, ascending."""
    rows = client.query_rows(
        f"""SELECT DISTINCT toUnixTimestamp(ts) AS start FROM demand_recorded
        WHERE service = {{service:String}} AND step_seconds = {MINUTE}
          AND ts >= fromUnixTimestamp({{since:Int64}}) AND ts < fromUnixTimestamp({{until:Int64}}) ORDER BY start""",  # noqa: S608 - a constant
        {"service": service, "since": int(since.timestamp()), "until": int(until.timestamp())},
    )
    return [int(row[0]) for row in rows]


def read_slo_minutes(
    client: Client, service: str, slo: Slo, *, since: datetime, until: datetime, exclusions: Spans = ()
) -> list[list[int]]:
    """Return three columns: start of each recorded minute in [since, until) (epoch seconds), its valid and good.

    Valid and good as in read_counts_between. A minute without any valid request is absent.
    """
    first, last = int(since.timestamp()) // MINUTE * MINUTE, int(until.timestamp()) // MINUTE * MINUTE
    question = Question(service, [first, last], list(exclusions), [], ())
    scope, parameters = ["service = {service:String}"], question.parameters
    for name in DIMENSIONS:
        if (value := getattr(slo, name)) is not None:
            scope.append(f"{name} = {{{name}:String}}")
            parameters[name] = value
    cut = cut_of(slo)
    valid, good, raw = "sum(requests)", "sumIf(requests, status < 500)", ""
    if cut is not None:
        parameters.update(
            last=cut.last, most=cut.most_us, raw_since=max(first, last - int(raw_kept(client).total_seconds()))
        )
        scope.append("status < 500")
        valid = "sum(arraySum(mapValues(histogram)))"
        good = "sum(arraySum(mapValues(mapFilter((bucket, n) -> bucket <= {last:UInt16}, histogram))))"
        raw = _exact_minutes_sql(scope, question)
    sql = f"""
    SELECT start, sum(valid) AS all_valid, least(all_valid, sum(good)) FROM (
      SELECT toUnixTimestamp(minute) AS start, {valid} AS valid, {good} AS good FROM red_1m
      WHERE {" AND ".join(scope)} AND minute >= fromUnixTimestamp({{since:Int64}})
        AND minute < fromUnixTimestamp({{until:Int64}}){question.counted("minute")} GROUP BY start {raw}
    ) GROUP BY start HAVING all_valid > 0 ORDER BY start"""  # noqa: S608 - fixed names and placeholders, never input
    rows = client.query_rows(sql, parameters)
    return [[int(row[column]) for row in rows] for column in range(3)]


def _exact_minutes_sql(scope: Sequence[str], question: Question) -> str:
    return f"""
    UNION ALL SELECT toUnixTimestamp(toStartOfMinute(ts)) AS start, 0 AS valid, count() AS good FROM request_events
    WHERE {" AND ".join(scope)} AND duration_us <= {{most:UInt64}} AND {BUCKET} > {{last:UInt16}}
      AND ts >= fromUnixTimestamp({{raw_since:Int64}}) AND ts < fromUnixTimestamp({{until:Int64}})
      {question.counted("toStartOfMinute(ts)")} GROUP BY start"""  # noqa: S608 - fixed names and placeholders
