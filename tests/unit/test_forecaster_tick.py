"""The spine when parts of the world fail, and the small decisions inside it; a working world is an integration test."""

import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from collector.clickhouse import StoreRefusedError, StoreUnavailableError
from forecaster.actuators.memory import MemoryCluster
from forecaster.loop.journal import Journal
from forecaster.loop.scheduler import Tick, Ticker, interval_seconds
from forecaster.loop.tick import (
    Memory,
    decide_once,
    decision_is_due,
    is_worth_storing,
    observe_once,
    refresh_once,
)
from forecaster.metrics import ForecasterMetrics
from forecaster.scaling.types import Decision, HpaState, Situation
from forecaster.store import StoredDecision
from tests.unit.forecaster_fakes import HPA, NOW, SERVICE, FakeStore, a_decision, a_stored, a_world
from tidegauge.clock import Clock


def raise_to_six(_: Situation) -> Decision:
    return a_decision(6)


def test_a_decision_to_raise_changes_the_floor_and_leaves_an_audit_row() -> None:
    store, cluster = FakeStore(), MemoryCluster({"app": HPA})
    decided = decide_once(a_world(store, cluster), SERVICE, Memory(), decide=raise_to_six)
    assert cluster.read("app").floor == 6
    assert decided.stored.applied
    [(table, columns, token), (other, patch, _)] = store.inserts
    assert (table, columns["floor_after"], columns["applied"]) == ("decisions", [6], [1])
    assert token == f"decision/{decided.stored.id}"
    assert (other, patch["decision_id"], patch["floor_before"], patch["floor_after"], patch["applied"]) == (
        "floor_patches", [decided.stored.id], [2], [6], [1],
    )  # fmt: skip


def test_an_empty_record_means_no_plan_and_an_untouched_floor() -> None:
    store, cluster = FakeStore(), MemoryCluster({"app": HPA})
    memory = Memory()
    refresh_once(a_world(store, cluster), SERVICE, memory)
    decided = decide_once(a_world(store, cluster), SERVICE, memory)
    assert decided.stored.decision.outcome == "no_plan"
    assert "no demand has been recorded or imported yet" in decided.stored.decision.reasons[0]
    assert cluster.written == []


def test_without_a_forecast_the_floor_is_held_for_an_hour_and_then_goes_back_in_steps() -> None:
    store, memory = FakeStore(), Memory()
    cluster = MemoryCluster({"app": replace(HPA, floor=10)})
    outcomes = []
    for minutes in (0, 60, 61):
        world = a_world(store, cluster, now=NOW + timedelta(minutes=minutes))
        decision = decide_once(world, SERVICE, memory).stored.decision
        outcomes.append((decision.outcome, decision.floor_after))
    assert outcomes == [("no_plan", 10), ("no_plan", 10), ("lower", 8)]  # a fifth of ten


def test_with_the_store_down_a_tick_changes_nothing_and_says_so() -> None:
    store, cluster = FakeStore(), MemoryCluster({"app": HPA})
    store.error = StoreUnavailableError("connection refused")
    for tick in (refresh_once, decide_once, observe_once):
        with pytest.raises(StoreUnavailableError):
            tick(a_world(store, cluster), SERVICE, Memory())
    assert cluster.written == []


def test_a_floor_changed_while_the_store_went_down_is_written_to_the_audit_at_the_next_tick() -> None:
    store, cluster, memory = FakeStore(), MemoryCluster({"app": HPA}), Memory()
    store.insert_error = StoreUnavailableError("connection reset")
    first = decide_once(a_world(store, cluster), SERVICE, memory, decide=raise_to_six)
    assert cluster.read("app").floor == 6
    with pytest.raises(StoreUnavailableError):  # without an audit no further floor is decided
        decide_once(a_world(store, cluster), SERVICE, memory, decide=lambda _: a_decision(8))
    assert cluster.written == [("app", 6)]
    store.insert_error = None
    decide_once(a_world(store, cluster), SERVICE, memory, decide=lambda _: a_decision(2))
    _, oldest, _ = store.inserts[0]
    assert oldest["id"] == [first.stored.id]


def test_an_audit_row_that_the_store_will_never_take_does_not_stop_the_next_ones() -> None:
    store, cluster, memory = FakeStore(), MemoryCluster({"app": HPA}), Memory()
    store.insert_error = StoreRefusedError("no such column", code=16)
    for _ in range(2):  # its decision's row, then its patch's
        with pytest.raises(StoreRefusedError):
            decide_once(a_world(store, cluster), SERVICE, memory, decide=raise_to_six)
    assert memory.unsaved == []


def test_a_cluster_that_refuses_leaves_an_audit_row_with_the_reason() -> None:
    store, cluster = FakeStore(), MemoryCluster({"app": replace(HPA, ceiling=5)})
    decided = decide_once(a_world(store, cluster), SERVICE, Memory(), decide=raise_to_six)
    assert not decided.stored.applied
    assert [table for table, *_ in store.inserts] == ["decisions", "floor_patches"]
    for _, columns, _ in store.inserts:
        assert columns["applied"] == [0]
        assert columns["error"] == ["floor 6 of app: expected 1 to 5"]


