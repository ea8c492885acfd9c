"""The counts SLOs are computed from: all SLOs of a service over all their windows, in one query.

The newest three days come from the minutes, what is older from the hours: a window longer than that starts at a whole
hour. The arithmetic stands in collector.slo.objectives.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd

from collector.catalog import ClassicRule, Service, Slo
from collector.clickhouse import Client
from collector.slo.objectives import (
    BURN_WINDOWS,
    ClassicStatus,
    Counts,
    RouteTotals,
    SloStatus,
    classic_status,
    status_of,
    threshold_bucket,
)

_MINUTES_FOR = timedelta(days=3)


def read_slo_statuses(client: Client, service: Service, *, now: datetime) -> list[SloStatus]:
    """Return how every SLO of a service stands at `now` (the minute under way included)."""
    if not service.slos:
        return []
    counts = read_slo_counts(client, service.name, service.slos, now=now)
    return [status_of(slo, by_window) for slo, by_window in zip(service.slos, counts, strict=True)]


def read_slo_counts(
    client: Client, service: str, slos: Sequence[Slo], *, now: datetime
) -> list[dict[timedelta, Counts]]:
    """Return counts by window for each SLO: over BURN_WINDOWS and its own window, all ending at `now`.

    Valid for availability: every request; for latency: every answered one (status < 500) whose duration is known, for a
    fast refusal is no fast answer.
    """
    windows = sorted({window for slo in slos for window in (*BURN_WINDOWS, slo.window)})
    starts, boundary, end = _window_starts(windows, now)
    rows = client.query_rows(
        _COUNTS,
        {
            "service": service,
            "starts": sorted(set(starts.values())),
            "since": min(*starts.values(), boundary),
            "boundary": boundary,
            "until": end,
        },
    )
    ranks = {start: rank for rank, start in enumerate(sorted(set(starts.values())), 1)}
    return [
        {window: _counted(slo, rows, since_rank=ranks[starts[window]]) for window in (*BURN_WINDOWS, slo.window)}
        for slo in slos
    ]


def _window_starts(windows: Sequence[timedelta], now: datetime) -> tuple[dict[timedelta, int], int, int]:
    """Return where each window starts, where the hours end and the minutes begin, and the end (epoch seconds)."""
    end = _minute(now) + 60
    boundary = (end - int(_MINUTES_FOR.total_seconds())) // 3600 * 3600
    starts = {window: end - int(window.total_seconds()) for window in windows}
    floored = {window: start if start >= boundary else start // 3600 * 3600 for window, start in starts.items()}
    return floored, boundary, end


def _counted(slo: Slo, rows: Sequence[tuple[Any, ...]], *, since_rank: int) -> Counts:
    """Return the counts of one SLO in the window whose start has this rank among all starts."""
    valid = good = 0
    last = None if slo.threshold is None else threshold_bucket(slo.threshold)
    for rank, route, region, answered, requests, histogram in rows:
        if rank < since_rank or slo.route not in (None, route) or slo.region not in (None, region):
            continue
        if last is None:
            valid += requests
            good += requests if answered else 0
        elif answered:  # whose duration is known
            valid += sum(histogram.values())
            good += sum(count for bucket, count in histogram.items() if bucket <= last)
    return Counts(valid=valid, good=good)


def _sums_of(slo: Slo, parameters: dict[str, Any]) -> tuple[str, str, str]:
    """Return (scope, valid, good) of an SLO, the last two as sums over `{where}`; adds what they name to parameters."""
    scope = ["1"]
    for name, value in (("route", slo.route), ("region", slo.region)):
        if value is not None:
            scope.append(f"{name} = {{{name}:String}}")
            parameters[name] = value
    valid, good = "sumIf(requests, {where})", "sumIf(requests, {where} AND status < 500)"
    if slo.threshold is not None:
        parameters["last_bucket"] = threshold_bucket(slo.threshold)
        scope.append("status < 500")
        within = "mapFilter((bucket, n) -> bucket <= {last_bucket:UInt16}, histogram)"
        valid = "sumIf(arraySum(mapValues(histogram)), {where})"  # whose duration is known
        good = f"sumIf(arraySum(mapValues({within})), {{where}})"
    return " AND ".join(scope), valid, good


# Windows all end together, so a row belongs to those that start at or before it: `rank` counts them; one small group
# per rank, route and region is all that leaves the store.
_COUNTS = """
SELECT arrayCount(start -> toUnixTimestamp(at) >= start, {starts:Array(Int64)}) AS rank, route, region,
  status < 500 AS answered, sum(requests), sumMap(histogram)
