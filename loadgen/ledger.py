"""The books: every arrival that was planned is settled exactly once, whatever dies on the way.

Pure: times are arguments. An arrival is outstanding from the moment it is planned until a result says what came of it,
until it is lost (it was due, and nobody is left who could say: unsent), or until it is cancelled (the run was stopped
before it was due: it was never intended). A second is complete when none of its arrivals is outstanding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from loadgen.results import Second, Tally
from loadgen.sending.protocol import FAILED, Outcome, Rows

LOST = "generator_down"  # the reason of arrivals that were lost


@dataclass(frozen=True, slots=True)
class Due:
    """An arrival that may still be sent: its number and the real instant (epoch s) it is due at."""

    number: int
    due_seconds: float


@dataclass(slots=True)
class _Open:
    second: Second
    outstanding: int


@dataclass(slots=True)
class Ledger:
    """Outstanding arrivals and the seconds they belong to. `route_of`: the route index of an arrival's number."""

    route_names: Sequence[str]
    route_of: Callable[[int], int]
    unknown_results: int = 0
    _outstanding: dict[int, Due] = field(default_factory=dict)
    _seconds: dict[int, _Open] = field(default_factory=dict)

    def plan(self, second: Second, arrivals: Iterable[Due]) -> None:
        """Take in one real second, planned as a whole, with its arrivals in the order they are due."""
        if second.real_second in self._seconds:
            raise ValueError(f"second {second.real_second} was planned before")
        known = len(self._outstanding)
        for arrival in arrivals:
            if int(arrival.due_seconds) != second.real_second:
                raise ValueError(f"expected an arrival due in second {second.real_second}, got {arrival}")
            self._outstanding[arrival.number] = arrival
        planned = len(self._outstanding) - known
        second.overall.intended = planned
        self._seconds[second.real_second] = _Open(second, planned)

    def outstanding(self) -> list[Due]:
        """Return the arrivals whose fate is open, in the order they were planned."""
        return list(self._outstanding.values())

    def settle(self, rows: Rows) -> None:
        """Book what the child reports. Rows of arrivals that are not outstanding are counted, and nothing else."""
        groups: dict[tuple[int, int], list[int]] = {}
        for row, (number, route) in enumerate(zip(rows.columns["keys"], rows.columns["routes"], strict=True)):
            arrival = self._outstanding.pop(number, None)
            if arrival is None:
                self.unknown_results += 1
                continue
            groups.setdefault((int(arrival.due_seconds), route), []).append(row)
        for (real_second, route), chosen in groups.items():
            self._book(self._seconds[real_second], self.route_names[route], _tally(rows, chosen), len(chosen))

    def _book(self, opened: _Open, route: str, tally: Tally, settled: int) -> None:
        opened.outstanding -= settled
        cancelled = settled - tally.intended
        if tally.intended:
            opened.second.route(route).merge(tally)
        tally.intended = -cancelled  # the second's own count was made when it was planned
        opened.second.overall.merge(tally)

    def lose(self, arrivals: Iterable[Due]) -> int:
        """Settle these outstanding arrivals as unsent: nobody is left who could say; return how many there were."""
        lost = 0
        for arrival in arrivals:
            opened = self._forget(arrival)
            route = opened.second.route(self.route_names[self.route_of(arrival.number)])
            route.intended += 1
            for tally in (route, opened.second.overall):
                tally.unsent += 1
                tally.count_reason(LOST)
            lost += 1
        return lost

    def cancel(self, arrivals: Iterable[Due]) -> None:
        """Take back these outstanding arrivals: they were not due when the run was stopped."""
        for arrival in arrivals:
            self._forget(arrival).second.overall.intended -= 1

    def _forget(self, arrival: Due) -> _Open:
        del self._outstanding[arrival.number]
        opened = self._seconds[int(arrival.due_seconds)]
        opened.outstanding -= 1
        return opened

    def take_complete(self, before: float) -> list[Second]:
        """Return, once each, the seconds over by `before` (epoch s) with nothing outstanding; oldest first."""
        complete = sorted(
            real for real, opened in self._seconds.items() if real + 1 <= before and not opened.outstanding
        )
        return [self._seconds.pop(real).second for real in complete]


def _tally(rows: Rows, chosen: list[int]) -> Tally:
    """Return the tally of these rows; cancelled ones count nowhere."""
    index = np.array(chosen)
    outcomes, lags, first_bytes, statuses, services = (
        np.array(rows.columns[name], dtype=np.int64)[index]
        for name in ("outcomes", "lags_us", "first_bytes_us", "statuses", "services_us")
    )
    failed = np.isin(outcomes, [int(outcome) for outcome in FAILED])
    sent = failed | (outcomes == Outcome.DONE)
    cancelled = int((outcomes == Outcome.CANCELLED).sum())
    tally = Tally(
        intended=len(chosen) - cancelled,
        done=int(sent.sum() - failed.sum()),
        failed=int(failed.sum()),
        unsent=len(chosen) - cancelled - int(sent.sum()),
        send_lag_us_max=int(lags[sent].max(initial=0)),
    )
    tally.response.add(services[sent] + lags[sent])
    tally.service.add(services[sent])
    tally.send_lag.add(lags[sent])
    tally.first_byte.add(first_bytes[statuses > 0])
    for status, outcome in zip(statuses, outcomes, strict=True):
        if outcome not in (Outcome.DONE, Outcome.CANCELLED):
            tally.count_reason(_reason(Outcome(int(outcome)), int(status)))
    return tally


def _reason(outcome: Outcome, status: int) -> str:
    return f"http_{status}" if status else outcome.name.lower()