def test_a_lowering_starts_the_cool_down_even_when_its_answer_was_lost() -> None:
    store, cluster, memory = FakeStore(), MemoryCluster({"app": HPA}), Memory(loaded=True)
    cluster.unavailable = "timed out"
    lower = a_decision(1, outcome="lower")
    decide_once(a_world(store, cluster), SERVICE, memory, decide=lambda _: lower)
    assert memory.changes.lowered_at == NOW


def test_a_decision_is_due_once_per_forecast_and_again_after_a_failed_change() -> None:
    store, cluster, memory = FakeStore(), MemoryCluster({"app": HPA}), Memory(loaded=True)
    world = a_world(store, cluster)
    assert decision_is_due(world, memory)

    decide_once(world, SERVICE, memory, decide=lambda _: a_decision(2))
    assert not decision_is_due(world, memory)

    cluster.unavailable = "timed out"
    decide_once(world, SERVICE, memory, decide=raise_to_six)
    assert decision_is_due(world, memory)


def test_a_repeated_decision_is_stored_only_when_the_heartbeat_is_due() -> None:
    heartbeat = timedelta(minutes=5)
    last = a_stored(a_decision(2))
    again = a_stored(a_decision(2, at=NOW + timedelta(minutes=4), reasons=("demand stays under 58.9 rps until 08:14",)))
    assert not is_worth_storing(again, last, heartbeat=heartbeat)
    late = a_stored(a_decision(2, at=NOW + timedelta(minutes=5)))
    assert is_worth_storing(late, last, heartbeat=heartbeat)


@pytest.mark.parametrize(
    "changed",
    [
        a_stored(a_decision(6), applied=True),
        a_stored(a_decision(2, reasons=("the forecast is stale",))),
        a_stored(a_decision(2, outcome="no_plan")),
        a_stored(a_decision(2), error="timed out"),
    ],
)
def test_a_decision_that_says_something_else_is_stored_at_once(changed: StoredDecision) -> None:
    assert is_worth_storing(changed, a_stored(a_decision(2)), heartbeat=timedelta(minutes=5))


def test_a_state_is_stored_when_it_changes_or_a_minute_has_passed() -> None:
    store, cluster, memory = FakeStore(), MemoryCluster({"app": HPA}), Memory()

    def observed_after(seconds: int) -> bool:
        world = a_world(store, cluster, now=NOW + timedelta(seconds=seconds))
        return observe_once(world, SERVICE, memory) is not None

    assert observed_after(0)
    assert not observed_after(30)
    cluster.hpas["app"] = replace(HPA, ready=3)
    assert observed_after(40)
    assert not observed_after(99)
    assert observed_after(100)  # 60 s after the last one


def test_timers_follow_the_clock_but_never_spin() -> None:
    tick = Tick("decide", timedelta(minutes=1), 1.0, lambda *_: None)
    # The demo started an hour ago at 60 times real time, four days back: not caught up, so a minute is a second.
    real = NOW.timestamp()
    playing = Clock(start=real - 4 * 86400, real_start=real - 3600, speed=60, read_real=lambda: real)
    assert interval_seconds(tick, playing) == 1.0
    assert interval_seconds(tick, replace(playing, speed=240, start=real - 40 * 86400)) == 1.0  # a quarter, but no less
    assert interval_seconds(tick, Clock()) == 60


def test_when_the_demo_has_caught_up_the_timers_are_set_to_real_time() -> None:
    real = [NOW.timestamp()]
    # An hour of the past is played 60 times faster: it has caught up after 3600 / 59 = 61.02 seconds.
    clock = Clock(start=real[0] - 3600, real_start=real[0], speed=60, read_real=lambda: real[0])
    world = replace(a_world(FakeStore(), MemoryCluster({"app": HPA})), clock=clock)
    ticker = Ticker(world, [SERVICE], ForecasterMetrics(clock, world.settings))
    ticker.start()
    try:
        seconds = {
            "plan": 1.0,
            "watch": 0.5,
            "train": 1.0,
            "observe": 0.5,
            "score": 15.0,
            "rescore": 60.0,
            "follow": 1.0,
            "weigh": 60.0,
        }
        assert ticker.intervals() == {name: timedelta(seconds=value) for name, value in seconds.items()}
        real[0] += 62
        ticker.run_tick("observe")
        assert ticker.intervals() == {
            "plan": timedelta(minutes=1),
            "watch": timedelta(seconds=15),
            "train": timedelta(minutes=1),
            "observe": timedelta(seconds=30),
            "score": timedelta(minutes=15),
            "rescore": timedelta(hours=1),
            "follow": timedelta(minutes=1),
            "weigh": timedelta(hours=1),
        }
    finally:
        ticker.stop()


