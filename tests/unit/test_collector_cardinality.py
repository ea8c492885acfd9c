"""The guard on labels: templates, caps, what a restart remembers, and what is forgotten."""

from __future__ import annotations

from pathlib import Path

import pytest

from collector.sources.cardinality import MOST_SERVICES, CardinalityGuard, folded_route


@pytest.mark.parametrize(
    ("route", "template"),
    [
        ("/items/{item}", "/items/{item}"),
        ("/items/42/parts/7", "/items/{id}/parts/{id}"),
        ("/users/3f2b8c1e-0d4a-4c3b-9f6e-1a2b3c4d5e6f", "/users/{id}"),
        ("/blobs/deadbeef01", "/blobs/{id}"),
        ("/t/eyJhbGciOiJIUzI1NiIsInR5", "/t/{id}"),
        ("/api/v1/search?q=1", "/api/v1/search"),
        ("/2fa/verify", "/2fa/verify"),
        ("", ""),
    ],
)
def test_a_raw_route_folds_into_a_template(route: str, template: str) -> None:
    assert folded_route(route) == template


def guard(path: Path, day: list[int], **caps: int) -> CardinalityGuard:
    return CardinalityGuard(path / "labels.jsonl", day=lambda: day[0], caps=caps, series_cap=2)


def columns(*routes: str) -> dict[str, list[str]]:
    return {"route": list(routes), "region": ["eu"] * len(routes), "ts_us": ["1"] * len(routes)}


def test_what_is_over_the_cap_is_recorded_as_other_and_told(tmp_path: Path) -> None:
    labels = guard(tmp_path, [10], route=2, region=5)
    assert labels.fold("shop", columns("/a", "/b", "/a")) is None
    folded = labels.fold("shop", columns("/a", "/c", "/d", "/c"))
    assert folded is not None
    assert folded["route"] == ["/a", "/*", "/*", "/*"]
    assert folded["region"] == ["eu"] * 4
    assert labels.fold("other", columns("/c")) is None  # each service has a cap of its own
    known = labels.report()["shop"]["route"]
    assert (known.values, known.cap, known.folded) == (2, 2, 2)
    labels.close()


def test_a_restart_admits_no_second_set(tmp_path: Path) -> None:
    first = guard(tmp_path, [10], route=2)
    first.fold("shop", columns("/a", "/b"))
    assert [first.admits_series("shop", identity) for identity in (1, 2, 3)] == [True, True, False]
    first.close()
    with (tmp_path / "labels.jsonl").open("a") as log:
        log.write('["shop", "rou')  # torn by a kill
    again = guard(tmp_path, [10], route=2)
    folded = again.fold("shop", columns("/c", "/b"))
    assert folded is not None
    assert folded["route"] == ["/*", "/b"]
    assert [again.admits_series("shop", identity) for identity in (3, 1)] == [False, True]
    again.close()


def test_a_value_not_seen_for_days_gives_its_place_back(tmp_path: Path) -> None:
    day = [10]
    labels = guard(tmp_path, day, version=1)
    assert labels.fold("shop", {"version": ["v1"]}) is None
    day[0] = 13
    folded = labels.fold("shop", {"version": ["v2"]})
    assert folded is not None  # seen three days ago: still known
    day[0] = 14
    assert labels.fold("shop", {"version": ["v2"]}) is None
    labels.close()


def test_endless_services_are_counted_as_one_and_take_no_memory(tmp_path: Path) -> None:
    labels = guard(tmp_path, [10], route=2)
    admitted = [labels.admits_series(f"service-{number}", number) for number in range(MOST_SERVICES + 100)]
    assert sum(admitted) == MOST_SERVICES
    assert not labels.admits_service("one-more")
    assert labels.admits_service("service-0")
    assert labels.report()["(other services)"]["series"].folded == 100
    assert len(labels.report()) == MOST_SERVICES + 1
    labels.close()
