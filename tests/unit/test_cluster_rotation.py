"""Which replica gets the next request."""

from __future__ import annotations

import asyncio

import pytest

from tidegauge.cluster.rotation import Backend, Rotation


def rotation_of(*instances: str) -> tuple[Rotation, dict[str, Backend]]:
    rotation = Rotation()
    backends = {name: Backend(name, port) for port, name in enumerate(instances, start=1)}
    for backend in backends.values():
        rotation.add(backend)
    return rotation, backends


def taken(rotation: Rotation) -> str:
    backend = rotation.take()
    assert backend is not None
    return backend.instance


def test_equals_are_taken_in_turn():
    rotation, backends = rotation_of("a", "b", "c")
    names = []
    for _ in range(6):
        name = taken(rotation)
        names.append(name)
        rotation.give_back(backends[name])  # all are at zero again: only the turn decides
    assert names == ["a", "b", "c", "a", "b", "c"]


def test_the_replica_with_the_fewest_in_flight_is_taken_whoever_has_the_turn():
    rotation, backends = rotation_of("a", "b")
    assert [taken(rotation), taken(rotation), taken(rotation)] == ["a", "b", "a"]  # a: 2, b: 1; the turn is b's
    rotation.give_back(backends["a"])
    rotation.give_back(backends["a"])  # a: 0, b: 1
    assert taken(rotation) == "a"


def test_a_new_replica_is_filled_up_to_the_others_first():
    rotation, _ = rotation_of("a", "b")
    for _ in range(6):
        taken(rotation)  # a: 3, b: 3
    rotation.add(Backend("new", 9))
    assert [taken(rotation) for _ in range(3)] == ["new", "new", "new"]  # 3, 3, 3
    assert sorted(taken(rotation) for _ in range(3)) == ["a", "b", "new"]


def test_a_removed_replica_gets_nothing_more_and_keeps_its_count():
    rotation, backends = rotation_of("a", "b")
    taken(rotation)
    rotation.remove(backends["a"])
    rotation.remove(backends["a"])  # a second time is nothing
    assert {taken(rotation) for _ in range(4)} == {"b"}
    assert backends["a"].in_flight == 1


def test_nothing_is_taken_from_an_empty_rotation_or_besides_the_only_one():
    rotation, backends = rotation_of("a")
    assert rotation.take(besides=backends["a"]) is None
    assert backends["a"].in_flight == 0
    assert Rotation().take() is None


async def test_who_waits_gets_the_replica_that_becomes_ready():
    rotation = Rotation()
    waiting = [asyncio.create_task(rotation.take_soon(within_seconds=30)) for _ in range(3)]
    await asyncio.sleep(0)
    backend = Backend("late", 1)
    rotation.add(backend)
    assert await asyncio.gather(*waiting) == [backend] * 3
    assert backend.in_flight == 3


async def test_waiting_ends_with_nothing_when_no_replica_becomes_ready():
    assert await Rotation().take_soon(within_seconds=0.01) is None


@pytest.mark.parametrize("replicas", [1, 2, 7, 20])
def test_a_burst_is_spread_evenly(replicas):
    rotation, backends = rotation_of(*(str(number) for number in range(replicas)))
    for _ in range(replicas * 5):
        taken(rotation)
    assert [backend.in_flight for backend in backends.values()] == [5] * replicas
