"""The counts SLOs are computed from, for any spans of time, and what is said about them.

The reads of counts stand in collector.slo.counts; here they become windows. The arithmetic: collector.slo.objectives.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any

import pandas as pd

from collector.catalog import ClassicRule, Service, Slo
from collector.clickhouse import Client
from collector.record.store import excluded_spans
from collector.slo.counts import raw_kept, read_counts_between, read_recorded_minutes
from collector.slo.objectives import (
    BURN_WINDOWS,
    ClassicStatus,
    Counts,
    Measured,
    RouteTotals,
    SloStatus,
    StatusTotals,
    classic_status,
    exact_since,
    status_of,
)
from collector.slo.windows import MINUTE, Spans, end_of_minute, merged, overlap, window_span


def read_exclusions(client: Client, service: str, *, since: datetime, until: datetime) -> list[tuple[int, int]]:
    """Return the spans in [since, until) that markers take out of SLOs: epoch seconds of whole minutes, apart."""
    spans = excluded_spans(client, service, since=since, until=until)
    # Outwards: a minute is excluded whole where any of it is.
    return merged((math.floor(start.timestamp()), math.ceil(end.timestamp())) for start, end in spans)


def read_slo_statuses(client: Client, service: Service, *, now: datetime) -> list[SloStatus]:
    """Return how every SLO of a service stands at `now` (the minute under way included)."""
    if not service.slos:
        return []
    end = end_of_minute(now)
    spans = [window_span(slo, end) for slo in service.slos]
    since = datetime.fromtimestamp(min(span.start for span in spans), UTC)
    exclusions = read_exclusions(client, service.name, since=since, until=datetime.fromtimestamp(end, UTC))
    counts = read_slo_counts(client, service.name, service.slos, now=now, exclusions=exclusions)
    recorded = read_recorded_minutes(
        client, service.name, [(span.start, span.end) for span in spans], exclusions=exclusions
    )
    raw_since = end - int(raw_kept(client).total_seconds())
    statuses = []
    for slo, by_window, span, minutes in zip(service.slos, counts, spans, recorded, strict=True):
        excluded = overlap(exclusions, span.start, span.end)
        measured = Measured(
            span=span,
            recorded=minutes,
            expected=(span.end - span.start - excluded) // MINUTE,
            excluded=timedelta(seconds=excluded),
            exact_since=exact_since(slo, span, raw_since=raw_since),
        )
        statuses.append(status_of(slo, by_window, measured))
    return statuses


def read_slo_counts(
    client: Client,
    service: str,
    slos: Sequence[Slo],
    *,
    now: datetime,
    windows: Sequence[timedelta] = BURN_WINDOWS,
    own_window: bool = True,
    exclusions: Spans = (),
) -> list[dict[timedelta, Counts]]:
    """Return counts by window for each SLO: over `windows` and its own window, all ending with the minute of `now`.

    Valid for availability: every request; for latency: every answered one (status < 500) whose duration is known, for a
    fast refusal is no fast answer. exclusions: whole minutes that do not count.
    """
    end = end_of_minute(now)
    burns = {window: (end - int(window.total_seconds()), end) for window in windows}
    spans = []
    for slo in slos:
        own = window_span(slo, end)
        spans.append({**burns, slo.window: (own.start, own.end)} if own_window else burns)
    counts = read_counts_between(client, service, slos, [list(each.values()) for each in spans], exclusions=exclusions)
    return [dict(zip(each, counted, strict=True)) for each, counted in zip(spans, counts, strict=True)]


def read_sli_series(
    client: Client, service: str, slo: Slo, *, since: datetime, until: datetime, step: timedelta
) -> pd.DataFrame:
    """Return `ds, valid, good, sli` of one SLO per step in [since, until): what counts is as in read_slo_counts.

    Steps (of whole minutes) begin at multiples of the step; one without a valid request has no row.
    """
    step_seconds = int(step.total_seconds())
    if step_seconds < 60 or step_seconds % 60:
        raise ValueError(f"expected a step of whole minutes, got {step}")
    first, last = int(since.timestamp()) // MINUTE * MINUTE, int(until.timestamp()) // MINUTE * MINUTE
    starts = range(first // step_seconds * step_seconds, last, step_seconds)
    spans = [(max(first, start), min(last, start + step_seconds)) for start in starts]
    exclusions = read_exclusions(client, service, since=since, until=until)
    (counts,) = read_counts_between(client, service, [slo], [spans], exclusions=exclusions)
    rows = [(start, each.valid, each.good) for start, each in zip(starts, counts, strict=True) if each.valid]
    ds = pd.to_datetime(pd.Series([row[0] for row in rows], dtype="int64"), unit="s", utc=True)
    valid = pd.Series([row[1] for row in rows], dtype="int64")
    good = pd.Series([row[2] for row in rows], dtype="int64")
    return pd.DataFrame({"ds": ds.dt.as_unit("us"), "valid": valid, "good": good, "sli": good / valid})


def read_classic(client: Client, service: str, rule: ClassicRule, *, now: datetime) -> list[ClassicStatus]:
    """Return every route that had requests in the rule's window, by status, with what it exceeded."""
    end = end_of_minute(now)
    rows = client.query_rows(
        """SELECT route, status, sum(requests) AS n, sum(duration_us_sum) FROM red_1m
        WHERE service = {service:String}
          AND minute >= fromUnixTimestamp({since:Int64}) AND minute < fromUnixTimestamp({until:Int64})
        GROUP BY route, status HAVING n > 0 ORDER BY route, status""",
        {"service": service, "since": end - int(rule.window.total_seconds()), "until": end},
    )
    totals = (_route_totals(route, list(group)) for route, group in groupby(rows, key=lambda row: str(row[0])))
    judged = (classic_status(rule, each) for each in totals)
    return [status for status in judged if status is not None]


def _route_totals(route: str, rows: Sequence[tuple[Any, ...]]) -> RouteTotals:
    statuses = tuple(StatusTotals(int(row[1]), int(row[2]), timedelta(microseconds=int(row[3]))) for row in rows)
    return RouteTotals(
        route,
        requests=sum(each.requests for each in statuses),
        errors=sum(each.requests for each in statuses if each.status >= 500),
        duration_sum=sum((each.duration_sum for each in statuses), timedelta()),
        statuses=statuses,
    )
