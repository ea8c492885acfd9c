"""Many settings of one service's autoscaler, played side by side: one lane each, every sync one step of arrays.

The algorithm is `hpa.recommend`, written for arrays; a test holds the two to the same replicas at every sync. What the
lanes share is in the spec; what differs is the target, the ceiling and the floor that somebody sets.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Any

import numpy as np
import numpy.typing as npt

from forecaster.scaling.hpa import HpaSpec, ScalingPolicy, SelectPolicy

Array = npt.NDArray[Any]
_NOT_RECORDED = -1


class Lanes:
    """Replicas of every lane, one sync at a time. Times are seconds, syncs come regularly; arrays are (lanes,)."""

    def __init__(
        self, *, spec: HpaSpec, targets: Array, ceilings: Array, start_delay_seconds: float, ready: Array
    ) -> None:
        """Begin with `ready` replicas in each lane; targets: requests/s per replica."""
        self._spec = spec
        self._targets, self._ceilings = targets.astype(np.float64), ceilings.astype(np.int64)
        self._start_delay = start_delay_seconds
        self.ready = ready.astype(np.int64).copy()
        self.desired = self.ready.copy()
        self.current = self.ready.copy()  # those that exist, starting ones included
        self._coming: deque[tuple[float, Array]] = deque()  # when, how many in each lane
        self._starting = np.zeros_like(self.ready)
        self._events: deque[tuple[float, Array]] = deque()
        periods = [policy.period.total_seconds() for policy in spec.scale_up_policies + spec.scale_down_policies]
        self._longest_period = max(periods, default=0.0)
        self._up = _Recent(spec.scale_up_stabilization.total_seconds(), spec, len(ready), lowest=True)
        self._down = _Recent(spec.scale_down_stabilization.total_seconds(), spec, len(ready), lowest=False)
        up = spec.tolerance if spec.scale_up_tolerance is None else spec.scale_up_tolerance
        down = spec.tolerance if spec.scale_down_tolerance is None else spec.scale_down_tolerance
        self._tolerated = (1.0 - down, 1.0 + up)
        self._fresh = True

    def settle(self, at: float) -> None:
        """Let everything that has finished starting by `at` be ready."""
        while self._coming and self._coming[0][0] <= at:
            _, count = self._coming.popleft()
            self.ready = self.ready + count
            self._starting = self._starting - count

    def sync(self, at: float, *, floors: Array, rps: float) -> None:
        """One sync of every lane: rps is demand over the metric's window, NaN when metrics are down."""
        self.settle(at)
        current = self.current
        above = current > self._ceilings
        below = (current < floors) & ~above
        desired = current
        unmetered = above | below
        if not math.isnan(rps):
            wanted = self._wanted(current, rps)
            asleep = unmetered | (self.ready <= 0)
            recorded = np.where(asleep, _NOT_RECORDED, wanted) if asleep.any() else wanted
            stabilized = self._stabilized(current, wanted, recorded)
            desired = np.where(asleep, current, self._within_rates(at, current, stabilized, floors))
        else:
            self._stabilized(current, current, np.full_like(current, _NOT_RECORDED))
        if unmetered.any():
            desired = np.where(above, self._ceilings, np.where(below, floors, desired))
        desired = np.where(current == 0, 0, desired)
        self._rescale(at, current, desired)

    def _wanted(self, current: Array, rps: float) -> Array:
        serving = np.maximum(self.ready, 1)
        ratio = rps / serving / self._targets
        load = ratio * self.ready
        judged, turned = ratio, None
        if self._starting.any():
            rising = (self._starting > 0) & (ratio > 1.0)
            judged = np.where(rising, load / np.maximum(current, 1), ratio)
            turned = rising & (judged < 1.0)
        keep = (judged >= self._tolerated[0]) & (judged <= self._tolerated[1])
        wanted = np.ceil(load).astype(np.int64)
        if turned is not None:
            keep |= turned
        return np.where(keep, current, wanted)

    def _stabilized(self, current: Array, wanted: Array, recorded: Array) -> Array:
        if self._fresh:  # a controller that has just started remembers what it found
            self._up.found(current)
            self._down.found(current)
            self._fresh = False
        lowest, highest = self._up.extreme(wanted), self._down.extreme(wanted)
        self._up.record(recorded)
        self._down.record(recorded)
        return np.minimum(np.maximum(current, lowest), highest)

    def _within_rates(self, at: float, current: Array, stabilized: Array, floors: Array) -> Array:
        spec, found = self._spec, stabilized
        rising, falling = stabilized > current, stabilized < current
        if rising.any():
            ups = [self._limit(policy, at, current, up=True) for policy in spec.scale_up_policies]
            most = np.maximum(current, _selected(spec.scale_up_select, ups, current, up=True))
            found = np.where(rising, np.minimum(np.minimum(stabilized, self._ceilings), most), found)
        if falling.any():
            downs = [self._limit(policy, at, current, up=False) for policy in spec.scale_down_policies]
            least = np.minimum(current, _selected(spec.scale_down_select, downs, current, up=False))
            found = np.where(falling, np.maximum(np.maximum(stabilized, floors), least), found)
        return found

    def _limit(self, policy: ScalingPolicy, at: float, current: Array, *, up: bool) -> Array:
        began = current
        for when, change in self._events:
            if when > at - policy.period.total_seconds():
                began = began - change
        sign = 1 if up else -1
        if policy.kind == "pods":
            return began + sign * policy.value
        if up:
            return np.ceil(began * (100 + policy.value) / 100).astype(np.int64)
        return began * (100 - policy.value) // 100

    def _rescale(self, at: float, current: Array, desired: Array) -> None:
        self.desired = self.current = desired
        while self._events and self._events[0][0] <= at - self._longest_period:
            self._events.popleft()
        change = desired - current
        if not change.any():
            return
        self._events.append((at, change))
        added, stopped = np.maximum(change, 0), np.maximum(-change, 0)
        if added.any() and self._start_delay > 0:
            self._coming.append((at + self._start_delay, added))
            self._starting = self._starting + added
        elif added.any():
            self.ready = self.ready + added
        if stopped.any():
            self._stop(stopped)

    def _stop(self, count: Array) -> None:
        """Stop at once; those that serve nothing yet go first, newest first."""
        if (self._starting[count > 0] > 0).any():
            for index in range(len(self._coming) - 1, -1, -1):
                when, coming = self._coming[index]
                idle = np.minimum(coming, count)
                self._coming[index] = (when, coming - idle)
                self._starting = self._starting - idle
                count = count - idle
        self.ready = self.ready - count


