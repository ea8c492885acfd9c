from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.record.demand import ROWS_PER_INSERT, chunk_bounds
from collector.sources.files import (
    ImportRefusedError,
    check_span,
    content_id,
    parse_csv,
    shifted_to_end_at,
)

HOURLY = (
    "timestamp,value\n2026-01-01T00:00:00Z,10\n2026-01-01T01:00:00Z,20\n"
    "2026-01-01T04:00:00Z,30\n2026-01-01T05:00:00Z,0\n"
)


def test_the_step_is_found_and_gaps_are_counted() -> None:
    series = parse_csv(HOURLY)
    assert series.step == timedelta(hours=1)
    assert (series.gaps, series.missing_steps, series.duplicates) == (1, 2, 0)
    assert series.frame["value"].tolist() == [10.0, 20.0, 30.0, 0.0]
    assert series.ends_at == datetime(2026, 1, 1, 6, tzinfo=UTC)


def test_bom_crlf_offsets_blanks_and_naive_instants_are_read(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_bytes(
        "\ufefftimestamp,value\r\n2026-01-01T01:00:00+01:00, 1.5\r\n2026-01-01 00:05:00,2\r\n\r\n".encode()
    )
    series = parse_csv(path)
    assert series.step == timedelta(minutes=5)
    assert series.frame["ds"].iloc[0] == datetime(2026, 1, 1, tzinfo=UTC)


def test_the_last_of_identical_timestamps_wins_and_is_counted() -> None:
    series = parse_csv("timestamp,value\n2026-01-01T00:00:00Z,1\n2026-01-01T00:01:00Z,2\n2026-01-01T00:00:00Z,3\n")
    assert series.duplicates == 1
    assert series.frame["value"].tolist() == [3.0, 2.0]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("2026-01-01T00:02:00Z,-1", "line 4: expected a number of at least 0, got '-1'"),
        ("2026-01-01T00:02:00Z,nan", "line 4: expected a number of at least 0, got 'nan'"),
        ("2026-01-01T00:02:00Z,inf", "line 4: expected a number of at least 0, got 'inf'"),
        ("2026-01-01T00:02:00Z,1_0", "line 4: expected a number of at least 0, got '1_0'"),
        ("2026-01-01T00:02:00Z", "line 4: expected timestamp,value (2 cells), got 1"),
        ("yesterday,1", "line 4: expected a timestamp like"),
        ("0001-01-01T00:00:00+05:00,1", "line 4: expected a timestamp of the years 1970 to 9998"),
        ("9999-12-31T23:59:59-10:00,1", "line 4: expected a timestamp of the years 1970 to 9998"),
        ("2026-01-01T00:02:00.5Z,1", "line 4: expected a timestamp of whole seconds"),
        ("2026-01-01T00:02:30Z,1\n2026-01-01T00:03:00Z,1\n2026-01-01T00:04:00Z,1", "line 4: expected a regular step"),
    ],
)
def test_a_malformed_line_is_refused_with_its_number(line: str, expected: str) -> None:
    with pytest.raises(ImportRefusedError) as refusal:
        parse_csv(f"timestamp,value\n2026-01-01T00:00:00Z,1\n2026-01-01T00:01:00Z,1\n{line}\n")
    assert expected in str(refusal.value)


@pytest.mark.parametrize("text", ["", "time,value\n", "timestamp,value\n2026-01-01T00:00:00Z,1\n"])
def test_a_file_without_header_or_without_two_rows_is_refused(text: str) -> None:
    with pytest.raises(ImportRefusedError, match="expected"):
        parse_csv(text)


def test_a_shift_keeps_the_grid_and_the_distances() -> None:
    # The series ends at 06:00; a whole number of hours on, at or before 10:30, that is 10:00.
    shifted = shifted_to_end_at(parse_csv(HOURLY), datetime(2026, 1, 1, 10, 30, tzinfo=UTC))
    assert shifted.ends_at == datetime(2026, 1, 1, 10, tzinfo=UTC)
    assert shifted.frame["ds"].iloc[0] == datetime(2026, 1, 1, 4, tzinfo=UTC)
    assert content_id(shifted) != content_id(parse_csv(HOURLY))


def test_rows_that_the_record_would_lose_are_refused_and_never_dropped() -> None:
    series = parse_csv(HOURLY)
    check_span(series, now=datetime(2026, 1, 1, 6, tzinfo=UTC))
    with pytest.raises(ImportRefusedError, match="end by now"):
        check_span(series, now=datetime(2026, 1, 1, 5, 59, tzinfo=UTC))
    with pytest.raises(ImportRefusedError, match="three years"):
        check_span(series, now=datetime(2029, 1, 2, tzinfo=UTC))


@given(st.lists(st.integers(min_value=1, max_value=40 * 86400), min_size=1, max_size=200))
def test_chunks_hold_every_row_once_and_few_enough_months(distances: list[int]) -> None:
    seconds = [sum(distances[: index + 1]) for index in range(len(distances))]
    bounds = chunk_bounds(seconds)
    assert [index for start, end in bounds for index in range(start, end)] == list(range(len(seconds)))
    for start, end in bounds:
        assert end - start <= ROWS_PER_INSERT
        # 48 spans of 28 days are at most 1344 days: 46 months, far from the store's 100 partitions
        assert seconds[end - 1] - seconds[start] < 48 * 28 * 86400
