"""When users come: open-model arrival times from a rate that changes over time.

An open model sends when a user would have come, whatever the server does. The times are a pure function of curve, kind
and seed, drawn per minute of the clock in use, so that a generator that was restarted goes on with the same schedule
and a missed minute can still be counted. When to look and what to send is left to others.

Poisson arrivals: given the number n ~ Poisson(L) in a block whose expected number is L, the n times are independent
with density rate(t) / L, so sorted uniform draws are mapped through the inverse of the cumulative rate. (Cinlar,
Introduction to Stochastic Processes, chapter 4.)
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

ArrivalKind = Literal["poisson", "uniform"]
Floats = NDArray[np.float64]

BLOCK_SECONDS = 60.0
INDEX_BITS = 24  # an arrival's number is (block << INDEX_BITS) + its index within the block


@dataclass(frozen=True, slots=True, eq=False)
class RateCurve:
    """Requests per second over time, linear between points, zero before the first.

    at_seconds: epoch seconds, strictly increasing, at least two. rps: as many, not negative.
    repeat_seconds: after the last point the last `repeat_seconds` are repeated for ever; None: the rate is zero there.
    """

    at_seconds: Floats
    rps: Floats
    repeat_seconds: float | None = None
    _cumulative: Floats = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Check the points; raises ValueError saying what was expected and what came."""
        at, rps = self.at_seconds, self.rps
        if at.ndim != 1 or at.shape != rps.shape or at.size < 2:
            raise ValueError(f"a curve needs two or more points of (time, rate), got shapes {at.shape} and {rps.shape}")
        if not (np.isfinite(at).all() and np.isfinite(rps).all() and (np.diff(at) > 0).all() and (rps >= 0).all()):
            raise ValueError("a curve needs finite, strictly increasing times and finite rates of 0 or more")
        span = float(at[-1] - at[0])
        if self.repeat_seconds is not None and not 0 < self.repeat_seconds <= span:
            raise ValueError(f"expected repeat_seconds in (0, {span}], got {self.repeat_seconds}")
        object.__setattr__(self, "_cumulative", _cumulate(at, rps))

    def _pieces(self, start: float, end: float) -> Iterator[tuple[float, float, float]]:
        """Yield (shift, from, to): within [from, to] the rate at t is that of the stored point t - shift."""
        first, last = float(self.at_seconds[0]), float(self.at_seconds[-1])
        if start < last and end > first:
            yield 0.0, max(start, first), min(end, last)
        if self.repeat_seconds is None or end <= last:
            return
        round_number = max(1, math.floor((start - last) / self.repeat_seconds) + 1)
        while last + (round_number - 1) * self.repeat_seconds < end:
            shift = round_number * self.repeat_seconds
            low, high = max(start, last + shift - self.repeat_seconds), min(end, last + shift)
            if high > low:
                yield shift, low, high
            round_number += 1

    def knots(self, start: float, end: float) -> tuple[Floats, Floats]:
        """Return (times, rates) of the line from `start` to `end`; where it jumps, an instant occurs twice."""
        times: list[Floats] = [np.array([start])]
        rates: list[Floats] = [np.zeros(1)]
        reached = start
        for shift, low, high in self._pieces(start, end):
            inside = self.at_seconds + shift
            at = np.concatenate(([low], inside[(inside > low) & (inside < high)], [high]))
            if low > reached:
                times.append(np.array([reached, low]))
                rates.append(np.zeros(2))
            times.append(at)
            rates.append(np.interp(at - shift, self.at_seconds, self.rps))
            reached = high
        if reached < end:
            times.append(np.array([reached, end]))
            rates.append(np.zeros(2))
        return np.concatenate(times), np.concatenate(rates)

    def expected(self, start: float, end: float) -> float:
        """Return the expected number of arrivals in [start, end): the integral of the rate."""
        return float(_cumulate(*self.knots(start, end))[-1])

    def cumulative(self, at: float) -> float:
        """Return the integral of the rate from the first point to `at` (epoch seconds)."""
        first, last = float(self.at_seconds[0]), float(self.at_seconds[-1])
        if at <= first:
            return 0.0
        if at <= last or self.repeat_seconds is None:
            return self._stored_cumulative(min(at, last))
        rounds, phase = divmod(at - last, self.repeat_seconds)
        day_start = self._stored_cumulative(last - self.repeat_seconds)
        total = float(self._cumulative[-1])
        within = self._stored_cumulative(last - self.repeat_seconds + phase) - day_start
        return total + rounds * (total - day_start) + within

    def _stored_cumulative(self, at: float) -> float:
        index = int(np.clip(np.searchsorted(self.at_seconds, at, side="right") - 1, 0, self.at_seconds.size - 2))
        mean_rate = (self.rps[index] + np.interp(at, self.at_seconds, self.rps)) / 2
        return float(self._cumulative[index] + (at - self.at_seconds[index]) * mean_rate)

    def highest_rps(self) -> float:
        """Return the highest rate the curve ever asks for."""
        return float(self.rps.max())


