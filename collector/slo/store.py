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
    cells = [(index, window) for index, slo in enumerate(slos) for window in (*BURN_WINDOWS, slo.window)]
    sql, parameters = slo_counts_query(service, slos, now=now)
    values = client.query_rows(sql, parameters)[0]
    counts: list[dict[timedelta, Counts]] = [{} for _ in slos]
    for position, (index, window) in enumerate(cells):
        counts[index][window] = Counts(valid=int(values[2 * position]), good=int(values[2 * position + 1]))
    return counts


def slo_counts_query(service: str, slos: Sequence[Slo], *, now: datetime) -> tuple[str, dict[str, Any]]:
    """Return the SQL and its parameters: for each SLO and window, in order, valid and good."""
    end = _minute(now) + 60
    boundary = (end - int(_MINUTES_FOR.total_seconds())) // 3600 * 3600
    longest = max(int(window.total_seconds()) for slo in slos for window in (*BURN_WINDOWS, slo.window))
    parameters: dict[str, Any] = {
        "service": service,
        "since": min((end - longest) // 3600 * 3600, boundary),
        "boundary": boundary,
        "until": end,
    }
    columns: list[str] = []
    for index, slo in enumerate(slos):
        scope, valid, good = _counted(index, slo, parameters)
        for window in (*BURN_WINDOWS, slo.window):
            start = end - int(window.total_seconds())
            if start < boundary:
                start = start // 3600 * 3600
            where = f"{scope} AND at >= fromUnixTimestamp({start})"
            columns += [valid.replace("{where}", where), good.replace("{where}", where)]
    return _COUNTS.replace("/*columns*/", ",\n  ".join(columns)), parameters


def _counted(index: int, slo: Slo, parameters: dict[str, Any]) -> tuple[str, str, str]:
    """Return (scope, valid, good) of an SLO, the last two as sums over `{where}`; adds what they name to parameters."""
    scope = ["1"]
    for name, value in (("route", slo.route), ("region", slo.region)):
        if value is not None:
            scope.append(f"{name} = {{{name}_{index}:String}}")
            parameters[f"{name}_{index}"] = value
    valid, good = "sumIf(requests, {where})", "sumIf(requests, {where} AND status < 500)"
    if slo.threshold is not None:
        parameters[f"bucket_{index}"] = threshold_bucket(slo.threshold)
        scope.append("status < 500")
        within = f"mapFilter((bucket, n) -> bucket <= {{bucket_{index}:UInt16}}, histogram)"
        valid = "sumIf(arraySum(mapValues(histogram)), {where})"  # whose duration is known
        good = f"sumIf(arraySum(mapValues({within})), {{where}})"
    return " AND ".join(scope), valid, good


_COUNTS = """
WITH rows AS (
  SELECT hour AS at, route, region, status, requests, histogram FROM red_1h
  WHERE service = {service:String}
    AND hour >= fromUnixTimestamp({since:Int64}) AND hour < fromUnixTimestamp({boundary:Int64})
  UNION ALL
  SELECT minute AS at, route, region, status, requests, histogram FROM red_1m
  WHERE service = {service:String}
    AND minute >= fromUnixTimestamp({boundary:Int64}) AND minute < fromUnixTimestamp({until:Int64})
)
SELECT /*columns*/
FROM rows"""


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
    scope, valid, good = _counted(0, slo, parameters)
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
