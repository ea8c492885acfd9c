"""What has just come is met at once: between two forecasts, by no more than was counted, and let go of in one step."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from forecaster.forecast.types import Forecast
from forecaster.loop.tick import decide_once, overtaken_now
from forecaster.loop.world import Memory
from forecaster.present import read_demand_now
from forecaster.scaling.backtest.policies.ours import LiveLanes
from forecaster.scaling.plan import decide
from forecaster.scaling.present import overtaken, surely_came
from forecaster.scaling.simulator.simulate import DemandSteps
from forecaster.store import ReplicaState
from tests.unit.forecaster_fakes import HPA, SERVICE, FakeStore, MemoryCluster, a_decision, a_world
from tests.unit.forecaster_fakes import NOW as FAKES_NOW
from tests.unit.scaling_fakes import CAPACITY, FIVE, NOW, SCALING, forecast_of, hpa, said, situation

LOW = [12.0] * 36  # one replica, of 12 to 14 rps each; the operator's floor is two


def test_what_has_just_come_is_met_at_once_whatever_the_largest_step() -> None:
    decision = decide(situation(LOW, demand_now=100.0))  # 100 / 12: nine replicas, seven more than two
    assert (decision.outcome, decision.floor_after, decision.planned_floor) == ("raise", 9, 2)
    assert "the 100 requests/s of the last 10 s need 9 at once" in said(decision)


def test_what_the_present_added_is_let_go_of_in_one_step_and_what_was_planned_is_not() -> None:
    gone = situation(LOW, floor=15, demand_now=12.0)
    assert decide(replace(gone, planned_floor=2)).floor_after == 2
    assert decide(replace(gone, planned_floor=10)).floor_after == 8  # of the ten a fifth
    assert decide(gone).floor_after == 12  # nobody remembers: of all a fifth
    assert decide(replace(gone, planned_floor=2, burning=("availability",))).floor_after == 15


def test_the_present_leads_into_no_ceiling_no_missing_room_and_no_pause() -> None:
    burst = situation(LOW, demand_now=1000.0)
    assert decide(burst).floor_after == 20  # the ceiling
    assert decide(replace(burst, hpa=replace(hpa(2), room=3))).floor_after == 5
    assert decide(replace(burst, most_useful=7)).floor_after == 7
    assert not decide(replace(burst, paused="by ada")).apply


def test_a_few_requests_that_came_together_are_no_burst() -> None:
    # n less two deviations of a Poisson count: 1024 - 2 x 32, 100 - 2 x 10, 4 - 2 x 2
    assert [surely_came(count) for count in (1024, 100, 4, 1)] == [960.0, 80.0, 0.0, 0.0]


def test_only_more_than_there_is_overtakes() -> None:
    assert overtaken(25.0, CAPACITY, current=2, ceiling=20)  # 25 rps need three
    assert not overtaken(24.0, CAPACITY, current=2, ceiling=20)
    assert not overtaken(1000.0, CAPACITY, current=20, ceiling=20)  # no decision could help
    assert not overtaken(None, CAPACITY, current=0, ceiling=20)
    assert not overtaken(25.0, CAPACITY, current=2, ceiling=20, overload=0.05)  # 12.6 each: two carry 25.2
    assert overtaken(25.5, CAPACITY, current=2, ceiling=20, overload=0.05)


def test_a_replay_decides_within_a_step_when_its_demand_is_overtaken_and_only_then() -> None:
    start = NOW.timestamp()
    # from NOW on 12 rps, and after seven minutes, in the middle of a refresh, 60 (five replicas) for good
    demand = DemandSteps(start + 60.0 * np.arange(20), np.array([12.0] * 7 + [60.0] * 13), 60.0)

    def forecast_from(origin: datetime) -> Forecast:
        return forecast_of(LOW, origin=origin)

    live = LiveLanes(
        service="shop", scalings=[SCALING], capacity=CAPACITY, forecast_from=forecast_from, first=NOW, step=FIVE,
        refresh=FIVE, data_delay=timedelta(0), demand=demand,
    )  # fmt: skip
    two = np.array([2])
    floors = [int(live.floors_at(start + at, two, two, two)[0]) for at in range(0, 480, 15)]
    # Fifteen seconds after the step it is all that came, and the floor has not moved before.
    assert floors == [2] * 29 + [5] * 3
    assert [decision.at for decision in live.decisions[0]] == [NOW, NOW + FIVE, NOW + timedelta(minutes=7, seconds=15)]


def test_in_a_replay_too_the_change_budget_is_of_the_day_and_new_at_midnight() -> None:
    eleven = datetime(2026, 3, 2, 23, 50, tzinfo=UTC)
    demand = DemandSteps(eleven.timestamp() + 60.0 * np.arange(30), np.full(30, 12.0), 60.0)

    def forecast_from(origin: datetime) -> Forecast:
        return forecast_of([100.0] * 36 if origin == eleven else LOW, origin=origin)

    live = LiveLanes(
        service="shop", scalings=[replace(SCALING, change_budget=1)], capacity=CAPACITY, forecast_from=forecast_from,
        first=eleven, step=FIVE, refresh=FIVE, data_delay=timedelta(0), demand=demand, zone=UTC,
    )  # fmt: skip
    nine = np.array([9])
    floors = [int(live.floors_at(eleven.timestamp() + at, nine, nine, nine)[0]) for at in (0, 300, 600)]
    # 100 / 12: nine replicas, the day's only change; the two that are enough from 23:55 on must wait for midnight
    assert floors == [9, 9, 8]


class CountingStore(FakeStore):
    """A store in which so many requests came in every span; it remembers which were asked for."""

    def __init__(self, requests: int) -> None:
        super().__init__()
        self.requests, self.asked = requests, [{}]

    def query_rows(self, sql: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        if "FROM request_events" in sql and "version" not in sql:
            self.asked.append(parameters)
            return [(self.requests,)] if self.requests else []
        return super().query_rows(sql, parameters)


def test_the_present_ends_where_the_record_has_settled_and_none_counted_is_unknown() -> None:
    store = CountingStore(400)  # 400 - 2 x 20 in 10 s
    now = datetime(2026, 3, 2, 9, 0, 20, tzinfo=UTC)
    came = read_demand_now(store, "shop", now=now, settle=timedelta(seconds=5))  # type: ignore[arg-type]
    assert came == pytest.approx(360 / 10)
    until = datetime(2026, 3, 2, 9, 0, 15, tzinfo=UTC).timestamp() * 1000
    assert store.asked[-1] == {"service": "shop", "since": until - 10_000, "until": until}
    assert read_demand_now(CountingStore(0), "shop", now=now, settle=timedelta(0)) is None  # type: ignore[arg-type]


def test_the_loop_is_overtaken_once_and_not_again_when_it_has_decided() -> None:
    store, cluster, memory = CountingStore(100_000), MemoryCluster({"app": HPA}), Memory(loaded=True)
    world = a_world(store, cluster)
    assert not overtaken_now(world, SERVICE, memory)  # the first decision is the plan's
    decide_once(world, SERVICE, memory, decide=lambda _: a_decision(HPA.floor))
    memory.state = ReplicaState(SERVICE.name, FAKES_NOW, HPA, 12.0)
    assert overtaken_now(world, SERVICE, memory)
    decide_once(world, SERVICE, memory, decide=lambda _: a_decision(HPA.ceiling))
    assert not overtaken_now(world, SERVICE, memory)
