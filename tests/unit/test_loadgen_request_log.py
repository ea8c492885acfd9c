"""The requests of a run: what the record is told of each, once, and no more than there is room for."""

from __future__ import annotations

from pathlib import Path

from loadgen.runs.request_log import RequestLog, request_columns
from loadgen.sending.protocol import Outcome, Rows

ROWS = Rows.of(
    [
        (7, 100, 1, Outcome.DONE, 200, 0.25, 0.0, 0.01, 0.02, 0, 0, 100.75),
        (8, 100, 0, Outcome.UNSENT_LIMIT, 0, 0.0, 0.0, 0.0, 0.0, 0, 0, 0.0),
        (-1, 101, 0, Outcome.SERVER_ERROR, 503, 0.0, 0.0, 0.01, 0.02, 0, 0, 101.5),
        (9, 100, 0, Outcome.CANCELLED, 0, 0.0, 0.0, 0.0, 0.0, 0, 0, 0.0),
    ]
)


def test_each_request_has_its_times_and_null_where_it_never_came_to_that() -> None:
    columns = request_columns(ROWS, ["search", "flight"])
    assert columns == {
        "intended_us": [100_500_000, 100_000_000, 101_500_000],
        "sent_us": [100_750_000, None, 101_500_000],
        "first_byte_us": [100_760_000, None, 101_510_000],
        "done_us": [100_770_000, None, 101_520_000],
        "status": [200, None, 503],
        "name": ["flight", "search", "search"],
        "error": [None, "unsent_limit", "http_503"],
    }


def test_a_batch_keeps_its_id_until_it_is_acknowledged(tmp_path: Path) -> None:
    log = RequestLog(tmp_path)
    log.add(ROWS, ["search", "flight"])
    first, again = log.next_batch("r"), log.next_batch("r")
    assert first is not None
    assert first == again
    log.acknowledge(first[2])
    assert log.next_batch("r") is None
    log.add(ROWS, ["search", "flight"])
    later = log.next_batch("r")
    assert later is not None
    assert later[1] != first[1]


def test_beyond_its_room_requests_are_counted_only(tmp_path: Path) -> None:
    log = RequestLog(tmp_path, most_rows=5)
    log.add(ROWS, ["search", "flight"])
    log.add(ROWS, ["search", "flight"])
    assert (log.kept, log.left_out) == (3, 4)
