"""The generator's loop on a made-up clock, with a child that only pretends to send."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import numpy as np
import pytest

from loadgen.arrivals import RateCurve, Schedule
from loadgen.generator import ChildFailedError, Generator
from loadgen.results import Second, Totals
from loadgen.scenario.journeys_file import as_journeys, single_path
from loadgen.sending.protocol import Outcome, Rows
from loadgen.supervised import iterations_of
from tidegauge.clock import Clock

START = 1_795_305_600.0
SPEED = 60.0


class SteppingTime:
    """Real time that moves on a little each time somebody looks."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        self.now += 0.05
        return self.now


class PretendedChild:
    """Answers every arrival at once; dies when it has been given more than `lives_for` of them."""

    pid = 0

    def __init__(self, lives_for: float = float("inf"), *, ever_ready: bool = True) -> None:
        self._told: asyncio.Queue[Rows | dict[str, Any] | None] = asyncio.Queue()
        self._lives_for = lives_for
        self.dues: list[float] = []
        self._tell("ready" if ever_ready else None)

    def _tell(self, state: str | None) -> None:
        self._told.put_nowait(state and {"state": state, "in_flight": 0, "cpu_seconds": 0.25})

    def say(self, line: Mapping[str, Any]) -> None:
        if "arrivals" in line:
            self.dues += line["arrivals"]["due"]
            if len(self.dues) > self._lives_for:
                self._tell(None)
                return
            keys = line["arrivals"]["keys"]
            self._told.put_nowait(
                Rows.of([(key, 0, 0, Outcome.DONE, 200, 0.0, 0.0, 0.0, 0.0, 0, 0, 0.0) for key in keys])
            )
        if "stop" in line:
            self._tell("stopped")
            self._tell(None)

    async def messages(self) -> AsyncIterator[Rows | dict[str, Any]]:
        while (message := await self._told.get()) is not None:
            yield message

    def kill(self) -> None:
        self._tell(None)

    async def end(self) -> None:
        pass


class Rig:
    """A generator under the demo's clock, at 2 arrivals per clock second for 20 real seconds, and what it told."""

    def __init__(self, *children: PretendedChild) -> None:
        self.time = SteppingTime(START)
        self.clock = Clock(START - 86_400, START, SPEED, self.time)
        self.children = list(children)
        self.started: list[PretendedChild] = []
        self.totals, self.told = Totals(), list[Second]()
        self.generator = Generator(
            clock=self.clock, child_plan={},
            iterations=iterations_of(as_journeys(single_path("/")), seed=0, run_id="r"),
            start_child=self._start, sink=self._sink, tick_seconds=0.001, backoff_seconds=0.0,
        )  # fmt: skip
        begins = START - 86_400
        curve = RateCurve(np.array([begins - 9e5, begins + 9e5]), np.array([2.0, 2.0]))
        self.schedule = Schedule(curve, "uniform")

    async def _start(self, plan: Mapping[str, Any]) -> PretendedChild:
        if self.started:
            self.time.now += 4  # another one takes four seconds to start: longer than what is planned ahead
        self.started.append(self.children.pop(0))
        return self.started[-1]

    def _sink(self, seconds: list[Second]) -> None:
        self.told += seconds
        for second in seconds:
            self.totals.add(second)

    async def follow(self, *, first: int, last: int, settled: frozenset[int] = frozenset()) -> None:
        stop = asyncio.Event()
        try:
            await self.generator.start(stop)
            await self.generator.follow(
                self.schedule, stop, first_second=first,
                until_clock=self.clock.at_real(last + 1), already_settled=settled,
            )  # fmt: skip
        finally:
            await self.generator.close()


FIRST = int(START) + 5


async def test_a_rate_by_the_clock_is_sent_speed_times_faster_in_real_seconds() -> None:
    rig = Rig(PretendedChild())
    await rig.follow(first=FIRST, last=FIRST + 9)
    # 2 per clock second * 60 clock seconds per real second = 120 in each of the ten real seconds.
    assert [second.overall.intended for second in rig.told] == [120] * 10
    assert [second.overall.done for second in rig.told] == [120] * 10
    assert [second.real_second for second in rig.told] == list(range(FIRST, FIRST + 10))
    # The clock stands at START - 86400 + 60 * 5 when the first begins, and moves on by 60 s each.
    assert [second.clock_second for second in rig.told] == [int(START) - 86_400 + 300 + 60 * k for k in range(10)]
    assert rig.totals.peak_minute() == (int(START) - 86_400 + 300, 2.0)


async def test_the_child_hears_of_each_arrival_once_and_before_it_is_due() -> None:
    rig = Rig(PretendedChild())
    await rig.follow(first=FIRST, last=FIRST + 4)
    dues = np.array(rig.started[0].dues)
    assert dues.size >= 600  # five seconds; what was planned beyond the end was cut off by `until`
    # Uniform arrivals at 120 per real second.
    assert np.diff(dues) == pytest.approx(1 / 120, abs=1e-5)


async def test_a_child_that_died_is_replaced_and_what_it_took_along_is_unsent() -> None:
    rig = Rig(PretendedChild(lives_for=500), PretendedChild())
    await rig.follow(first=FIRST, last=FIRST + 19)
    total = rig.totals.overall
    assert rig.generator.health().restarts == 1
    assert total.intended == 20 * 120
    assert total.done + total.unsent == total.intended
    assert 0 < total.unsent < total.intended / 2  # it heard of four seconds' arrivals, and was away for four
    assert total.reasons == {"generator_down": total.unsent}
    assert len(rig.told) == 20


async def test_what_was_due_before_the_start_is_unsent_and_never_replayed() -> None:
    rig = Rig(PretendedChild())
    rig.time.now += 60
    # A run cut off at FIRST, with one second already on file, goes on a minute later.
    now = int(rig.time.now)
    await rig.follow(first=FIRST, last=now + 5, settled=frozenset({FIRST + 1}))
    assert FIRST + 1 not in {second.real_second for second in rig.told}
    (first_told, *_) = rig.told
    assert first_told.overall.unsent == first_told.overall.intended == 120
    assert min(rig.started[0].dues) > now - 1
    assert rig.totals.overall.settled
    assert rig.totals.overall.intended == (now + 5 - FIRST + 1 - 1) * 120


async def test_a_pause_of_hours_is_not_owed() -> None:
    rig = Rig(PretendedChild())
    rig.time.now += 7200
    await rig.follow(first=FIRST, last=FIRST + 7205)
    assert rig.told[0].real_second > FIRST + 7000


async def test_a_child_that_never_gets_ready_ends_the_run() -> None:
    rig = Rig(*[PretendedChild(ever_ready=False) for _ in range(3)])
    with pytest.raises(ChildFailedError, match="3 times"):
        await rig.follow(first=FIRST, last=FIRST + 5)