@dataclass(frozen=True, slots=True, eq=False)
class Arrivals:
    """Sorted epoch seconds of the clock in use, and each arrival's number: stable, unique within a schedule."""

    at_seconds: Floats
    numbers: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Schedule:
    """Every arrival there will ever be, by (curve, kind, seed). Blocks are counted from `origin_seconds`."""

    curve: RateCurve
    kind: ArrivalKind = "poisson"
    seed: int = 0
    origin_seconds: float = 0.0
    _blocks: dict[int, Arrivals] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        """Check the seed; numpy's seeds are 0 or more."""
        if self.seed < 0:
            raise ValueError(f"seed: expected an integer of 0 or more, got {self.seed}")

    def between(self, start: float, end: float) -> Arrivals:
        """Return the arrivals in [start, end), epoch seconds: the same whatever was asked before."""
        first = math.floor((start - self.origin_seconds) / BLOCK_SECONDS)
        last = math.ceil((end - self.origin_seconds) / BLOCK_SECONDS)
        blocks = [self._block(index) for index in range(first, max(last, first + 1))]
        at = np.concatenate([block.at_seconds for block in blocks])
        numbers = np.concatenate([block.numbers for block in blocks])
        wanted = (at >= start) & (at < end)
        return Arrivals(at[wanted], numbers[wanted])

    def _block(self, index: int) -> Arrivals:
        """Return one block's arrivals; the last few are kept, because callers ask second by second."""
        if index not in self._blocks:
            while len(self._blocks) >= 4:
                del self._blocks[min(self._blocks)]
            self._blocks[index] = self._draw(index)
        return self._blocks[index]

    def _draw(self, index: int) -> Arrivals:
        start = self.origin_seconds + index * BLOCK_SECONDS
        end = self.origin_seconds + (index + 1) * BLOCK_SECONDS
        times, rates = self.curve.knots(start, end)
        if self.kind == "poisson":
            targets = self._poisson_targets(index, float(_cumulate(times, rates)[-1]))
        else:
            targets = self._uniform_targets(start, end)
        at = np.clip(_invert(times, rates, targets), start, np.nextafter(end, start))
        numbers = (np.int64(index) << INDEX_BITS) + np.arange(at.size, dtype=np.int64)
        return Arrivals(at, numbers)

    def _poisson_targets(self, index: int, expected: float) -> Floats:
        # SeedSequence takes no negative words; a block before the origin gets a stream of its own.
        generator = np.random.default_rng([self.seed, abs(index), int(index < 0)])
        return np.sort(generator.random(generator.poisson(expected))) * expected

    def _uniform_targets(self, start: float, end: float) -> Floats:
        """Return where in the block the cumulative rate passes k + phase, k whole: one arrival per unit of it."""
        phase = float(np.random.default_rng([self.seed]).random())
        before, after = self.curve.cumulative(start), self.curve.cumulative(end)
        whole = np.arange(math.ceil(before - phase), math.ceil(after - phase), dtype=np.float64)
        return whole + (phase - before)


def _cumulate(times: Floats, rates: Floats) -> Floats:
    return np.concatenate(([0.0], np.cumsum(np.diff(times) * (rates[1:] + rates[:-1]) / 2)))


def _invert(times: Floats, rates: Floats, targets: Floats) -> Floats:
    """Return when the integral of the line through (times, rates) reaches each target (0..its total).

    Within a segment the integral is r x + k x^2 / 2; its root is taken in the form that does not cancel for small k.
    """
    cumulative = _cumulate(times, rates)
    segment = np.clip(np.searchsorted(cumulative, targets, side="right") - 1, 0, times.size - 2)
    length = np.diff(times)
    slope = np.divide(np.diff(rates), length, out=np.zeros_like(length), where=length > 0)[segment]
    rate = rates[segment]
    rest = np.maximum(targets - cumulative[segment], 0.0)
    denominator = rate + np.sqrt(np.maximum(rate**2 + 2 * slope * rest, 0.0))
    into = np.divide(2 * rest, denominator, out=np.zeros_like(rest), where=denominator > 0)
    found: Floats = times[segment] + np.minimum(into, length[segment])
    return found
