"""What survives the cluster's death."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from forecaster.scaling.hpa import HpaMemory
from tidegauge.cluster.state import ClusterState, Counts, Journal, StateError

INITIAL = ClusterState(floor=2, desired=2)


def journal_in(folder, now_seconds=lambda: 1_000.0) -> Journal:
    return Journal(folder, initial=INITIAL, now_seconds=now_seconds)


def test_the_first_start_begins_with_the_configured_floor(tmp_path):
    assert journal_in(tmp_path / "new" / "folder").state == INITIAL


def test_the_whole_state_comes_back(tmp_path):
    memory = HpaMemory(
        ((datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC), 7), (datetime(2026, 1, 2, 3, 4, 20, tzinfo=UTC), 8)),
        ((datetime(2026, 1, 2, 3, 4, 20, tzinfo=UTC), -3),),
    )
    state = ClusterState(floor=5, desired=8, manager="tidegauge", memory=memory)
    journal_in(tmp_path).keep(state)
    assert journal_in(tmp_path).state == state


def test_transitions_come_back_in_order_and_from_an_instant_on(tmp_path):
    now = iter([10.0, 20.0, 30.0])
    journal = journal_in(tmp_path, lambda: next(now))
    journal.note("floor", Counts(2, 2))
    journal.note("starting", Counts(3, 2), "app-1")
    journal.note("ready", Counts(3, 3), "app-1")
    again = journal_in(tmp_path)
    assert again.since(0) == journal.since(0)
    assert [(t.at, t.kind, t.current, t.ready, t.instance) for t in again.since(20.0)] == [
        (20.0, "starting", 3, 2, "app-1"),
        (30.0, "ready", 3, 3, "app-1"),
    ]


def test_replicas_that_the_log_left_alive_are_noted_as_lost_once(tmp_path):
    journal = journal_in(tmp_path)
    for instance, kinds in {
        "app-1": ["starting", "ready"],
        "app-2": ["starting"],
        "app-3": ["starting", "ready", "draining"],
        "app-4": ["starting", "ready", "draining", "stopped"],
        "app-5": ["starting", "lost"],
    }.items():
        for kind in kinds:
            journal.note(kind, Counts(3, 2), instance)
    for _ in range(2):  # the second start finds that it was told
        journal = journal_in(tmp_path, lambda: 2_000.0)
        journal.note_lost()
    told = [(t.kind, t.instance, t.current, t.ready) for t in journal.since(2_000.0)]
    assert told == [("lost", "app-1", 0, 0), ("lost", "app-2", 0, 0), ("lost", "app-3", 0, 0)]


def test_half_a_last_line_costs_that_line_only_and_the_next_is_whole(tmp_path):
    journal = journal_in(tmp_path)
    journal.note("floor", Counts(2, 2))
    with (tmp_path / "transitions.jsonl").open("a") as file:
        file.write('{"at": 5, "ki')
    second = journal_in(tmp_path)
    second.note("desired", Counts(2, 2))
    assert [t.kind for t in journal_in(tmp_path).since(0)] == ["floor", "desired"]


@pytest.mark.parametrize("content", ["", "[]", '{"floor": 3}', '{"floor": "many", "desired": 1, "manager": null}'])
def test_a_state_file_that_is_not_ours_is_named(tmp_path, content):
    (tmp_path / "state.json").write_text(content)
    with pytest.raises(StateError, match=r"state\.json: expected JSON with floor"):
        journal_in(tmp_path)


def test_no_half_written_file_is_left_beside_the_state(tmp_path):
    journal = journal_in(tmp_path)
    journal.keep(ClusterState(floor=3, desired=3))
    journal.keep(ClusterState(floor=3, desired=4))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["state.json"]
