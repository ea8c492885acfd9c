"""The demo's patience with parts that are away for a moment."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from collector.clickhouse import StoreRefusedError, StoreUnavailableError
from tidegauge.demo.patience import patiently


class Time:
    """Passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


def failing(*errors: Exception) -> Callable[[], str]:
    left = list(errors)

    def work() -> str:
        if left:
            raise left.pop(0)
        return "done"

    return work


def ask(work: Callable[[], str], *, patience_seconds: float = 10.0) -> str:
    time = Time()
    return patiently(work, patience_seconds=patience_seconds, now=time.now, sleep=time.sleep)


def test_what_failed_because_a_part_was_away_is_done_again() -> None:
    assert ask(failing(StoreUnavailableError("killed"), httpx.ConnectError("killed"))) == "done"


def test_what_will_never_succeed_is_not_tried_again() -> None:
    with pytest.raises(StoreRefusedError):
        ask(failing(StoreRefusedError("no such table", code=60)))


def test_a_part_that_stays_away_is_told_when_patience_ends() -> None:
    # It is asked at 0, 0.5, 1.0 ...; what begins at 10.0 is the last: 21 times.
    with pytest.raises(StoreUnavailableError, match="21"):
        ask(failing(*(StoreUnavailableError(str(number)) for number in range(1, 30))))


def test_nothing_is_asked_again_of_a_stack_that_ends() -> None:
    with pytest.raises(StoreUnavailableError, match="first"):
        patiently(failing(StoreUnavailableError("first")), stopping=lambda: True)
