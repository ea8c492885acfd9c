"""Whose word on one replica's capacity counts: the load test's, live traffic's, or what was declared."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from collector.record.store import Capacity as Measured
from forecaster.actuators.memory import MemoryCluster
from forecaster.loop.tick import Memory, look, running_version
from forecaster.scaling.capacity import capacity_in_use
from tests.unit.forecaster_fakes import HPA, NOW, SCALING, SERVICE, FakeStore, a_world

TESTED = Measured("shop", NOW - timedelta(days=2), "v2", "load-test", 30.0, 36.0, {})
LIVE = replace(TESTED, source="live-traffic", measured_at=NOW - timedelta(hours=1), low_rps=20.0, high_rps=22.0)


def low_of(*measured: Measured, running: str | None = "v2", speed: float = 1) -> float:
    return capacity_in_use(SCALING, list(measured), running=running, speed=speed, now=NOW).low_rps


def test_capacity_is_counted_in_requests_per_second_of_the_clock_in_use() -> None:
    # Declared 12 per real second, measured 30; the clock has 60 seconds in one of those: 0.2 and 0.5.
    assert low_of(speed=60) == pytest.approx(0.2)
    assert low_of(TESTED, speed=60) == pytest.approx(0.5)


def test_a_load_test_counts_before_live_traffic_and_that_before_what_was_declared() -> None:
    assert low_of(LIVE, TESTED) == 30
    assert low_of(LIVE) == 20
    assert low_of() == 12
    newer = replace(TESTED, measured_at=NOW - timedelta(hours=5), low_rps=28.0)
    assert low_of(TESTED, newer) == 28


def test_a_capacity_goes_stale_with_its_build_and_with_its_age() -> None:
    assert low_of(TESTED, running="v3") == 12
    assert low_of(TESTED, replace(LIVE, version="v3"), running="v3") == 20
    assert low_of(TESTED, running=None) == 30
    assert low_of(replace(TESTED, measured_at=NOW - timedelta(days=31))) == 12
    assert low_of(replace(TESTED, version=""), running="v3") == 12


def test_who_measured_and_on_what_is_told() -> None:
    source = capacity_in_use(SCALING, [TESTED], running="v2", speed=1, now=NOW).source
    assert source == "measured 2026-05-02 (load-test, version v2)"


class StoreWith(FakeStore):
    """A store with one measured capacity and requests of two versions."""

    def query_rows(self, sql: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        if "FROM capacities" in sql:
            at = int(TESTED.measured_at.timestamp() * 1000)
            return [("shop", at, "v2", "load-test", 30.0, 36.0, "{}")]
        if "FROM red_1m" in sql:
            return [(0, version, n, 0, 1000, [80, 80, 80]) for version, n in (("", 900), ("v1", 100), ("v2", 300))]
        return super().query_rows(sql, parameters)


def test_the_decision_plans_with_the_load_test_of_the_build_that_serves_most_requests() -> None:
    store = StoreWith()
    assert running_version(store, "shop", now=NOW, speed=1) == "v2"  # type: ignore[arg-type]
    situation = look(a_world(store, MemoryCluster({"app": HPA})), SERVICE, Memory())
    assert situation.capacity is not None
    assert (situation.capacity.low_rps, situation.capacity.high_rps) == (30, 36)
