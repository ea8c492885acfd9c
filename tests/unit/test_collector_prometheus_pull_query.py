"""The PromQL text against its golden file, the splitting of ranges, and what cannot stand in a query."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from collector.sources.prometheus import PrometheusSettings, pull_once
from collector.sources.promql import native_queries, samples_query, split_range

GOLDEN = Path(__file__).parent / "golden" / "prometheus_pull.promql"
SETTINGS = PrometheusSettings("svc", "http://127.0.0.1:1", "http_requests_total", timeout=timedelta(seconds=1))


def test_the_promql_is_the_golden_one() -> None:
    queries = [
        samples_query("http_requests_total", (), 15),
        samples_query("http_request_duration_seconds_bucket", (("job", "shop"), ("path", 'a"b\\c\nd')), 60),
        *native_queries("http_request_duration_seconds", (("job", "shop"),), 15),
    ]
    assert "".join(query + "\n" for query in queries) == GOLDEN.read_text()


def test_a_long_range_is_split_without_overlap_or_hole() -> None:
    # a day and a half of 5 s steps: 25,921 instants
    parts = list(split_range(0, 129_600, 5))
    instants = [at for first, last in parts for at in range(first, last + 1, 5)]
    assert instants == list(range(0, 129_601, 5))
    assert all((last - first) / 5 + 1 <= 10_000 for first, last in parts)


@pytest.mark.parametrize(
    "wrong",
    [
        {"requests_metric": 'x{a="b"}'},
        {"duration_metric": "a b"},
        {"match": (('a="', "b"),)},
    ],
)
def test_names_that_could_change_the_query_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected the name of a"):
        PrometheusSettings(**{"service": "svc", "url": "http://x", "requests_metric": "m", **wrong})


def test_nothing_is_asked_before_a_minute_can_be_complete() -> None:
    since = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
    # the minute ends at 12:01, and its last scrape is certain two scrapes (30 s) later
    pulled = pull_once(SETTINGS, since=since, until=since + timedelta(seconds=89), write=lambda *_: None)
    assert (pulled.watermark, pulled.minutes) == (since, 0)


def test_naive_times_are_refused() -> None:
    naive = datetime(2026, 1, 1)  # noqa: DTZ001  # this is the point
    with pytest.raises(ValueError, match="aware"):
        pull_once(SETTINGS, since=naive, until=naive, write=lambda *_: None)
