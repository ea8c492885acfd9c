"""Schedules: how many arrivals, when, and that they are the same whoever asks and whenever."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.arrivals import RateCurve, Schedule
from loadgen.curve import CurveError, read_curve


def curve(*points: tuple[float, float], repeat: float | None = None) -> RateCurve:
    at, rps = zip(*points, strict=True)
    return RateCurve(np.array(at, dtype=float), np.array(rps, dtype=float), repeat_seconds=repeat)


def test_the_expected_number_is_the_area_under_the_curve() -> None:
    # A triangle of 100 s and height 4: 200 arrivals; its first half: 100; from 25 s (2/s) to 50 s (4/s): 25 * 3 = 75.
    triangle = curve((0, 0), (50, 4), (100, 0))
    assert triangle.expected(0, 100) == pytest.approx(200)
    assert triangle.expected(-50, 50) == pytest.approx(100)
    assert triangle.expected(25, 50) == pytest.approx(75)
    assert triangle.expected(100, 500) == 0.0


def test_uniform_arrivals_are_as_many_as_the_area_and_spaced_by_the_rate() -> None:
    # 2/s for 120 s, 240 arrivals half a second apart, across the border of two blocks.
    arrivals = Schedule(curve((600, 2), (720, 2)), "uniform").between(0, 1000)
    assert arrivals.at_seconds.size == 240
    assert np.diff(arrivals.at_seconds) == pytest.approx(0.5)


def test_uniform_arrivals_on_a_ramp_come_where_the_area_passes_whole_steps() -> None:
    # From 0/s at 0 s to 10/s at 10 s the area until t is t^2 / 2: between arrivals it grows by one each time.
    arrivals = Schedule(curve((0, 0), (10, 10)), "uniform").between(0, 10)
    assert arrivals.at_seconds.size == 50
    assert np.diff(arrivals.at_seconds**2 / 2) == pytest.approx(1.0)


def test_poisson_arrivals_are_as_many_and_as_scattered_as_poisson_says() -> None:
    # 200 blocks of 60 s at 1/s: mean 60 per block, variance 60. Standard errors: sqrt(60/200) = 0.55 for the mean and
    # 60 * sqrt(2/199) = 6.0 for the variance; five of each are allowed.
    schedule = Schedule(curve((0, 1), (12_000, 1)), "poisson", seed=7)
    counts = np.array([schedule.between(60 * k, 60 * k + 60).at_seconds.size for k in range(200)])
    assert abs(counts.mean() - 60) < 5 * math.sqrt(60 / 200)
    assert abs(counts.var(ddof=1) - 60) < 5 * 60 * math.sqrt(2 / 199)


def test_poisson_arrivals_follow_the_ramp_within_a_block() -> None:
    # On a ramp from 0 the area until t is proportional to t^2, so half of the arrivals come after t = 60 / sqrt(2).
    arrivals = Schedule(curve((0, 0), (60, 200)), "poisson", seed=1).between(0, 60).at_seconds  # about 6000
    late = float((arrivals > 60 / math.sqrt(2)).mean())
    assert abs(late - 0.5) < 5 * math.sqrt(0.25 / 6000)


@pytest.mark.parametrize("kind", ["poisson", "uniform"])
def test_a_schedule_asked_second_by_second_or_late_or_anew_is_the_same(kind: str) -> None:
    line = curve((1000, 3), (1100, 9), (1400, 1), repeat=200)
    whole = Schedule(line, kind, seed=3).between(1000, 2000)  # type: ignore[arg-type]  # a literal by parametrize
    other = Schedule(line, kind, seed=3)  # type: ignore[arg-type]  # as above
    pieces = [other.between(second, second + 1) for second in reversed(range(1000, 2000))][::-1]
    assert np.array_equal(np.concatenate([piece.at_seconds for piece in pieces]), whole.at_seconds)
    assert np.array_equal(np.concatenate([piece.numbers for piece in pieces]), whole.numbers)
    assert np.unique(whole.numbers).size == whole.numbers.size
    assert (np.diff(whole.at_seconds) >= 0).all()


def test_another_seed_is_another_schedule() -> None:
    line = curve((0, 5), (60, 5))
    first, second = (Schedule(line, "poisson", seed).between(0, 60).at_seconds for seed in (1, 2))
    assert not np.array_equal(first, second)


def test_after_its_last_point_the_curve_repeats_its_end() -> None:
    # 100 s at 1/s, then 100 s at 3/s, of which the last 100 s (300 arrivals) are repeated for ever.
    steps = curve((0, 1), (100, 1), (100.001, 3), (200, 3), repeat=99.999)
    assert steps.expected(200, 299.999) == pytest.approx(3 * 99.999)
    assert steps.expected(100_000, 100_010) == pytest.approx(30, rel=1e-3)
    assert steps.cumulative(100_010) - steps.cumulative(100_000) == pytest.approx(30, rel=1e-3)


def test_a_long_window_before_between_and_after_has_no_arrivals_without_a_rate() -> None:
    schedule = Schedule(curve((100, 0), (200, 0)), "poisson")
    assert schedule.between(-500, 5000).at_seconds.size == 0


@given(
    start=st.floats(0, 5000), length=st.floats(0.001, 3000), repeat=st.none() | st.floats(1, 300),
    rates=st.lists(st.floats(0, 50), min_size=4, max_size=4),
)  # fmt: skip
def test_the_cumulative_rate_agrees_with_the_area_wherever_one_looks(
    start: float, length: float, repeat: float | None, rates: list[float]
) -> None:
    line = curve(*zip([500, 600, 650, 800], rates, strict=True), repeat=repeat)
    area = line.expected(start, start + length)
    assert line.cumulative(start + length) - line.cumulative(start) == pytest.approx(area, rel=1e-6, abs=1e-5)


@pytest.mark.parametrize(
    "points", [((0, 1),), ((0, 1), (0, 2)), ((0, 1), (1, -1)), ((0, 1), (1, math.nan))]
)  # fmt: skip
def test_a_curve_that_is_none_is_refused(points: tuple[tuple[float, float], ...]) -> None:
    with pytest.raises(ValueError, match="a curve needs"):
        curve(*points)


def test_a_curve_file_is_read_and_goes_on_with_its_last_day(tmp_path: Path) -> None:
    file = tmp_path / "curve.csv"
    file.write_text("timestamp,rps\n2026-11-22T00:00:00Z,1\n2026-11-22T01:00:00+00:00,3\n")
    line = read_curve(file)
    # One hour from 1/s to 3/s: 2/s on average, 7200; the file is shorter than a day, so all of it repeats.
    midnight = 1_795_305_600
    assert line.expected(midnight, midnight + 3600) == pytest.approx(7200)
    assert line.expected(midnight + 36_000, midnight + 39_600) == pytest.approx(7200)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("time,rps\n", ":1: expected the header 'timestamp,rps'"),
        ("timestamp,rps\n2026-11-22T00:00:00Z,1\n", "at least two rows"),
        ("timestamp,rps\n2026-11-22T00:00:00,1\n", ":2: expected a timestamp with an offset"),
        ("timestamp,rps\n2026-11-22T00:00:00Z,1\n2026-11-22T00:00:00Z,1\n", ":3: expected a later timestamp"),
        ("timestamp,rps\n2026-11-22T00:00:00Z,-1\n", ":2: expected a rate of 0 or more"),
        ("timestamp,rps\n2026-11-22T00:00:00Z,nan\n", ":2: expected a rate of 0 or more"),
        ("timestamp,rps\n2026-11-22T00:00:00Z\n", ":2: expected 2 fields"),
        ("timestamp,rps\nyesterday,1\n", ":2: expected an ISO timestamp and a number"),
    ],
)
def test_a_malformed_curve_file_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "curve.csv"
    file.write_text(text)
    with pytest.raises(CurveError, match=message):
        read_curve(file)
