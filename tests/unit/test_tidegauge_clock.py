"""The clock: played time, and how it meets the wall clock."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegauge.clock import Clock, clock_from_environment


def test_played_time_runs_faster_until_it_has_caught_up_with_the_wall_clock():
    # the window begins 590 s before real 1000 and is played at 60: after 10 s, 1000 + 10 = 410 + 600
    assert Clock(start=410, real_start=1000, speed=60).at_real(1000) == 410
    assert Clock(start=410, real_start=1000, speed=60).at_real(1005) == 710
    assert Clock(start=410, real_start=1000, speed=60).at_real(1010) == 1010
    assert Clock(start=410, real_start=1000, speed=60).at_real(1011) == 1011


def test_a_timer_is_set_in_real_seconds_and_its_speed_falls_to_one_after_the_window():
    playing = Clock(start=410, real_start=1000, speed=60, read_real=lambda: 1005)
    assert (playing.speed_now(), playing.real_seconds(15)) == (60, 0.25)
    over = Clock(start=410, real_start=1000, speed=60, read_real=lambda: 1020)
    assert (over.speed_now(), over.real_seconds(15)) == (1, 15)


def test_the_wall_clock_is_real_time_and_needs_no_environment():
    clock = Clock(read_real=lambda: 0.0)
    assert clock.now() == datetime(1970, 1, 1, tzinfo=UTC)
    assert clock.to_environment() == {}
    assert clock_from_environment({"TIDEGAUGE_CLOCK": ""}) == Clock()


@given(
    start=st.floats(0, 2e9), behind=st.floats(0, 1e6), speed=st.floats(1, 1000), passed=st.floats(0, 1e6),
)  # fmt: skip
def test_a_real_instant_comes_back_from_the_time_that_the_clock_showed(start, behind, speed, passed):
    clock = Clock(start=start, real_start=start + behind, speed=speed)
    real = clock.real_start + passed
    assert clock.real_at(clock.at_real(real)) == pytest.approx(real, abs=1e-3)


def test_a_child_gets_the_very_same_clock():
    clock = Clock(start=1_700_000_000.125, real_start=1_700_000_600.0, speed=60.0)
    assert clock_from_environment(clock.to_environment()) == clock


@pytest.mark.parametrize("text", ["60", "a:b:c", "1:2:3:4", "10:20:0.5", "20:10:60"])
def test_a_clock_that_cannot_be_is_refused_with_what_was_expected_and_what_came(text):
    with pytest.raises(ValueError, match=rf"TIDEGAUGE_CLOCK: expected .*, got '{text}'"):
        clock_from_environment({"TIDEGAUGE_CLOCK": text})
