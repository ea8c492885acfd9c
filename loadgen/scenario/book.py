"""The books of a scenario: each planned arrival is settled once, each request is counted in its second. Pure.

Arrivals are counted as intended when they are planned; requests that follow from others, and those of users of the
closed model, when they were sent. A second is complete when none of its arrivals is outstanding and the slowest
request that began in it must be over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from loadgen.ledger import LOST
from loadgen.metrics import Measured
from loadgen.results import Second
from loadgen.sending.protocol import FAILED, UNSENT, Outcome, Rows

FAILED_CODES = [int(outcome) for outcome in FAILED]
MOST_ROUTES = 256
UNSENT_CODES = [int(outcome) for outcome in UNSENT]


@dataclass(frozen=True, slots=True)
class Planned:
    """An arrival that is to be: its second and its first request's route."""

    due_seconds: float
    route: int


@dataclass(slots=True)
class Book:
    """What is known. patience_seconds: after so long a request that began is over."""

    routes: list[str]
    patience_seconds: float
    overall: Measured = field(default_factory=Measured)
    by_route: dict[str, Measured] = field(default_factory=dict)
    outstanding: dict[int, Planned] = field(default_factory=dict)
    unknown_rows: int = 0
    _seconds: dict[int, dict[str, Measured]] = field(default_factory=dict)
    _open: dict[int, int] = field(default_factory=dict)
    _told: int = 0

    def route_index(self, name: str) -> int:
        """Return the index of a route, added when it is new; beyond 256 they are counted together."""
        if name not in self.routes:
            if len(self.routes) >= MOST_ROUTES:
                return MOST_ROUTES - 1
            self.routes.append(name if len(self.routes) < MOST_ROUTES - 1 else "others")
        return self.routes.index(name) if name in self.routes else MOST_ROUTES - 1

    def plan(self, arrivals: Iterable[tuple[int, Planned]]) -> None:
        """Take in arrivals by key."""
        for key, planned in arrivals:
            self.outstanding[key] = planned
            second = int(planned.due_seconds)
            self._open[second] = self._open.get(second, 0) + 1
            for measured in (*self._places(second, planned.route), self.overall):
                measured.intended += 1

    def _places(self, second: int, route: int) -> tuple[Measured, Measured]:
        name = self.routes[route]
        second = max(second, self._told)  # what was told is told: a straggler counts in the next second
        places = (self._seconds.setdefault(second, {}), self.by_route)
        for place in places:
            if name not in place:
                place[name] = Measured()
        return places[0][name], places[1][name]

    def _count(self, second: int, route: int, measured: Measured) -> None:
        for place in (*self._places(second, route), self.overall):
            place.merge(measured)

    def _close(self, key: int) -> Planned | None:
        planned = self.outstanding.pop(key, None)
        if planned is None:
            self.unknown_rows += 1
        else:
            self._open[int(planned.due_seconds)] -= 1
        return planned

    def settle(self, rows: Rows) -> None:
        """Book what a child reports."""
        columns = {name: np.array(column) for name, column in rows.columns.items()}
        fresh = np.zeros(len(rows), dtype=bool)
        kept = np.ones(len(rows), dtype=bool)
        for row, key in enumerate(rows.columns["keys"]):
            if key < 0:
                fresh[row] = True
                continue
            planned = self._close(key)
            if planned is None:
                kept[row] = False
                continue
            kept[row] = columns["outcomes"][row] != Outcome.CANCELLED
            if not kept[row] or columns["routes"][row] != planned.route:  # counted where it was planned
                self._count(int(planned.due_seconds), planned.route, Measured(intended=-1))
                fresh[row] = kept[row]
        groups = columns["seconds"].astype(np.int64) * 256 + columns["routes"]
        for group in np.unique(groups[kept]):
            chosen = kept & (groups == group)
            part = {name: column[chosen] for name, column in columns.items()}
            self._count(int(group) // 256, int(group) % 256, _measured(part, intended=int(fresh[chosen].sum())))

    def lose(self, before: float) -> int:
        """Settle what was due before then and nobody can tell of any more as unsent; return how many."""
        lost = [key for key, planned in self.outstanding.items() if planned.due_seconds < before]
        for key in lost:
            planned = self._close(key)
            if planned is not None:
                self._count(int(planned.due_seconds), planned.route, Measured(unsent=1, reasons={LOST: 1}))
        return len(lost)

    def cancel(self, since: float) -> None:
        """Take back what was not due by then: it was never to be."""
        for key in [key for key, planned in self.outstanding.items() if planned.due_seconds >= since]:
            planned = self._close(key)
            if planned is not None:
                self._count(int(planned.due_seconds), planned.route, Measured(intended=-1))

    def so_far(self, since: int, now: float) -> tuple[Measured, int]:
        """Return what is known of the seconds from `since` on that are not told yet, and how many wait past `now`."""
        total = Measured()
        for second, routes in self._seconds.items():
            if second >= since:
                for measured in routes.values():
                    total.merge(measured)
        return total, sum(since <= planned.due_seconds < now for planned in self.outstanding.values())

    def take_complete(self, now: float) -> list[tuple[int, dict[str, Measured]]]:
        """Return the seconds of which all is known, in order, each once: (epoch second, by route)."""
        complete = []
        for second in sorted(self._seconds):
            if second + 1 + self.patience_seconds > now or self._open.get(second, 0):
                break
            complete.append((second, self._seconds.pop(second)))
            self._open.pop(second, None)
            self._told = second + 1
        return complete


def second_of(second: int, routes: Mapping[str, Measured], *, users: int | None = None) -> Second:
    """Return the record's form of a complete second. users: the most who were at work in it; None: not counted."""
    made = Second(second, second, 1.0, users=users)
    for name, measured in routes.items():
        tally = measured.tally()
        made.routes[name] = tally
        made.overall.merge(tally)
    return made


def _measured(part: Mapping[str, np.ndarray], *, intended: int) -> Measured:
    outcomes = part["outcomes"]
    failed, unsent = np.isin(outcomes, FAILED_CODES), np.isin(outcomes, UNSENT_CODES)
    sent = ~unsent
    lags, services = part["lags_us"].astype(np.int64), part["services_us"].astype(np.int64)
    measured = Measured(
        intended, int((sent & ~failed).sum()), int(failed.sum()), int(unsent.sum()),
        checks_passed=int(part["checks_passed"].sum()), checks_failed=int(part["checks_failed"].sum()),
    )  # fmt: skip
    measured.response.add(services[sent] + lags[sent])
    measured.service.add(services[sent])
    measured.first_byte.add(part["first_bytes_us"].astype(np.int64)[part["statuses"] > 0])
    scheduled = sent & (part["keys"] >= 0)  # what follows from an answer has no schedule to be late for
    measured.lag.add(lags[scheduled])
    measured.late.add(part["lates_us"].astype(np.int64)[scheduled])
    for row in np.flatnonzero(outcomes != Outcome.DONE):
        status = int(part["statuses"][row])
        measured.count_reason(f"http_{status}" if status else Outcome(int(outcomes[row])).name.lower())
    return measured