FROM (
  SELECT hour AS at, route, region, status, requests, histogram FROM red_1h
  WHERE service = {service:String}
    AND hour >= fromUnixTimestamp({since:Int64}) AND hour < fromUnixTimestamp({boundary:Int64})
  UNION ALL
  SELECT minute AS at, route, region, status, requests, histogram FROM red_1m
  WHERE service = {service:String}
    AND minute >= fromUnixTimestamp({boundary:Int64}) AND minute < fromUnixTimestamp({until:Int64})
)
GROUP BY rank, route, region, answered"""


def read_sli_series(
    client: Client, service: str, slo: Slo, *, since: datetime, until: datetime, step: timedelta
) -> pd.DataFrame:
    """Return `ds, valid, good, sli` of one SLO per step in [since, until): what counts is as in read_slo_counts.

    A step (of whole minutes) without a valid request has no row.
    """
    step_seconds = int(step.total_seconds())
    if step_seconds < 60 or step_seconds % 60:
        raise ValueError(f"expected a step of whole minutes, got {step}")
    table, column = ("red_1h", "hour") if step_seconds % 3600 == 0 else ("red_1m", "minute")
    parameters: dict[str, Any] = {
        "service": service,
        "step": step_seconds,
        "since": int(since.timestamp()),
        "until": int(until.timestamp()),
    }
    scope, valid, good = _sums_of(slo, parameters)
    sql = f"""
    SELECT toInt64(intDiv(toUnixTimestamp({column}), {{step:UInt32}}) * {{step:UInt32}}) AS start,
      {valid.replace("{where}", scope)} AS valid, {good.replace("{where}", scope)} AS good
    FROM {table}
    WHERE service = {{service:String}}
      AND {column} >= fromUnixTimestamp({{since:Int64}}) AND {column} < fromUnixTimestamp({{until:Int64}})
    GROUP BY start HAVING valid > 0 ORDER BY start"""  # noqa: S608 - fixed names and placeholders, never input
    rows = client.query_rows(sql, parameters)
    starts = pd.to_datetime(pd.Series([row[0] for row in rows], dtype="int64"), unit="s", utc=True)
    counts = {
        name: pd.Series([row[index] for row in rows], dtype="int64") for index, name in ((1, "valid"), (2, "good"))
    }
    return pd.DataFrame({"ds": starts.dt.as_unit("us"), **counts, "sli": counts["good"] / counts["valid"]})


def read_classic(client: Client, service: str, rule: ClassicRule, *, now: datetime) -> list[ClassicStatus]:
    """Return every route that had requests in the rule's window, with what it exceeded."""
    end = _minute(now) + 60
    rows = client.query_rows(
        """SELECT route, sum(requests), sumIf(requests, status >= 500), sum(duration_us_sum) FROM red_1m
        WHERE service = {service:String}
          AND minute >= fromUnixTimestamp({since:Int64}) AND minute < fromUnixTimestamp({until:Int64})
        GROUP BY route ORDER BY route""",
        {"service": service, "since": end - int(rule.window.total_seconds()), "until": end},
    )
    totals = (RouteTotals(row[0], int(row[1]), int(row[2]), timedelta(microseconds=int(row[3]))) for row in rows)
    judged = (classic_status(rule, each) for each in totals)
    return [status for status in judged if status is not None]


def _minute(now: datetime) -> int:
    return int(now.astimezone(UTC).timestamp()) // 60 * 60


def read_slo_minutes(client: Client, service: str, slo: Slo, *, since: datetime, until: datetime) -> list[list[int]]:
    """Return three columns: start of each recorded minute in [since, until) (epoch seconds), its valid and good.

    Valid and good as in read_slo_counts. A minute without any valid request is absent.
    """
    scope, parameters = ["service = {service:String}"], {"service": service}
    values: dict[str, Any] = {"since": int(since.timestamp()), "until": int(until.timestamp())}
    for name, value in (("route", slo.route), ("region", slo.region)):
        if value is not None:
            scope.append(f"{name} = {{{name}:String}}")
            parameters[name] = value
    valid, good = "sum(requests)", "sumIf(requests, status < 500)"
    if slo.threshold is not None:
        scope.append("status < 500")
        values["bucket"] = threshold_bucket(slo.threshold)
        valid = "sum(arraySum(mapValues(histogram)))"
        good = "sum(arraySum(mapValues(mapFilter((bucket, n) -> bucket <= {bucket:UInt16}, histogram))))"
    rows = client.query_rows(
        f"SELECT toUnixTimestamp(minute) AS start, {valid} AS valid, {good} FROM red_1m"  # noqa: S608 - our own text
        f" WHERE {' AND '.join(scope)} AND minute >= fromUnixTimestamp({{since:Int64}})"
        " AND minute < fromUnixTimestamp({until:Int64}) GROUP BY start HAVING valid > 0 ORDER BY start",
        {**parameters, **values},
    )
    return [[int(row[column]) for row in rows] for column in range(3)]
