"""The fleet's choices; its processes are tested with real ones."""

from __future__ import annotations

import pytest

from tidegauge.cluster.fleet import back_off_seconds, choose_victims
from tidegauge.cluster.replica import Replica
from tidegauge.cluster.rotation import Backend


def replica(number: int, state: str) -> Replica:
    return Replica(number, Backend(f"app-{number}", number), started_at=0.0, state=state)


def test_replicas_that_are_not_ready_go_first_and_then_the_newest():
    live = [
        replica(1, "ready"),
        replica(2, "starting"),
        replica(3, "ready"),
        replica(4, "starting"),
        replica(5, "ready"),
    ]
    assert [victim.number for victim in choose_victims(live, 4)] == [4, 2, 5, 3]


@pytest.mark.parametrize(
    ("failures", "seconds"), [(1, 0), (2, 0.2), (3, 0.4), (4, 0.8), (9, 25.6), (10, 30), (5000, 30)]
)
def test_the_first_death_is_replaced_at_once_and_the_next_ones_later_and_later(failures, seconds):
    assert back_off_seconds(failures) == pytest.approx(seconds)
