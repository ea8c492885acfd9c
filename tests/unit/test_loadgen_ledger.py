"""The books: on a made-up timeline, every arrival is settled once, whatever happens to whoever sends it."""

from __future__ import annotations

from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.ledger import LOST, Due, Ledger
from loadgen.results import Second
from loadgen.sending.protocol import Outcome, Rows


def a_ledger() -> Ledger:
    return Ledger(["search", "booking"], lambda number: number % 2)


def second(at: int) -> Second:
    return Second(at, at, 1.0)


def result(number: int, outcome: Outcome = Outcome.DONE, *, lag: float = 0.0, service: float = 0.01) -> Rows:
    sent = outcome < Outcome.UNSENT_LIMIT
    status = {Outcome.DONE: 200, Outcome.SERVER_ERROR: 503}.get(outcome, 0)
    times = (lag, 0.0, service, service) if sent else (0.0, 0.0, 0.0, 0.0)
    return Rows.of([(number, 0, number % 2, outcome, status, *times, 0, 0, 0.0)])


def test_a_second_is_complete_when_it_is_over_and_each_of_its_arrivals_is_settled() -> None:
    ledger = a_ledger()
    ledger.plan(second(10), [Due(0, 10.2), Due(1, 10.7)])
    ledger.settle(result(0))
    assert ledger.take_complete(before=20) == []
    ledger.settle(result(1, Outcome.SERVER_ERROR))
    assert ledger.take_complete(before=10.9) == []
    (complete,) = ledger.take_complete(before=11)
    assert (complete.overall.intended, complete.overall.done, complete.overall.failed) == (2, 1, 1)
    assert complete.overall.reasons == {"http_503": 1}
    assert {name: tally.intended for name, tally in complete.routes.items()} == {"search": 1, "booking": 1}
    assert ledger.take_complete(before=20) == []


def test_response_counts_from_the_intended_start_and_service_from_when_it_was_sent() -> None:
    ledger = a_ledger()
    ledger.plan(second(10), [Due(0, 10.0)])
    ledger.settle(result(0, lag=2.0, service=0.05))
    (complete,) = ledger.take_complete(before=11)
    # 2.05 s = 2^20.967 us: bucket ceil(167.74) = 168; 50 ms = 2^15.610 us: bucket ceil(124.88) = 125.
    assert complete.overall.response.counts == {168: 1}
    assert complete.overall.service.counts == {125: 1}
    assert complete.overall.send_lag_us_max == 2_000_000


def test_a_second_without_arrivals_is_told_too() -> None:
    ledger = a_ledger()
    ledger.plan(second(10), [])
    (complete,) = ledger.take_complete(before=11)
    assert complete.overall.intended == 0


def test_what_was_lost_is_unsent_by_route_and_a_late_result_changes_nothing() -> None:
    ledger = a_ledger()
    ledger.plan(second(10), [Due(0, 10.0), Due(1, 10.5)])
    assert ledger.lose(ledger.outstanding()) == 2
    ledger.settle(result(1))
    (complete,) = ledger.take_complete(before=11)
    assert (complete.overall.intended, complete.overall.unsent, complete.overall.done) == (2, 2, 0)
    assert complete.overall.reasons == {LOST: 2}
    assert complete.routes["booking"].unsent == 1
    assert ledger.unknown_results == 1


def test_what_was_cancelled_was_never_intended_whoever_takes_it_back() -> None:
    ledger = a_ledger()
    ledger.plan(second(10), [Due(0, 10.0), Due(1, 10.5), Due(2, 10.9)])
    ledger.settle(result(0))
    ledger.settle(result(1, Outcome.CANCELLED))
    ledger.cancel(ledger.outstanding())
    (complete,) = ledger.take_complete(before=11)
    assert (complete.overall.intended, complete.overall.done) == (1, 1)
    assert list(complete.routes) == ["search"]


def test_a_second_is_planned_once_and_holds_its_own_arrivals_only() -> None:
    ledger = a_ledger()
    ledger.plan(second(10), [])
    with pytest.raises(ValueError, match="planned before"):
        ledger.plan(second(10), [])
    with pytest.raises(ValueError, match="due in second 11"):
        ledger.plan(second(11), [Due(0, 12.0)])


fates = st.sampled_from([*Outcome, "lost", "cancelled here", "twice"])


@given(st.lists(st.lists(fates, max_size=8), max_size=6))
def test_intended_is_done_and_failed_and_unsent_whatever_happens(timeline: list[list[Outcome | str]]) -> None:
    ledger, numbers = a_ledger(), count()
    never_intended = 0
    for at, of_second in enumerate(timeline):
        arrivals = [Due(next(numbers), at + 0.5) for _ in of_second]
        ledger.plan(second(at), arrivals)
        for arrival, fate in zip(arrivals, of_second, strict=True):
            if fate == "lost":
                ledger.lose([arrival])
            elif fate == "cancelled here":
                ledger.cancel([arrival])
            else:
                outcome = fate if isinstance(fate, Outcome) else Outcome.DONE
                ledger.settle(result(arrival.number, outcome))
                if fate == "twice":
                    ledger.settle(result(arrival.number, outcome))
            never_intended += fate in ("cancelled here", Outcome.CANCELLED)
    complete = ledger.take_complete(before=1000)
    assert len(complete) == len(timeline)
    for told in complete:
        assert told.overall.settled
        assert all(tally.settled for tally in told.routes.values())
        assert sum(tally.intended for tally in told.routes.values()) == told.overall.intended
    assert sum(told.overall.intended for told in complete) == sum(map(len, timeline)) - never_intended
    assert ledger.outstanding() == []
