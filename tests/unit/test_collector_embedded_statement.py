"""Where an INSERT's data begin, and what can be streamed."""

from __future__ import annotations

import pytest

from collector.embedded.statement import Insert, find_insert_data, read_statement


def test_data_begin_after_the_line_end_that_follows_the_format() -> None:
    head = b"INSERT INTO t (`a`) FORMAT Native\n\x01\x02\n"
    found = find_insert_data(head, whole=False)
    assert found == Insert("INSERT INTO t (`a`)", "Native", head.index(b"\x01"))


def test_one_line_end_only_belongs_to_the_statement() -> None:
    head = b"INSERT INTO t FORMAT TSV\n\nx\n"
    found = find_insert_data(head, whole=True)
    assert isinstance(found, Insert)
    assert head[found.data_offset :] == b"\nx\n"


@pytest.mark.parametrize("cut", range(1, len(b"INSERT INTO t (a) FORMAT Native\n") + 1))
def test_a_statement_cut_anywhere_asks_for_more_and_never_guesses(cut: int) -> None:
    text = b"INSERT INTO t (a) FORMAT Native\n"
    found = find_insert_data(text[:cut], whole=False)
    assert found == ("more" if cut < len(text) else Insert("INSERT INTO t (a)", "Native", len(text)))


def test_values_are_data() -> None:
    head = b"insert into t (a, b) values (1, 'x')"
    assert find_insert_data(head, whole=True) == Insert("insert into t (a, b)", "Values", head.index(b" (1"))


def test_words_in_quotes_comments_and_column_lists_do_not_count() -> None:
    head = b"/* VALUES */ INSERT INTO `FORMAT` (format, values) -- FORMAT CSV\n SETTINGS x='FORMAT Y' FORMAT CSV\n1"
    found = find_insert_data(head, whole=True)
    assert isinstance(found, Insert)
    assert (found.format, head[found.data_offset :]) == ("CSV", b"1")


@pytest.mark.parametrize(
    "text",
    [
        b"SELECT 1 FORMAT Native",
        b"INSERT INTO t SELECT 1",
        b"INSERT INTO t WITH 1 AS x SELECT x",
        b"INSERT INTO t FROM INFILE 'x' FORMAT CSV",
        b"",
    ],
)
def test_a_statement_without_data_is_left_to_the_engine(text: bytes) -> None:
    assert find_insert_data(text, whole=True) == "none"


def test_a_format_at_the_very_end_is_an_insert_of_nothing() -> None:
    assert find_insert_data(b"INSERT INTO t FORMAT CSV", whole=True) == Insert("INSERT INTO t", "CSV", 24)


@pytest.mark.parametrize(
    ("text", "default", "streams"),
    [
        ("SELECT 1 FORMAT Native", "TabSeparated", True),
        ("SELECT 1", "TabSeparated", True),
        ("SELECT 1", "JSON", False),  # one document with a beginning and an end
        ("SELECT 'FORMAT JSON' FORMAT Native", "JSON", True),
        ("with 1 as x select x format csv", "JSON", True),
        ("CREATE TABLE t (a Int8) ENGINE = Memory", "TabSeparated", False),
        ("SELECT 1 FORMAT Parquet", "TabSeparated", False),
    ],
)
def test_only_results_made_of_whole_blocks_are_streamed(text: str, default: str, streams: bool) -> None:
    assert read_statement(text).streams_as(default) is streams


def test_a_control_statement_has_no_result_set() -> None:
    assert not read_statement("CREATE DATABASE x").answers_with_rows
    assert read_statement("-- why\n SHOW TABLES").answers_with_rows
