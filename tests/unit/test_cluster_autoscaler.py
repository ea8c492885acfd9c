"""The reactive loop's arithmetic: the window of arrivals, the two clocks, the floor."""

from __future__ import annotations

from datetime import timedelta

import pytest

from collector.catalog import Reactive, Scaling
from tidegauge.clock import Clock
from tidegauge.cluster.autoscaler import ArrivalWindow, Autoscaler, FloorRefusedError
from tidegauge.cluster.state import ClusterState, Counts, Journal


class FakeFleet:
    """Starts and stops replicas at once."""

    def __init__(self) -> None:
        self.desired = 0
        self.unready = 0

    def counts(self) -> Counts:
        return Counts(current=self.desired, ready=self.desired - self.unready)

    def set_desired(self, desired: int) -> None:
        self.desired = desired


class World:
    """An autoscaler with a hand on its clock and its arrivals. `speed`: clock seconds per real second."""

    def __init__(self, folder, *, speed: float = 1.0, least: int = 2, most: int = 20) -> None:
        self.real = 1_000_000.0
        self.arrivals = 0
        self.fleet = FakeFleet()
        self.clock = (
            Clock(0.0, self.real, speed, read_real=lambda: self.real)
            if speed > 1
            else Clock(read_real=lambda: self.real)
        )
        self.scaling = Scaling(
            kind="local", name="app", mode="act", min_replicas=least, max_replicas=most, capacity_rps=(12, 14),
            quantile=0.95, lead=timedelta(minutes=15), largest_step=4, cool_down=timedelta(minutes=5),
            reactive=Reactive(10.0),
        )  # fmt: skip
        initial = ClusterState(floor=least, desired=least)
        self.journal = Journal(folder, initial=initial, now_seconds=self.clock.now_seconds)
        self.autoscaler = self.resumed()

    def resumed(self) -> Autoscaler:
        return Autoscaler(
            scaling=self.scaling, clock=self.clock, journal=self.journal, fleet=self.fleet,
            arrivals=lambda: self.arrivals, monotonic=lambda: self.real,
        )  # fmt: skip

    def play(self, clock_seconds: float, *, real_rps: float) -> None:
        """Let syncs of 15 clock seconds pass under a steady load in requests per real second."""
        for _ in range(round(clock_seconds / 15)):
            step = self.clock.real_seconds(15)
            self.real += step
            self.arrivals += round(real_rps * step)
            self.autoscaler.sync_once()


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def test_the_load_is_not_known_from_one_sample():
    assert ArrivalWindow().observe(100.0, 5, window_seconds=60) is None


def test_the_load_is_the_growth_of_the_counter_over_the_window():
    window = ArrivalWindow()
    samples = [(0, 0), (15, 150), (30, 300), (45, 450), (60, 600), (75, 1500), (90, 2400)]
    rates = [window.observe(at, count, window_seconds=60) for at, count in samples]
    # While it fills: 150/15, 300/30, 450/45, 600/60. Then from 15 to 75: 1350/60. From 30 to 90: 2100/60.
    assert rates == [None, 10, 10, 10, 10, 22.5, 35]


def test_a_sample_soon_after_the_first_says_nothing_yet():
    window = ArrivalWindow()
    window.observe(0.0, 0, window_seconds=60)
    assert window.observe(0.001, 3, window_seconds=60) is None  # not 3000 requests/s


def test_no_arrivals_are_zero_which_is_not_unknown():
    window = ArrivalWindow()
    window.observe(0.0, 7, window_seconds=60)
    assert window.observe(15.0, 7, window_seconds=60) == 0.0


def test_load_scales_up_to_what_the_target_asks(world):
    world.play(120, real_rps=45)
    assert world.fleet.desired == 5  # ceil(45 / 10)
    assert world.autoscaler.last.offered_rps == 45


def test_at_sixty_times_speed_the_same_real_load_needs_the_same_replicas(tmp_path):
    world = World(tmp_path, speed=60)
    world.play(120, real_rps=48)
    assert world.fleet.desired == 5  # ceil(48 / 10)
    assert world.autoscaler.last.offered_rps == pytest.approx(48 / 60)  # of the clock in use


def test_after_the_load_the_replicas_stay_for_the_stabilization_window_and_then_go(world):
    world.play(120, real_rps=45)
    world.play(240, real_rps=0)
    assert world.fleet.desired == 5
    world.play(180, real_rps=0)  # 60 s of metric window and 300 s of stabilization have passed
    assert world.fleet.desired == 2


def test_a_raised_floor_takes_effect_at_the_next_sync_without_any_metric(world):
    world.autoscaler.patch_floor(9, manager="tidegauge")
    world.autoscaler.sync_once()
    assert world.autoscaler.last.offered_rps is None
    assert world.fleet.desired == 9
    assert (world.journal.state.floor, world.journal.state.manager) == (9, "tidegauge")


def test_release_restores_the_operators_floor(world):
    world.autoscaler.patch_floor(9, manager="tidegauge")
    world.autoscaler.release()
    assert (world.journal.state.floor, world.journal.state.manager) == (2, None)


@pytest.mark.parametrize("floor", [0, -1, 21])
def test_a_floor_outside_one_to_the_maximum_is_refused(world, floor):
    with pytest.raises(FloorRefusedError, match=rf"expected 1\.\.20 .* got {floor}"):
        world.autoscaler.patch_floor(floor, manager="tidegauge")
    assert world.journal.state.floor == 2


def test_starting_replicas_are_not_counted_as_carrying_load(world):
    world.autoscaler.patch_floor(4, manager="tidegauge")
    world.autoscaler.sync_once()
    world.fleet.unready = 2
    world.play(60, real_rps=30)
    # 30 over 2 ready = 15 each, over the target; over all 4 it is 7.5 each, under it: the HPA waits for them.
    assert world.fleet.desired == 4


def test_a_restart_resumes_a_patched_floor_and_the_count(world):
    world.autoscaler.patch_floor(9, manager="tidegauge")
    world.autoscaler.sync_once()
    world.fleet.desired = 0
    world.resumed()
    assert (world.fleet.desired, world.journal.state.floor) == (9, 9)


def test_a_restart_with_a_new_configured_floor_follows_it_unless_someone_patched(tmp_path):
    World(tmp_path, least=2)
    world = World(tmp_path, least=3)
    assert (world.fleet.desired, world.journal.state.floor) == (3, 3)
    world.autoscaler.patch_floor(5, manager="tidegauge")
    assert World(tmp_path, least=4).journal.state.floor == 5


def test_a_restart_under_a_lower_maximum_stays_within_it(tmp_path):
    world = World(tmp_path, most=20)
    world.autoscaler.patch_floor(15, manager="tidegauge")
    world.autoscaler.sync_once()
    smaller = World(tmp_path, most=6)
    assert (smaller.fleet.desired, smaller.journal.state.floor) == (6, 6)


def test_a_change_of_floor_and_of_desired_is_noted_with_the_clocks_time(world):
    world.autoscaler.patch_floor(4, manager="tidegauge")
    world.autoscaler.patch_floor(4, manager="tidegauge")  # no change, no line
    world.autoscaler.sync_once()
    noted = [(t.at, t.kind, t.floor, t.desired) for t in world.journal.since(0)]
    assert noted == [(1_000_000.0, "floor", 4, 2), (1_000_000.0, "desired", 4, 4)]
