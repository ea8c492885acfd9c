"""What markers ask of those who read the record: spans that count for no SLO."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from collector.clickhouse import Client
from collector.record.runs import Marker, read_markers

Span = tuple[datetime, datetime]


def excluded_spans(client: Client, service: str, *, since: datetime, until: datetime) -> list[Span]:
    """Return the spans [start, end) inside [since, until) that markers exclude from a service's SLOs.

    Sorted, disjoint (what touches or overlaps is one span), never empty; an empty list when nothing is excluded.
    """
    return merged_spans(read_markers(client, service, since=since, until=until), since=since, until=until)


def merged_spans(markers: Iterable[Marker], *, since: datetime, until: datetime) -> list[Span]:
    """Return the spans of the markers that exclude SLO time, cut to [since, until) and joined. Pure."""
    cut = ((max(each.starts_at, since), min(each.ends_at, until)) for each in markers if each.excludes_slo)
    joined: list[Span] = []
    for start, end in sorted(span for span in cut if span[0] < span[1]):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return joined
