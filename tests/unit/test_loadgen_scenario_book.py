"""The books of a scenario: each arrival once, follow-ups where they were sent, and what is lost is unsent."""

from __future__ import annotations

import json

import pytest

from loadgen.results import Second
from loadgen.scenario.book import Book, Planned, second_of
from loadgen.sending.protocol import Outcome, Row, Rows, parse_frame, status_frame

ROUTES = ("search", "flight")


def row(
    key: int, second: int, route: int, outcome: Outcome, *, status: int = 0, lag: float = 0.0, late: float = 0.0,
    service: float = 0.0, passed: int = 0, failed: int = 0,
) -> Row:  # fmt: skip
    return key, second, route, outcome, status, lag, late, 0.0, service, passed, failed, 0.0


def planned_book() -> Book:
    book = Book(list(ROUTES), patience_seconds=7)
    book.plan((key, Planned(100.5, 0)) for key in (1, 2, 3, 4))
    return book


def test_done_failed_and_unsent_are_what_was_intended_and_response_has_the_wait() -> None:
    book = planned_book()
    rows = Rows.of(
        [
            row(1, 100, 0, Outcome.DONE, status=200, lag=0.25, late=0.001, service=0.5, passed=1),
            row(2, 100, 0, Outcome.SERVER_ERROR, status=503, service=0.5, failed=1),
            row(3, 100, 0, Outcome.UNSENT_LIMIT),
            row(-1, 101, 1, Outcome.DONE, status=200, service=0.1),
        ]
    )
    book.settle(rows)
    assert book.lose(200) == 1
    total = book.overall
    # Four were planned; the request that followed from an answer makes five.
    assert (total.intended, total.done, total.failed, total.unsent) == (5, 2, 1, 2)
    assert (total.response.longest_us, total.service.longest_us) == (750_000, 500_000)
    assert (total.lag.longest_us, total.late.longest_us, total.lag.total) == (250_000, 1_000, 2)
    assert total.reasons == {"http_503": 1, "unsent_limit": 1, "generator_down": 1}
    assert (total.checks_passed, total.checks_failed) == (1, 1)
    assert book.by_route["flight"].intended == book.by_route["flight"].done == 1


def test_a_second_is_told_once_when_nothing_of_it_is_open() -> None:
    book = planned_book()
    assert book.take_complete(1000) == []
    book.lose(200)
    assert book.take_complete(107) == []  # a request that began at 100.99 may last until 108
    ((second, routes),) = book.take_complete(109)
    assert second == 100
    assert second_of(second, routes).overall.unsent == 4
    told = second_of(second, routes, users=12)
    assert Second.from_json(json.loads(json.dumps(told.to_json()))).users == 12
    assert second_of(second, routes).to_json()["users"] is None  # nobody counted: no zero
    assert book.take_complete(1000) == []


def test_a_result_that_comes_twice_counts_once_and_a_straggler_counts_later() -> None:
    book = planned_book()
    rows = Rows.of([row(1, 100, 0, Outcome.DONE, status=200)])
    book.settle(rows)
    book.settle(rows)
    assert (book.overall.done, book.unknown_rows) == (1, 1)
    book.lose(200)
    book.take_complete(1000)
    late = Rows.of([row(-1, 100, 1, Outcome.DONE, status=200)])
    book.settle(late)
    assert [second for second, _ in book.take_complete(1000)] == [101]


def test_what_was_not_due_when_the_run_was_stopped_was_never_intended() -> None:
    book = planned_book()
    rows = Rows.of([row(1, 100, 0, Outcome.CANCELLED)])
    book.settle(rows)
    book.cancel(100.0)
    assert (book.overall.intended, book.overall.unsent) == (0, 0)


def test_rows_travel_in_frames() -> None:
    rows = Rows.of([row(-1, 2_000_000_000, 254, Outcome.TIMEOUT, lag=-1.0, service=1e9)])
    again = parse_frame(b"Q" + rows.pack())
    assert isinstance(again, Rows)
    assert again.columns == rows.columns
    assert again.columns["lags_us"][0] == 0
    with pytest.raises(ValueError, match="multiple of"):
        parse_frame(b"Q" + rows.pack()[:-1])
    assert parse_frame(status_frame({"state": "ready"})[4:]) == {"state": "ready"}


def test_an_arrival_counts_where_its_request_went_once_that_is_known() -> None:
    book = planned_book()
    rows = Rows.of([row(1, 100, 0, Outcome.DONE, status=200)]).with_routes([book.route_index("checkout")])
    book.settle(rows)
    assert (book.by_route["search"].intended, book.by_route["checkout"].intended) == (3, 1)
    assert (book.overall.intended, book.overall.done) == (4, 1)
