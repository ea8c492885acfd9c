"""The HTML summary: nothing from elsewhere, nothing unescaped, gaps where there was no data."""

from __future__ import annotations

from typing import Any

import pytest

from loadgen.runs.html_report import _pieces, _round_up, html_report

TIMES = {"p50": 10.0, "p95": 20.0, "p99": None}
RUN: dict[str, Any] = {
    "run_id": "r-1", "scenario": "<script>x</script>", "target": "http://127.0.0.1:1", "started_at": "2026-11-22",
    "seconds": 3.0, "status": "finished", "rps": 1.5, "sent": 5, "failed": 1, "unsent": 0,
    "response_ms": TIMES, "service_ms": TIMES, "send_lag_ms": TIMES, "reasons": {"http_503": 1},
    "verdict": {"status": "fail", "reasons": ["p(95)<2 (got 20)"]},
    "thresholds": [{"threshold": "http_req_duration: p(95)<2", "value": 20.0, "held": False}],
    "checks": {"ok": {"passed": 4, "failed": 1}}, "response_histogram": {"100": 3, "110": 2},
    "routes": {"search": {"sent": 5, "failed": 1, "unsent": 0, "response_ms": TIMES}},
}  # fmt: skip


def second(at: int, histogram: dict[str, int]) -> dict[str, Any]:
    return {"second": at, "sent": sum(histogram.values()), "failed": 0, "unsent": 0, "response_histogram": histogram}


def test_the_page_stands_alone_and_says_what_came_of_the_run() -> None:
    page = html_report(RUN, [second(100, {"100": 3}), second(101, {}), second(102, {"110": 2})])
    assert "<script" not in page
    assert "http-equiv" not in page
    assert "src=" not in page
    assert page.count("<svg") == 3
    assert "<strong class=fail>FAIL</strong>" in page
    assert "p(95)&lt;2 (got 20)" in page
    assert "4 of 5" in page
    assert "http_503: 1" in page


def test_a_run_without_a_second_on_file_says_so() -> None:
    assert "No second of this run is on file." in html_report({**RUN, "response_histogram": {}}, [])


def test_a_second_without_data_is_a_gap_and_not_a_zero() -> None:
    assert _pieces([(0, 1), (1, 2), (2, None), (3, 4)]) == ["0.0,1.0 1.0,2.0", "3.0,4.0 3.0,4.0"]


@pytest.mark.parametrize(("value", "top"), [(0, 1), (1, 1), (96, 100), (101, 200), (201, 250), (251, 500), (0.3, 0.5)])
def test_an_axis_ends_at_a_round_number(value: float, top: float) -> None:
    assert _round_up(value) == pytest.approx(top)
