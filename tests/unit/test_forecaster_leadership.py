"""Who leads when forecasters come, go, hang and lose their store: on claims in memory and a clock by hand."""

from pathlib import Path
from typing import Any

import pytest

from collector.clickhouse import StoreUnavailableError
from forecaster.actuators.contract import ActuatorUnavailable
from forecaster.actuators.memory import MemoryCluster
from forecaster.loop.leadership import LEASE_SECONDS, Lease, LedActuator, holder_of
from tests.unit.forecaster_fakes import HPA


class Leases:
    """The table, with its own clock (`now`, seconds); an insert may take long, or its answer be lost."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.rows: list[tuple[str, float, float, bool]] = []
        self.insert_seconds = 0.0
        self.down = self.answer_lost = False

    def command(self, sql: str, parameters: dict[str, Any]) -> None:
        if self.down:
            raise StoreUnavailableError("connection refused")
        claimed = self.now if "now64(6), now64(6)" in sql else parameters["claimed"] / 1e6
        self.rows.append((parameters["holder"], claimed, self.now, bool(parameters["released"])))
        self.now += self.insert_seconds
        if self.answer_lost:
            raise StoreUnavailableError("timed out")

    def query_rows(self, sql: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
        if self.down:
            raise StoreUnavailableError("connection refused")
        newest = {holder: (claimed, renewed, released) for holder, claimed, renewed, released in self.rows}
        rows = [
            (holder, round(claimed * 1e6), round(renewed * 1e6), int(released), round(self.now * 1e6))
            for holder, (claimed, renewed, released) in newest.items()
            if not released and (self.now - renewed) * 1e6 < parameters["alive"]
        ]
        return sorted(rows, key=lambda row: (row[1], row[0]))


def lease_on(leases: Leases, holder: str) -> Lease:
    return Lease(leases, holder=holder, monotonic=lambda: leases.now)  # type: ignore[arg-type]


def both_after(leases: Leases, seconds: float, *asked: Lease) -> list[bool]:
    leases.now += seconds
    return [lease.leads() for lease in asked]


def test_of_two_forecasters_the_first_leads_and_the_second_takes_over_when_it_lets_go() -> None:
    leases = Leases()
    first, second = lease_on(leases, "a"), lease_on(leases, "b")
    assert both_after(leases, 0, first) == [False]  # an older claim may still come to light
    assert both_after(leases, 0.1, second) == [False]
    for _ in range(20):
        assert both_after(leases, 2, first, second) == [True, False]
    first.release()
    assert both_after(leases, 4, second) == [True]


def test_a_leader_that_hangs_stops_before_the_next_one_starts() -> None:
    leases = Leases()
    first, second = lease_on(leases, "a"), lease_on(leases, "b")
    both_after(leases, 0, first, second)
    both_after(leases, 2, first, second)
    held = []
    for _ in range(int(LEASE_SECONDS) + 10):  # the first one asks nothing any more
        leases.now += 1
        second.leads()
        held.append((first.holds(), second.holds()))
    assert (True, True) not in held
    assert held[0] == (True, False)
    assert held[-1] == (False, True)


def test_a_leader_that_comes_back_after_its_lease_ran_out_stands_behind() -> None:
    leases = Leases()
    first, second = lease_on(leases, "a"), lease_on(leases, "b")
    both_after(leases, 0, first, second)
    both_after(leases, 2, first, second)
    for _ in range(8):
        both_after(leases, 4, second)
    assert second.holds()
    for _ in range(5):
        assert both_after(leases, 4, first, second) == [False, True]


def test_a_renewal_that_took_so_long_that_the_others_may_have_given_it_up_is_dropped() -> None:
    leases = Leases()
    first = lease_on(leases, "a")
    both_after(leases, 0, first)
    assert both_after(leases, 2, first) == [True]
    leases.insert_seconds = LEASE_SECONDS
    assert both_after(leases, 5, first) == [False]


def test_with_the_store_down_a_leader_acts_until_its_lease_ends_and_then_says_why_not() -> None:
    leases = Leases()
    first = lease_on(leases, "a")
    both_after(leases, 0, first)
    both_after(leases, 2, first)
    leases.down = True
    assert both_after(leases, 5, first) == [True]
    leases.now += LEASE_SECONDS
    with pytest.raises(StoreUnavailableError):
        first.leads()
    assert not first.holds()


@pytest.mark.parametrize("how", ["slow", "lost"])
def test_a_claim_that_others_may_have_seen_late_is_not_used(how: str) -> None:
    leases = Leases()
    late = lease_on(leases, "a")
    if how == "slow":
        leases.insert_seconds = 0.6
        late.leads()
    else:
        leases.answer_lost = True
        with pytest.raises(StoreUnavailableError):
            late.leads()
    leases.insert_seconds, leases.answer_lost = 0.0, False
    assert both_after(leases, 5, late) == [False]  # dropped
    assert both_after(leases, 1, late) == [False]  # claimed anew
    assert both_after(leases, 1, late) == [True]


def test_a_floor_is_written_only_while_the_lease_runs() -> None:
    leases, cluster = Leases(), MemoryCluster({"app": HPA})
    lease = lease_on(leases, "a")
    actuator = LedActuator(cluster, lease)
    with pytest.raises(ActuatorUnavailable, match="another forecaster leads"):
        actuator.write_floor("app", 6)
    both_after(leases, 0, lease)
    both_after(leases, 2, lease)
    assert actuator.write_floor("app", 6).floor == 6
    assert actuator.read("app").floor == 6


def test_a_restarted_forecaster_is_the_same_holder_and_a_second_one_beside_it_is_not(tmp_path: Path) -> None:
    name, let_go = holder_of(tmp_path)
    beside, _ = holder_of(tmp_path)
    assert beside != name
    let_go()
    again, let_go = holder_of(tmp_path)
    let_go()
    assert again == name
    without, _ = holder_of(None)
    assert without != name


def test_a_restarted_forecaster_leads_at_once() -> None:
    leases = Leases()
    earlier = lease_on(leases, "a")
    both_after(leases, 0, earlier)
    assert both_after(leases, 2, earlier) == [True]
    assert both_after(leases, 1, lease_on(leases, "a")) == [True]
