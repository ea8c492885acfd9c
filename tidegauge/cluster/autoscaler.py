"""The reactive loop: every sync it reads the offered load, asks the HPA's algorithm, and tells the fleet how many.

The algorithm is `forecaster.scaling.hpa`; the floor comes from whoever patches it. Everything runs in the time of the
clock in use: at demo speed 60 a sync of 15 s comes every quarter of a real second.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from collector.catalog import Scaling
from forecaster.scaling.hpa import METRIC_WINDOW, HpaReading, HpaSpec, recommend
from tidegauge.clock import Clock
from tidegauge.cluster.state import ClusterState, Counts, Journal

log = logging.getLogger(__name__)

_SHORTEST_SLEEP_SECONDS = 0.005


class FloorRefusedError(ValueError):
    """A floor that cannot be: says what was expected and what came."""


class Replicas(Protocol):
    """What the autoscaler needs of the fleet."""

    def counts(self) -> Counts:
        """Return current and ready replicas."""

    def set_desired(self, desired: int) -> None:
        """Want this many."""


class ArrivalWindow:
    """The offered load over the last window, from samples of a counter that only grows."""

    def __init__(self) -> None:
        """Begin without a sample: the load is unknown."""
        self._samples: deque[tuple[float, int]] = deque()

    def observe(self, real_seconds: float, arrivals: int, *, window_seconds: float) -> float | None:
        """Take a sample and return requests per real second over the last `window_seconds` (real).

        real_seconds: monotonic time of the sample. arrivals: all since the start. While less than a quarter of the
        window has been seen the load is not known: None, which is not zero. Then the rate is over what there is.
        """
        self._samples.append((real_seconds, arrivals))
        while len(self._samples) > 2 and self._samples[1][0] <= real_seconds - window_seconds:
            self._samples.popleft()
        since, before = self._samples[0]
        if real_seconds - since < window_seconds / 4:
            return None
        return (arrivals - before) / (real_seconds - since)


@dataclass(frozen=True, slots=True)
class Reading:
    """What the last sync saw: offered requests/s of the clock in use (None = not known yet), and what it concluded."""

    offered_rps: float | None
    reason: str


class Autoscaler:
    """Sets how many replicas there shall be: what the HPA would, never under the floor."""

    def __init__(
        self,
        *,
        scaling: Scaling,
        clock: Clock,
        journal: Journal,
        fleet: Replicas,
        arrivals: Callable[[], int],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Resume what the journal remembers; a floor that nobody patched follows the configuration."""
        self.scaling = scaling
        self._clock = clock
        self._journal = journal
        self._fleet = fleet
        self._arrivals = arrivals
        self._monotonic = monotonic
        self._window = ArrivalWindow()
        self._trigger = asyncio.Event()
        self.last = Reading(None, "no sync yet")
        self._resume()

    @property
    def state(self) -> ClusterState:
        """The floor and the replicas wanted now."""
        return self._journal.state

    def patch_floor(self, floor: int, *, manager: str) -> None:
        """Set the floor for a field manager and sync at once. Raises FloorRefusedError outside 1..max."""
        if not 1 <= floor <= self.scaling.max_replicas:
            raise FloorRefusedError(f"min_replicas: expected 1..{self.scaling.max_replicas} (the maximum), got {floor}")
        self._set_floor(floor, manager)

    def release(self) -> None:
        """Restore the operator's own floor and sync at once."""
        self._set_floor(self.scaling.min_replicas, None)

    def sync_once(self) -> None:
        """Look once and set what the HPA would set now."""
        state, counts, speed = self.state, self._fleet.counts(), self._clock.speed_now()
        offered_rps = self._offered_rps(speed)
        ready = min(counts.ready, state.desired)  # the fleet may not have heard yet that there are too many
        per_replica = None if offered_rps is None or ready == 0 else offered_rps / ready
        advice = recommend(
            self._spec(speed),
            state.memory,
            HpaReading(current=state.desired, ready=ready, metric_per_replica=per_replica),
            now=self._clock.now(),
        )
        self.last = Reading(offered_rps, advice.reason)
        self._journal.keep(replace(state, desired=advice.desired, memory=advice.memory))
        if advice.desired != state.desired:
            log.info("desired %d -> %d: %s", state.desired, advice.desired, advice.reason)
            self._journal.note("desired", counts)
            self._fleet.set_desired(advice.desired)

    async def run(self) -> None:
        """Sync at every interval and whenever the floor is patched, until cancelled."""
        while True:
            self._trigger.clear()
            self.sync_once()
            pause = self._clock.real_seconds(self.scaling.reactive.sync.total_seconds())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(_SHORTEST_SLEEP_SECONDS, pause)):
                    await self._trigger.wait()

    def _resume(self) -> None:
        state, least, most = self.state, self.scaling.min_replicas, self.scaling.max_replicas
        floor = least if state.manager is None else min(max(1, state.floor), most)
        desired = min(max(floor, state.desired), most)
        self._journal.keep(replace(state, floor=floor, desired=desired))
        self._fleet.set_desired(desired)

    def _set_floor(self, floor: int, manager: str | None) -> None:
        before = self.state
        self._journal.keep(replace(before, floor=floor, manager=manager))
        if floor != before.floor:
            log.info("floor %d -> %d by %s", before.floor, floor, manager or "release")
            self._journal.note("floor", self._fleet.counts())
        self._trigger.set()

    def _offered_rps(self, speed: float) -> float | None:
        """Requests per second of the clock in use. The window is real time: the speed may change while it is open."""
        window_seconds = METRIC_WINDOW.total_seconds() / speed
        real_rps = self._window.observe(self._monotonic(), self._arrivals(), window_seconds=window_seconds)
        return None if real_rps is None else real_rps / speed

    def _spec(self, speed: float) -> HpaSpec:
        """The configured target is in requests per real second; the metric is of the clock in use."""
        reactive = self.scaling.reactive
        return HpaSpec(
            min_replicas=self.state.floor,
            max_replicas=self.scaling.max_replicas,
            target_per_replica=reactive.target_rps_per_replica / speed,
            sync=reactive.sync,
            tolerance=reactive.tolerance,
            scale_down_stabilization=reactive.scale_down_stabilization,
        )