def test_stopping_while_a_tick_sets_the_timers_anew_does_not_hang() -> None:
    real = [NOW.timestamp()]
    clock = Clock(start=real[0] - 3600, real_start=real[0], speed=60, read_real=lambda: real[0])
    world = replace(a_world(FakeStore(), MemoryCluster({"app": HPA})), clock=clock)
    ticker = Ticker(world, [SERVICE], ForecasterMetrics(clock, world.settings))
    begun, done = threading.Event(), threading.Event()

    def run_until_stopped(*_: object) -> None:
        begun.set()
        ticker._stopping.wait(10)
        real[0] += 62  # the demo catches up: the timers are to be set anew, on a scheduler that is being shut down
        done.set()

    ticker._ticks["observe"] = replace(ticker._ticks["observe"], run=run_until_stopped)
    ticker.start()
    assert begun.wait(10)

    ticker.stop()

    assert done.is_set()  # stop returns when what was under way is done


def test_a_failing_tick_is_counted_and_does_not_end_the_loop() -> None:
    store, cluster = FakeStore(), MemoryCluster({"app": HPA})
    world = a_world(store, cluster)
    metrics = ForecasterMetrics(world.clock, world.settings)
    ticker = Ticker(world, [SERVICE], metrics)
    store.error = StoreUnavailableError("connection refused")
    ticker.run_tick("plan")
    store.error = RuntimeError("a bug")
    ticker.run_tick("plan")
    store.error = None
    ticker.run_tick("plan")
    text = metrics.text().decode()
    assert 'tidegauge_tick_errors_total{error="StoreUnavailableError",tick="plan"} 1.0' in text
    assert 'tidegauge_tick_errors_total{error="RuntimeError",tick="plan"} 1.0' in text
    assert 'tidegauge_decisions_total{outcome="no_plan",service="shop"} 1.0' in text
    # Nothing is known: so the own SLO was checked and not kept, and no age or wanted floor is told.
    assert 'tidegauge_slo_checks_total{objective="forecast_age",result="valid",service="shop"} 1.0' in text
    assert 'tidegauge_slo_checks_total{objective="forecast_age",result="good",service="shop"} 0.0' in text
    assert "tidegauge_forecast_age_seconds{" not in text
    assert "tidegauge_floor_wanted{" not in text


def test_starting_loads_no_machine_learning_library() -> None:
    import subprocess
    import sys

    code = "import forecaster.__main__, sys; assert not {'sklearn', 'scipy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


class Bench:
    """A lease that is given and taken by hand."""

    def __init__(self) -> None:
        self.leading = False

    def leads(self) -> bool:
        return self.leading

    def holds(self) -> bool:
        return self.leading


def test_who_stands_by_does_nothing_and_forgets_what_it_knew_when_it_begins_to_lead() -> None:
    store, cluster, lease = FakeStore(), MemoryCluster({"app": HPA}), Bench()
    world = a_world(store, cluster)
    ticker = Ticker(world, [SERVICE], ForecasterMetrics(world.clock, world.settings), lease=lease)
    before = ticker.memories["shop"]
    before.newest = a_stored(a_decision(6))
    ticker.run_tick("plan")
    ticker.run_tick("observe")
    assert store.inserts == []
    lease.leading = True
    ticker._look_who_leads()
    assert ticker.memories["shop"].newest is None
    ticker.run_tick("observe")
    assert [table for table, *_ in store.inserts] == ["replica_states"]


class Killed(BaseException):
    """What a kill -9 is to the code it ends: nothing after it is run."""


@pytest.mark.parametrize("written", [True, False])
def test_a_kill_around_the_change_loses_no_row_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: bool
) -> None:
    store, cluster = FakeStore(), MemoryCluster({"app": HPA})
    world = replace(a_world(store, cluster), journal=Journal(tmp_path))
    write_floor = cluster.write_floor

    def killed_there(name: str, floor: int) -> HpaState:
        if written:
            write_floor(name, floor)
        raise Killed

    monkeypatch.setattr(cluster, "write_floor", killed_there)
    with pytest.raises(Killed):
        decide_once(world, SERVICE, Memory(), decide=raise_to_six)
    assert store.inserts == []

    monkeypatch.undo()
    decide_once(world, SERVICE, Memory(), decide=lambda _: a_decision(2))  # the next life
    (first, decision, token), (second, patch, _), *_ = store.inserts
    assert (first, second) == ("decisions", "floor_patches")
    assert decision["id"] == patch["decision_id"]
    assert token == f"decision/{decision['id'][0]}"  # under which the store keeps it once
    assert "ended before it knew" in patch["error"][0]
    assert Journal(tmp_path).left("shop") == []


def test_a_change_is_not_made_when_its_rows_cannot_be_put_on_disk(tmp_path: Path) -> None:
    store, cluster = FakeStore(), MemoryCluster({"app": HPA})
    (tmp_path / "taken").write_text("")  # a file where the folder should be
    world = replace(a_world(store, cluster), journal=Journal(tmp_path / "taken"))
    with pytest.raises(OSError, match="taken"):
        decide_once(world, SERVICE, Memory(), decide=raise_to_six)
    assert cluster.written == []