class _Recent:
    """The recommendations of a stabilization window, by lane: their lowest or their highest."""

    def __init__(self, window_seconds: float, spec: HpaSpec, lanes: int, *, lowest: bool) -> None:
        before = max(0, math.ceil(window_seconds / spec.sync.total_seconds() - 1e-9) - 1)  # syncs strictly inside it
        self._neutral = np.iinfo(np.int64).max if lowest else np.iinfo(np.int64).min
        self._choose = np.minimum if lowest else np.maximum
        self._held = np.full((before, lanes), self._neutral)
        self._next = 0
        self._seen_now: Array | None = None
        self._reaches_now = window_seconds > 0

    def found(self, current: Array) -> None:
        """Remember, as of this very sync, what there was when the controller started."""
        self._seen_now = current if self._reaches_now else None

    def extreme(self, wanted: Array) -> Array:
        found = wanted if self._seen_now is None else self._choose(wanted, self._seen_now)
        if len(self._held):
            found = self._choose(found, self._choose.reduce(self._held, axis=0))
        answer: Array = found
        return answer

    def record(self, recorded: Array) -> None:
        if self._seen_now is None and not len(self._held):
            return
        entry = np.where(recorded == _NOT_RECORDED, self._neutral, recorded)
        if self._seen_now is not None:
            entry, self._seen_now = self._choose(entry, self._seen_now), None
        if len(self._held):
            self._held[self._next] = entry
            self._next = (self._next + 1) % len(self._held)


def _selected(select: SelectPolicy, limits: list[Array], current: Array, *, up: bool) -> Array:
    if select == "Disabled" or not limits:
        return current
    found: Array = (np.maximum if (select == "Max") == up else np.minimum).reduce(limits)
    return found
