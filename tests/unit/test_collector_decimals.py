"""Floats as whole numbers of a decimal place: only where nothing is lost, and one place for a whole series."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from collector.record.decimals import RAW, to_decimals


def test_a_series_keeps_one_decimal_place() -> None:
    found = to_decimals([1, 1, 2], [50.1, 50.12, 7.0], {})
    assert (found.digits, found.scaled) == ([2, 2, 0], [5010, 5012, 7])
    assert to_decimals([1], [51.0], {1: 2}).scaled == [5100]  # as it was before


def test_what_is_no_short_decimal_is_kept_as_it_is() -> None:
    found = to_decimals([1, 1, 1], [1 / 3, float("inf"), 0.5], {})
    assert found.digits[:2] == [RAW, RAW]
    assert found.raw == [1 / 3, float("inf"), 0.0]


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(allow_nan=False)), max_size=30))
def test_every_float_can_be_told_again(rows: list[tuple[int, float]]) -> None:
    found = to_decimals([series for series, _ in rows], [value for _, value in rows], {0: 9})
    told = [
        raw if digits == RAW else scaled / 10**digits
        for digits, scaled, raw in zip(found.digits, found.scaled, found.raw, strict=True)
    ]
    assert told == [value for _, value in rows]
